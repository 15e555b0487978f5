// SPDX-License-Identifier: Apache-2.0
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createVitest } from 'vitest/node'
import { RunRecorder } from '../../../src/report/recorder.js'
import { Screen } from '../../../src/report/screen.js'
import { TerminalReporter } from '../../../src/report/terminal.js'

/**
 * Runs the fixtures of this folder that the arguments name under a real vitest, on two projects, with gmem's reporters: what a person
 * sees goes to the standard output, the result as JSON to the standard error.
 */
const cacheDir = mkdtempSync(join(tmpdir(), 'gmem-report-'))
const [pattern = '', ...files] = process.argv.slice(2)
const root = import.meta.dirname
const filter = pattern === '' ? undefined : new RegExp(pattern)
const targets = ['7.3', 'host'].map((id) => ({ id, kernel: id, release: '7.3.4' }))
const recorder = new RunRecorder({
  targets,
  root,
  seed: 1,
  artefacts: '/nowhere',
  filter,
  failOnSkip: false,
  onResult: (run) => {
    terminal.printResult(run)
    process.stderr.write(JSON.stringify(run))
  },
})
const terminal: TerminalReporter = new TerminalReporter(new Screen(process.stdout), recorder)
const project = {
  environment: 'node',
  pool: 'forks' as const,
  include: files.map((file) => `${file}.fixture.ts`),
}
const vitest = await createVitest(
  'test',
  {
    config: false,
    root,
    watch: false,
    reporters: [recorder, terminal],
    maxWorkers: 1,
    includeTaskLocation: true,
    ...(filter && { testNamePattern: filter }),
    projects: targets.map(({ id }) => ({ test: { ...project, name: id, env: { TARGET: id } } })),
  },
  { cacheDir },
)
await vitest.start([])
await vitest.close()
rmSync(cacheDir, { recursive: true })
