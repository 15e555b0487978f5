// SPDX-License-Identifier: Apache-2.0
import { copyFile, mkdir } from 'node:fs/promises'
import { availableParallelism, freemem } from 'node:os'
import { dirname, join, resolve } from 'node:path'
import type { MatrixConfig } from '../config.js'
import { ExitCode, GmemError } from '../errors.js'
import { buildLogOf } from '../kernels/build.js'
import { resolveKernel } from '../kernels/resolve.js'
import { kernelId } from '../kernels/spec.js'
import type { KernelImage } from '../kernels/types.js'
import { DEFAULT_CPUS } from '../qemu/machine.js'
import { emptyCell, type MatrixCell, testedCell } from '../report/matrix.js'
import { cellLine } from '../report/matrix-text.js'
import type { TargetResult } from '../report/schema.js'
import { readResult, runChild } from './child-run.js'
import type { CliContext } from './context.js'
import { VM_BYTES, WORKERS_MAX } from './engine.js'
import type { PlannedCell } from './matrix-cells.js'
import type { LoadedConfig } from './matrix-config.js'
import { randomSeed, runArguments } from './run-options.js'
import { filesToRun } from './test-files.js'

/** A cell as it ended, and all that its tests said; null where nothing ran. */
export interface CellRun {
  readonly cell: MatrixCell
  readonly target: TargetResult | null
}

export interface MatrixRequest {
  readonly loaded: LoadedConfig
  readonly cells: readonly PlannedCell[]
  /** Cells at once; undefined: as many as the machine carries. */
  readonly jobs: number | undefined
  readonly folder: string
}

/**
 * Builds the kernels of all cells, one after the other, then runs the cells, several at once. What cannot be built or run is a cell with
 * its reason, and the rest goes on. After Ctrl-C the cells that ran have what they had by then.
 */
export async function runCells(request: MatrixRequest, context: CliContext): Promise<CellRun[]> {
  const { cells } = request
  const { progress } = context
  const kernels = await buildKernels(request, context)
  const jobs = request.jobs ?? defaultJobs(fileCount(request.loaded.config))
  const run = new CellRuns(request, jobs, context)
  const results: CellRun[] = []
  const waiting = [...cells.entries()]
  const running = new Set<string>()
  progress.phase(`testing ${cells.length === 1 ? 'one cell' : `${cells.length} cells`}`)
  const show = (): void =>
    progress.update({
      fraction: results.filter(Boolean).length / cells.length,
      detail: [...running].join(', '),
    })
  const worker = async (): Promise<void> => {
    for (let next = waiting.shift(); next !== undefined; next = waiting.shift()) {
      const [index, cell] = next
      running.add(cell.name)
      show()
      const result = await run.cell(cell, index, kernels.get(keyOf(cell)))
      running.delete(cell.name)
      results[index] = result
      progress.note(cellLine(result.cell))
      show()
    }
  }
  try {
    await Promise.all(Array.from({ length: jobs }, worker))
  } finally {
    progress.end()
  }
  return results
}

/** One run that a machine can carry takes a processor and a VM's memory for each file that it runs at once. */
export function defaultJobs(files: number, cores = availableParallelism(), memory = freemem()): number {
  const vms = Math.max(1, Math.min(cores, files, WORKERS_MAX))
  const carried = Math.min(cores / Math.max(DEFAULT_CPUS, vms), memory / (vms * VM_BYTES))
  return Math.max(1, Math.floor(carried))
}

type Built = KernelImage | GmemError

async function buildKernels({ cells }: MatrixRequest, context: CliContext): Promise<Map<string, Built>> {
  const { progress, signal } = context
  const kernels = new Map<string, Built>()
  for (const cell of cells) {
    if (kernels.has(keyOf(cell))) continue
    if (signal.aborted) break
    try {
      kernels.set(keyOf(cell), await resolveKernel(cell.spec, { build: true, progress, signal }))
    } catch (error) {
      if (signal.aborted) break
      if (!(error instanceof GmemError)) throw error
      progress.end()
      progress.warn(`${cell.name}: ${error.message.split('\n', 1)[0]}`)
      kernels.set(keyOf(cell), error)
    }
  }
  progress.end()
  return kernels
}

