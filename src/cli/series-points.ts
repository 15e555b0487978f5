// SPDX-License-Identifier: Apache-2.0
import { copyFile, mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { ExitCode, GmemError } from '../errors.js'
import { type Baseline, buildOn, nameOn } from '../kernels/baseline.js'
import { buildLogOf } from '../kernels/build.js'
import type { SeriesRepo } from '../kernels/series-repo.js'
import type { KernelImage } from '../kernels/types.js'
import type { TargetResult } from '../report/schema.js'
import type { Trouble } from '../report/series.js'
import { runChild } from './child-run.js'
import type { CliContext } from './context.js'

/** All runs of the tests on the kernel after a patch. */
export interface PointRuns {
  readonly kernel: KernelImage
  readonly targets: readonly TargetResult[]
  readonly folders: readonly string[]
}

export interface PointOptions {
  /** Filters and options of `gmem test`. */
  readonly args: readonly string[]
  readonly repeat: number
  /** Where each point gets a folder. */
  readonly folder: string
}

/** Builds and tests the kernels after the patches of a series; each at most once. */
export class SeriesPoints {
  readonly #tested = new Map<string, PointRuns>()

  constructor(
    readonly baseline: Baseline,
    readonly repo: SeriesRepo,
    readonly options: PointOptions,
    readonly context: CliContext,
  ) {}

  /** The kernel after patch `number` (0: the base), or why it does not build. */
  async build(number: number, without: ReadonlySet<number>): Promise<KernelImage | Trouble> {
    const change = await this.repo.change(await this.repo.reach(number, without))
    try {
      return await buildOn(this.baseline, change, this.context)
    } catch (error) {
      if (!(error instanceof GmemError) || error.exitCode !== ExitCode.buildFailed) throw error
      const folder = join(this.options.folder, `patch-${number}`)
      const log = join(folder, 'build.log')
      await mkdir(folder, { recursive: true })
      const source = buildLogOf(nameOn(this.baseline, change))
      const hasLog = await copyFile(source, log).then(
        () => true,
        () => false,
      )
      return { reason: error.message, log: hasLog ? log : null }
    }
  }

  /** Tests that kernel, `repeat` times. Two points with the same source are tested once. */
  async test(number: number, kernel: KernelImage): Promise<PointRuns> {
    const known = this.#tested.get(kernel.key)
    if (known) return known
    const { args, repeat, folder } = this.options
    const { progress, signal } = this.context
    const targets: TargetResult[] = []
    const folders: string[] = []
    for (let turn = 1; turn <= repeat; turn++) {
      progress.phase(`testing ${this.#placeOf(number)}${repeat > 1 ? `, run ${turn} of ${repeat}` : ''}`)
      const name = `patch-${number}${repeat > 1 ? `-run-${turn}` : ''}`
      const child = await runChild(kernel, args, join(folder, name), signal)
      targets.push(child.target)
      folders.push(child.folder)
    }
    progress.end()
    const runs = { kernel, targets, folders }
    this.#tested.set(kernel.key, runs)
    return runs
  }

  #placeOf(number: number): string {
    return number === 0 ? 'the base' : `patch ${number}/${this.repo.patches.length}`
  }
}

export function isKernel(built: KernelImage | Trouble): built is KernelImage {
  return 'bzImage' in built
}
