// SPDX-License-Identifier: Apache-2.0
import { existsSync } from 'node:fs'
import { resolve } from 'node:path'
import { atCommit, type Baseline, openBaseline, treeOf } from '../kernels/baseline.js'
import { git } from '../kernels/git.js'
import { readRange, readSeries, type Series } from '../kernels/series.js'
import { SeriesRepo } from '../kernels/series-repo.js'
import type { CliContext } from './context.js'

export interface OpenedSeries {
  readonly series: Series
  readonly baseline: Baseline
  readonly repo: SeriesRepo
}

/** Reads a series, finds its base and puts the two together. `work`: a folder for what lasts as long as the command. */
export async function openSeries(
  input: string,
  base: string,
  work: string,
  { progress, signal }: CliContext,
): Promise<OpenedSeries> {
  const options = { progress, signal }
  const range = existsSync(resolve(input)) ? null : /^(.+?)\.\.(?!\.)(.*)$/.exec(input)
  let baseline = await openBaseline(base, options)
  let series: Series
  if (range === null) series = await readSeries(input, work, signal)
  else {
    const tree = treeOf(baseline)
    series = await readRange(input, tree, work, signal)
    const root = await git(tree, ['merge-base', range[1] ?? '', range[2] || 'HEAD'], { signal })
    baseline = await atCommit(baseline, root, work, signal)
  }
  const repo = await SeriesRepo.create(baseline, series.patches, work, options)
  return { series, baseline, repo }
}