function keyOf({ spec }: PlannedCell): string {
  return `${spec.text} ${spec.flavour}`
}

function fileCount({ files = [], all = false }: MatrixConfig): number {
  return filesToRun(files, all).length
}

/** Runs single cells. All have the same seed. */
class CellRuns {
  readonly #seed = randomSeed()

  constructor(
    readonly request: MatrixRequest,
    readonly jobs: number,
    readonly context: CliContext,
  ) {}

  async cell(cell: PlannedCell, index: number, kernel: Built | undefined): Promise<CellRun> {
    const folder = join(
      this.request.folder,
      `${index + 1}-${cell.name.replace(/[^\w.+=-]+/g, '_').slice(-80)}`,
    )
    if (kernel instanceof GmemError) return await this.#notBuilt(cell, kernel, folder)
    if (kernel === undefined || this.context.signal.aborted) return stopped(cell)
    try {
      const { run, target } = await runChild(kernel, this.#arguments(cell), folder, this.context.signal)
      const about = { state: 'tested', reason: null, exitCode: run.exitCode as ExitCode, folder } as const
      return { cell: testedCell(cell, target, about), target }
    } catch (error) {
      if (this.context.signal.aborted) return partial(cell, folder)
      if (!(error instanceof GmemError)) throw error
      const log = join(folder, 'output.txt')
      const about = { state: 'not-run', reason: reasonOf(error), exitCode: error.exitCode, log } as const
      return { cell: emptyCell(cell, about), target: null }
    }
  }

  #arguments({ parameters, accelerator }: PlannedCell): string[] {
    const { config, file } = this.request.loaded
    const { files = [], accelerators, tests, all, retries, timeout, slowdown, splats, leaks, allow } = config
    const args = runArguments(files, {
      seed: this.#seed,
      // Else $GMEM_ACCEL decides, as in gmem test.
      ...(accelerators !== undefined && { accel: accelerator }),
      ...(parameters !== '' && { append: parameters }),
      ...(tests !== undefined && { name: tests }),
      ...(all !== undefined && { all }),
      ...(retries !== undefined && { retries: String(retries) }),
      ...(timeout !== undefined && { timeout: String(timeout) }),
      ...(slowdown !== undefined && { slowdown: String(slowdown) }),
      ...(splats !== undefined && { splats }),
      ...(leaks !== undefined && { leaks }),
      ...(allow !== undefined && { allow: resolve(dirname(file), allow) }),
    })
    if (this.jobs === 1) return args
    return [...args, `--jobs=${Math.max(1, Math.floor(availableParallelism() / this.jobs))}`]
  }

  async #notBuilt(cell: PlannedCell, error: GmemError, folder: string): Promise<CellRun> {
    const { exitCode } = error
    await mkdir(folder, { recursive: true })
    const log = join(folder, 'build.log')
    const hasLog =
      exitCode === ExitCode.buildFailed &&
      (await copyFile(buildLogOf(kernelId(cell.spec)), log).then(
        () => true,
        () => false,
      ))
    const about = { state: 'not-built', reason: reasonOf(error), exitCode, log: hasLog ? log : null } as const
    return { cell: emptyCell(cell, about), target: null }
  }
}

function reasonOf({ message, hint }: GmemError): string {
  return hint === null ? message : `${message}\n${hint}`
}

/** What a run that was interrupted had by then. */
function partial(cell: PlannedCell, folder: string): CellRun {
  const target = readResult(folder)?.targets[0]
  if (target === undefined) return stopped(cell)
  const about = { state: 'interrupted', reason: null, exitCode: ExitCode.interrupted, folder } as const
  return { cell: testedCell(cell, target, about), target }
}

function stopped(cell: PlannedCell): CellRun {
  const reason = 'the matrix was interrupted before it ran'
  const about = { state: 'not-run', reason, exitCode: ExitCode.interrupted, log: null } as const
  return { cell: emptyCell(cell, about), target: null }
}
