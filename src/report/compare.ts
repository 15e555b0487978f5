// SPDX-License-Identifier: Apache-2.0
import { TARGET_HAS_IT } from '../testing/skip-text.js'
import type { ReportedSplat, TargetResult, TestResult } from './schema.js'
import { isFaster, isSlower, type Timing, timingOf } from './timing.js'
import { groupBy } from './values.js'

/**
 * What became of a test between A and B. Each test has one: the most serious that holds.
 *
 * - `broke`: it passed, or was not there, and fails now;
 * - `flaky`: it gave the same result each time, and does not any more;
 * - `splat`: the kernel complains during it, as it did not before, or in another way;
 * - `skips`: it ran, and is skipped now; `runs`: the other way round; `moot`: it is skipped because B has what the test must do without;
 * - `fixed`: it failed, or showed a known issue, and passes now; `steady`: it was flaky, and is not any more;
 * - `quiet`: splats are gone; `appeared`, `vanished`: only one side has it;
 * - `slower`, `faster`: its time differs by more than noise.
 */
export type ChangeKind =
  | 'broke'
  | 'flaky'
  | 'splat'
  | 'skips'
  | 'moot'
  | 'vanished'
  | 'slower'
  | 'fixed'
  | 'steady'
  | 'quiet'
  | 'runs'
  | 'appeared'
  | 'faster'

/** Those that make B worse than A. Time does not: machines differ more than kernels; nor does a test that nobody has any more. */
export const WORSE: readonly ChangeKind[] = ['broke', 'flaky', 'splat', 'skips']

export interface TestChange {
  readonly file: string
  readonly name: string
  readonly kind: ChangeKind
  /** One line: what is seen in B, or what was seen in A where B has nothing to show. */
  readonly detail: string
  /** Null where that side does not have the test. */
  readonly a: Seen | null
  readonly b: Seen | null
}

/** What all runs of a side saw of one test. */
export interface Seen {
  /** One a run, in order. */
  readonly statuses: readonly TestResult['status'][]
  /** Fingerprints or titles of the splats that no allow file covers, sorted. */
  readonly splats: readonly string[]
  /** Null where it never ran. */
  readonly timing: Timing | null
}

export interface Comparison {
  /** The most serious first, then by file and name. */
  readonly changes: readonly TestChange[]
  readonly unchanged: number
  /** Failed at least once on both sides, and so told nothing: flaky in A already. */
  readonly flakyInBoth: number
  readonly worse: boolean
}

/** Compares what the runs of A saw with what those of B did. Each side: the same tests on one target, once or several times. */
export function compareTargets(a: readonly TargetResult[], b: readonly TargetResult[]): Comparison {
  const before = testsOf(a)
  const after = testsOf(b)
  const changes: TestChange[] = []
  let unchanged = 0
  let flakyInBoth = 0
  for (const key of new Set([...before.keys(), ...after.keys()])) {
    const [old = [], fresh = []] = [before.get(key), after.get(key)]
    const [one] = [...fresh, ...old]
    if (!one) continue
    const [seenA, seenB] = [seenIn(old), seenIn(fresh)]
    const kind = changeOf(seenA, seenB, old, fresh)
    if (seenA && seenB && isFlaky(seenA, old) && isFlaky(seenB, fresh)) flakyInBoth += 1
    if (kind === null) unchanged += 1
    else {
      const detail = detailOf(kind, old, fresh, seenA, seenB)
      changes.push({ file: one.file, name: one.name, kind, detail, a: seenA, b: seenB })
    }
  }
  changes.sort(bySeverity)
  return { changes, unchanged, flakyInBoth, worse: changes.some(({ kind }) => WORSE.includes(kind)) }
}

function testsOf(runs: readonly TargetResult[]): Map<string, TestResult[]> {
  return groupBy(
    runs.flatMap(({ tests }) => tests),
    ({ file, name }) => `${file}\0${name}`,
  )
}

function seenIn(results: readonly TestResult[]): Seen | null {
  if (results.length === 0) return null
  const ran = results.filter(({ status }) => status !== 'skipped')
  return {
    statuses: results.map(({ status }) => status),
    splats: [
      ...new Set(
        results
          .flatMap((test) => test.splats ?? [])
          .filter(isOpen)
          .map(splatName),
      ),
    ].sort(),
    timing: timingOf(ran.map(({ durationMs }) => durationMs)),
  }
}

