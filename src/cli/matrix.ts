// SPDX-License-Identifier: Apache-2.0
import { copyFile, writeFile } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import type { Command } from 'commander'
import type { MatrixResult } from '../report/matrix.js'
import type { CliContext } from './context.js'
import type { PlannedCell } from './matrix-cells.js'
import type { LoadedConfig } from './matrix-config.js'
import type { CellRun } from './matrix-run.js'
import { atLeastOne } from './numbers.js'

interface MatrixFlags {
  readonly config?: string
  readonly list?: boolean
  readonly jobs?: number
  readonly output?: string
  readonly html?: string
  readonly json?: string | true
}

/** Adds `gmem matrix`. */
export function register(program: Command, context: CliContext): void {
  program
    .command('matrix')
    .summary('run kernels, flavours, parameters and accelerators, and make one page of it')
    .description(
      'Runs the contract on every kernel, flavour, set of kernel parameters and accelerator that gmem.config.ts names, and makes a table and\n' +
        'a page of it: each family in each cell, down to the test, its splat and its console, with what earlier runs said.',
    )
    .option('--config <file>', 'the matrix (default: gmem.config.ts of the current folder)')
    .option('--list', 'name the cells, and run nothing')
    .option('-j, --jobs <n>', 'cells at once (default: as many as processors and memory carry)', atLeastOne)
    .option('-o, --output <dir>', "folder for the cells' results, consoles and logs, and the page")
    .option('--html <file>', 'a copy of the page')
    .option('--json [file]', 'as JSON; to the standard output without a file')
    .addHelpText('after', HELP)
    .action(async (flags: MatrixFlags) => await runMatrix(flags, context))
}

const HELP = `
Examples:
  gmem matrix                            what gmem.config.ts of the current folder names
  gmem matrix --list                     its cells
  gmem matrix --config nightly.config.ts --html nightly.html

  // gmem.config.ts
  import { defineMatrix } from 'gmem/config'
  export default defineMatrix({
    kernels: ['7.3', '7.3+inplace-conversion', '~/linux'],
    flavours: ['plain', 'debug'],
    parameters: ['', 'kvm_amd.npt=0'],
    exclude: [{ flavour: 'debug', parameters: 'kvm_amd.npt=0' }],
  })

Kernels that are missing are built first. A cell that cannot be built or run is named, and the rest goes on.

Exit codes: that of the cell that is worst: 0 ok · 1 a test failed · 2 usage · 3 only a kernel splat · 4 all skipped, in every cell ·
5 a guest kernel died · 69 a cell could not run · 124 timeout or hang · 125 a kernel did not build · 130 interrupted.`

async function runMatrix(flags: MatrixFlags, context: CliContext): Promise<void> {
  const { checkWritable } = await import('./outputs.js')
  for (const [option, file] of Object.entries({ html: flags.html, json: flags.json })) {
    if (typeof file === 'string') checkWritable(option, file)
  }
  const { loaded, cells } = await plannedCells(flags)
  if (flags.list) {
    process.stdout.write(`${cells.map(({ name }) => name).join('\n')}\n`)
    return
  }
  const [{ runCells }, { createRunFolder }, { locateQemu }] = await Promise.all([
    import('./matrix-run.js'),
    import('../report/artefacts.js'),
    import('../qemu/binary.js'),
  ])
  // Before a kernel is built, which takes minutes.
  locateQemu()
  const folder = await createRunFolder(flags.output)
  const startedAt = new Date()
  const runs = await runCells({ loaded, cells, jobs: flags.jobs, folder }, context)
  const result = await resultOf(runs, loaded, folder, startedAt)
  const page = await writePage(result, runs, context)
  if (flags.html !== undefined) await copyFile(page, resolve(flags.html))
  await print(result, runs, page, flags.json)
  process.exitCode = result.exitCode
}

async function plannedCells({
  config,
}: MatrixFlags): Promise<{ loaded: LoadedConfig; cells: readonly PlannedCell[] }> {
  const [{ loadMatrixConfig }, { matrixCells }, { checkFilters }] = await Promise.all([
    import('./matrix-config.js'),
    import('./matrix-cells.js'),
    import('./test-files.js'),
  ])
  const loaded = await loadMatrixConfig(config)
  const cells = matrixCells(loaded)
  checkFilters({ filters: loaded.config.files ?? [], all: loaded.config.all ?? false })
  return { loaded, cells }
}

async function resultOf(
  runs: readonly CellRun[],
  { file, config }: LoadedConfig,
  folder: string,
  startedAt: Date,
): Promise<MatrixResult> {
  const { matrixExitCode } = await import('../report/matrix.js')
  const cells = runs.map(({ cell }) => cell)
  return {
    format: 1,
    startedAt: startedAt.toISOString(),
    durationMs: Date.now() - startedAt.getTime(),
    config: file,
    folder,
    selection: { files: config.files ?? [], tests: config.tests ?? null, all: config.all ?? false },
    cells,
    exitCode: matrixExitCode(cells),
  }
}

/** Writes the page and matrix.json into the run's folder, and keeps the run for the trends of later ones. Returns the page's path. */
async function writePage(
  result: MatrixResult,
  runs: readonly CellRun[],
  { signal }: CliContext,
): Promise<string> {
  const [{ matrixHtml }, { consoleExcerpts }, { earlierRuns, keepInHistory }] = await Promise.all([
    import('../report/matrix-html.js'),
    import('../report/matrix-consoles.js'),
    import('../report/matrix-history.js'),
  ])
  const details = await Promise.all(
    runs.map(async ({ cell, target }) => {
      const consoles = target && cell.folder ? await consoleExcerpts(cell.folder, target) : []
      return [cell.name, { tests: target?.tests ?? [], consoles }] as const
    }),
  )
  const page = join(result.folder, 'matrix.html')
  const earlier = await earlierRuns(result)
  await writeFile(join(result.folder, 'matrix.json'), `${JSON.stringify(result, null, 2)}\n`)
  await writeFile(page, matrixHtml(result, new Map(details), earlier))
  // A run that was cut short says nothing about the cells that it did not come to.
  if (!signal.aborted) await keepInHistory(result)
  return page
}

async function print(
  result: MatrixResult,
  runs: readonly CellRun[],
  page: string,
  json: MatrixFlags['json'],
): Promise<void> {
  const text = `${JSON.stringify(result, null, 2)}\n`
  if (json === true) {
    process.stdout.write(text)
    return
  }
  if (json !== undefined) await writeFile(resolve(json), text)
  const [{ matrixLines }, { coloursFor }] = await Promise.all([
    import('../report/matrix-text.js'),
    import('../report/style.js'),
  ])
  const failures = new Map(
    runs.map(({ cell, target }) => [
      cell.name,
      target?.tests.filter(({ status }) => status === 'failed') ?? [],
    ]),
  )
  const lines = matrixLines(result, page, failures, coloursFor(process.stdout), process.stdout.columns || 140)
  process.stdout.write(`${lines.join('\n')}\n`)
}
