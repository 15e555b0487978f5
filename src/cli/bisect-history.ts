// SPDX-License-Identifier: Apache-2.0
import { join } from 'node:path'
import { ExitCode, GmemError, usageError } from '../errors.js'
import { atCommit, buildOn, openBaseline, treeOf } from '../kernels/baseline.js'
import { git } from '../kernels/git.js'
import type { KernelImage } from '../kernels/types.js'
import type { CliContext } from './context.js'
import { openSeries } from './open-series.js'

/** Commits to search, and how each becomes a kernel: a git tree's, or the patches of a series. */
export interface History {
  readonly good: string
  readonly bad: string
  candidates(good: readonly string[], bad: string): Promise<readonly string[]>
  /** For people: `2/5 KVM: …`, or the short hash and the subject. */
  describe(commit: string): Promise<string>
  /** Null where it does not build. */
  kernel(commit: string): Promise<KernelImage | null>
}

/** The patches of a series between two of its numbers; 0 is the base. */
export async function seriesHistory(
  input: string,
  base: string,
  ends: { readonly good: string; readonly bad: string },
  work: string,
  context: CliContext,
): Promise<History> {
  const { series, baseline, repo } = await openSeries(input, base, work, context)
  const { patches } = series
  const commits = new Map<string, number>([[repo.base, 0]])
  const byNumber = [repo.base]
  for (const { number } of patches) {
    const { commit, applied } = await repo.reach(number)
    const own = applied.get(number)
    if (own && !own.ok) context.progress.warn(`patch ${number} does not apply and is left out: ${own.reason}`)
    if (!commits.has(commit)) commits.set(commit, number)
    byNumber.push(commit)
  }
  const commitOf = (text: string): string => {
    const commit = byNumber[Number(text)]
    if (/^\d+$/.test(text) && commit !== undefined) return commit
    throw usageError(
      `"${text}" is no patch of this series`,
      `Give a number: 0 is the base, ${patches.length} the tip.`,
    )
  }
  const [good, bad] = [commitOf(ends.good), commitOf(ends.bad)]
  await requireAncestor(repo.folder, good, bad, ends, context.signal)
  return {
    good,
    bad,
    candidates: (goods, worst) => candidatesIn(repo.folder, goods, worst, context.signal),
    describe: async (commit) => {
      const number = commits.get(commit) ?? 0
      return number === 0 ? 'the base' : `${number}/${patches.length} ${patches[number - 1]?.title}`
    },
    kernel: async (commit) => {
      const change = await repo.change({ commit, applied: new Map() })
      return await unlessUnbuildable(() => buildOn(baseline, change, context))
    },
  }
}

/** The commits of a git tree between two; the tree stays as it is. */
export async function treeHistory(
  tree: string,
  ends: { readonly good: string; readonly bad: string },
  work: string,
  context: CliContext,
): Promise<History> {
  const { signal } = context
  const baseline = await openBaseline(tree, context)
  const folder = treeOf(baseline)
  const commitOf = (text: string): Promise<string> =>
    git(folder, ['rev-parse', '--verify', '--quiet', `${text}^{commit}`], { signal }).catch(
      (error: unknown) => {
        if (signal.aborted) throw error
        throw usageError(`${folder} has no commit "${text}"`)
      },
    )
  const [good, bad] = [await commitOf(ends.good), await commitOf(ends.bad)]
  await requireAncestor(folder, good, bad, ends, signal)
  return {
    good,
    bad,
    candidates: (goods, worst) => candidatesIn(folder, goods, worst, signal),
    describe: (commit) => git(folder, ['log', '-1', '--format=%h %s', commit], { signal }),
    kernel: async (commit) =>
      await unlessUnbuildable(async () =>
        buildOn(await atCommit(baseline, commit, join(work, 'commits'), signal), null, context),
      ),
  }
}

async function candidatesIn(
  repository: string,
  goods: readonly string[],
  bad: string,
  signal: AbortSignal,
): Promise<readonly string[]> {
  const args = ['rev-list', '--bisect-all', bad, ...goods.map((good) => `^${good}`)]
  const lines = (await git(repository, args, { signal })).split('\n')
  return lines.map((line) => line.split(' ', 1)[0] ?? '').filter((commit) => commit !== '' && commit !== bad)
}

async function requireAncestor(
  repository: string,
  good: string,
  bad: string,
  ends: { readonly good: string; readonly bad: string },
  signal: AbortSignal,
): Promise<void> {
  const base = await git(repository, ['merge-base', good, bad], { signal }).catch(() => '')
  if (base === good && good !== bad) return
  throw usageError(`${ends.good} (good) does not come before ${ends.bad} (bad)`)
}

async function unlessUnbuildable(build: () => Promise<KernelImage>): Promise<KernelImage | null> {
  try {
    return await build()
  } catch (error) {
    if (error instanceof GmemError && error.exitCode === ExitCode.buildFailed) return null
    throw error
  }
}
