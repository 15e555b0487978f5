// SPDX-License-Identifier: Apache-2.0

/** What a test says of a commit; skip: it does not build, or the test does not run there. */
export type Verdict = 'good' | 'bad' | 'skip'

export interface BisectTask {
  /** The commits among which the first bad one is, without `bad` itself; those that tell most come first. */
  candidates(good: readonly string[], bad: string): Promise<readonly string[]>
  verdict(commit: string): Promise<Verdict>
}

export interface BisectResult {
  /** The first bad commit; several where those between cannot be tested. The last one is bad for certain. */
  readonly culprits: readonly string[]
  readonly tried: readonly { readonly commit: string; readonly verdict: Verdict }[]
}

/** Finds the first bad commit between one that is good and one that is bad, as git bisect does. */
export async function bisect(good: string, bad: string, task: BisectTask): Promise<BisectResult> {
  const goods = [good]
  const skipped = new Set<string>()
  const tried: { commit: string; verdict: Verdict }[] = []
  let worst = bad
  for (;;) {
    const candidates = await task.candidates(goods, worst)
    const commit = candidates.find((candidate) => !skipped.has(candidate))
    if (commit === undefined) return { culprits: [...candidates, worst], tried }
    const verdict = await task.verdict(commit)
    tried.push({ commit, verdict })
    if (verdict === 'good') goods.push(commit)
    else if (verdict === 'bad') worst = commit
    else skipped.add(commit)
  }
}

/** What an exit code of `gmem test` says of a kernel; null: nothing can be said, and no other commit would do better. */
export function verdictOf(exitCode: number): Verdict | null {
  if (exitCode === 0) return 'good'
  if ([1, 3, 5, 124].includes(exitCode)) return 'bad'
  // Nothing ran, the machine could not, the kernel did not build.
  return [4, 69, 125].includes(exitCode) ? 'skip' : null
}
