// SPDX-License-Identifier: Apache-2.0
import type { ExitCode } from '../errors.js'
import { exitCodeOf } from './exit-code.js'
import { type MatrixCell, type MatrixResult, testedCell } from './matrix.js'
import { consoleExcerpts } from './matrix-consoles.js'
import { matrixHtml } from './matrix-html.js'
import type { Merged } from './merge-folder.js'
import type { RunResult, TargetResult } from './schema.js'

/** The page that gmem matrix makes, of a merged result: a cell for each target, without earlier runs. */
export async function mergedPage({ run, request }: Merged, from: string): Promise<string> {
  const details = await Promise.all(
    run.targets.map(async (target) => {
      const consoles = await consoleExcerpts(run.artefacts, target)
      return [target.id, { tests: target.tests, consoles }] as const
    }),
  )
  const { filters, namePattern, all } = request
  const result: MatrixResult = {
    format: 1,
    startedAt: run.startedAt,
    durationMs: run.durationMs,
    config: from,
    folder: run.artefacts,
    selection: {
      files: Array.isArray(filters) ? filters.map(String) : [],
      tests: typeof namePattern === 'string' ? namePattern : null,
      all: all === true,
    },
    cells: run.targets.map((target) => cellOf(target, run)),
    exitCode: run.exitCode as ExitCode,
  }
  return matrixHtml(result, new Map(details), [])
}

/** What went wrong outside of tests may concern any target: then none is called good. */
function cellOf(target: TargetResult, run: RunResult): MatrixCell {
  const { id, kernel, accel, passed, failed, skipped } = target
  const place = { name: id, kernel, flavour: '', parameters: '', accelerator: accel }
  const state = run.errors.some(({ kind }) => kind === 'interrupted') ? 'interrupted' : 'tested'
  const exitCode = exitCodeOf({ ...run, passed, failed, skipped, targets: [target] })
  const reason = run.errors.length === 0 ? null : run.errors.map(({ error }) => error.message).join('\n')
  return testedCell(place, target, { state, reason, exitCode, folder: run.artefacts })
}