function changeOf(
  a: Seen | null,
  b: Seen | null,
  old: readonly TestResult[],
  fresh: readonly TestResult[],
): ChangeKind | null {
  if (b === null) return 'vanished'
  if (a === null) return b.statuses.includes('failed') ? 'broke' : 'appeared'
  const [flakyA, flakyB] = [isFlaky(a, old), isFlaky(b, fresh)]
  // One more failure of a test that fails now and then says nothing about B.
  if (flakyA && flakyB) return null
  if (flakyB) return 'flaky'
  const [statusA, statusB] = [a.statuses.at(-1), b.statuses.at(-1)]
  if (flakyA) return statusB === 'failed' ? null : 'steady'
  if (fresh.some(isIssueGone)) return old.some(isIssueGone) ? null : 'fixed'
  if (statusB === 'failed' && statusA !== 'failed') return 'broke'
  if (b.splats.some((splat) => !a.splats.includes(splat))) return 'splat'
  if (statusA !== statusB) return changeOfStatus(statusA, statusB, fresh)
  if (a.splats.length > b.splats.length) return 'quiet'
  if (a.timing && b.timing) {
    if (isSlower(a.timing, b.timing)) return 'slower'
    if (isFaster(a.timing, b.timing)) return 'faster'
  }
  return null
}

function changeOfStatus(
  a: TestResult['status'] | undefined,
  b: TestResult['status'] | undefined,
  fresh: readonly TestResult[],
): ChangeKind {
  if (b === 'skipped') return fresh.every(isMoot) ? 'moot' : 'skips'
  if (a === 'skipped') return 'runs'
  // The bug on record shows where it did not.
  return b === 'known-issue' && a === 'passed' ? 'broke' : 'fixed'
}

/** Its results differ from run to run, or it failed and passed when gmem tried it again. */
function isFlaky({ statuses }: Seen, results: readonly TestResult[]): boolean {
  return new Set(statuses).size > 1 || results.some(({ flaky, status }) => flaky && status !== 'failed')
}

/** The bug that a test is marked with is gone: gmem calls that failed, to have the mark removed; the kernel got better. */
function isIssueGone({ error }: TestResult): boolean {
  return error?.name === 'KnownIssueGoneError'
}

/** Made for kernels without something that B has: nothing was lost. */
function isMoot({ reason }: TestResult): boolean {
  return reason?.endsWith(TARGET_HAS_IT) === true
}

function isOpen({ allowed }: ReportedSplat): boolean {
  return allowed === undefined
}

function splatName({ kind, title, fingerprint }: ReportedSplat): string {
  return fingerprint ?? `${kind}: ${title}`
}

function detailOf(
  kind: ChangeKind,
  old: readonly TestResult[],
  fresh: readonly TestResult[],
  a: Seen | null,
  b: Seen | null,
): string {
  const firstLine = (text: string | undefined): string => text?.split('\n', 1)[0] ?? ''
  switch (kind) {
    case 'broke':
      return (
        firstLine(fresh.find(({ error }) => error)?.error?.message) || (fresh[0]?.knownIssue?.symptom ?? '')
      )
    case 'fixed':
      return `was: ${firstLine(old.find(({ error }) => error)?.error?.message) || (old[0]?.knownIssue?.symptom ?? 'failed')}`
    case 'flaky':
    case 'steady':
      return `${tally(a)}, now ${tally(b)}`
    case 'splat':
      return fresh.flatMap((test) => test.splats ?? []).find((splat) => isNew(splat, a))?.title ?? ''
    case 'quiet':
      return `was: ${old.flatMap((test) => test.splats ?? []).find((splat) => isNew(splat, b))?.title ?? ''}`
    case 'skips':
    case 'moot':
      return fresh.find(({ reason }) => reason)?.reason ?? ''
    case 'runs':
      return `${tally(b)}; was skipped: ${old.find(({ reason }) => reason)?.reason ?? ''}`
    case 'slower':
    case 'faster':
      return `${Math.round(a?.timing?.medianMs ?? 0)} ms, now ${Math.round(b?.timing?.medianMs ?? 0)} ms`
    case 'appeared':
      return tally(b)
    case 'vanished':
      return `was ${tally(a)}`
  }
}

function isNew(splat: ReportedSplat, other: Seen | null): boolean {
  return isOpen(splat) && !other?.splats.includes(splatName(splat))
}

/** `passed`, or `2 of 3 passed, 1 failed`. */
function tally(seen: Seen | null): string {
  if (seen === null) return 'not there'
  const groups = [...groupBy(seen.statuses, (status) => status)]
  const [only] = groups
  if (only && groups.length === 1) return only[0]
  const all = seen.statuses.length
  return groups
    .map(([status, same], index) => `${same.length}${index === 0 ? ` of ${all}` : ''} ${status}`)
    .join(', ')
}

const SEVERITY: readonly ChangeKind[] = [
  'broke',
  'flaky',
  'splat',
  'skips',
  'moot',
  'vanished',
  'fixed',
  'steady',
  'quiet',
  'runs',
  'appeared',
  'slower',
  'faster',
]

function bySeverity(a: TestChange, b: TestChange): number {
  const difference = SEVERITY.indexOf(a.kind) - SEVERITY.indexOf(b.kind)
  return difference || a.file.localeCompare(b.file, 'en') || a.name.localeCompare(b.name, 'en')
}
