// SPDX-License-Identifier: Apache-2.0
import { usageError } from '../errors.js'
import { exitCodeOf } from './exit-code.js'
import type { MergePart } from './merge-parts.js'
import { isSameTarget, targetText } from './merge-shards.js'
import type { RunResult, TargetResult, TestResult } from './schema.js'
import { byFile, testCounts } from './test-counts.js'
import { groupBy } from './values.js'

/** The results of one target: a kernel, known by its id, its release and its accelerator, or the host. */
export interface MatchedTarget {
  /** Unique in the merged result: that of the target, with what sets it apart from others that have it, too. */
  readonly id: string
  readonly members: readonly Member[]
}

interface Member {
  readonly part: MergePart
  readonly target: TargetResult
}

/** Which results are of the same target, in the order in which they were given. */
export function matchTargets(parts: readonly MergePart[]): MatchedTarget[] {
  const all = parts.flatMap((part) => part.run.targets.map((target) => ({ part, target })))
  const groups: Member[][] = []
  const isKnown = ({ target }: Member): boolean => target.accel !== 'unknown'
  for (const member of [...all.filter(isKnown), ...all.filter((other) => !isKnown(other))]) {
    const fitting = groups.filter((others) =>
      others.every(({ target }) => isSameTarget(target, member.target)),
    )
    // What may be of several, and has something to say, is shown apart.
    const group = fitting.length === 1 || member.target.tests.length === 0 ? fitting[0] : undefined
    if (group) group.push(member)
    else groups.push([member])
  }
  groups.sort(([a], [b]) => (a && b ? all.indexOf(a) - all.indexOf(b) : 0))
  return groups.map((members) => ({ id: distinctId(members, groups), members }))
}

/** The whole run. Throws a usage error where two parts have different results of the same test, or different seeds of a target. */
export function mergeRuns(
  parts: readonly MergePart[],
  matched: readonly MatchedTarget[],
  artefacts: string,
): RunResult {
  const seeds = matched.map(seedOf)
  const seed = seeds[0] ?? 0
  const targets = matched.map((match, index) => {
    const own = seeds[index]
    return { ...mergeTarget(match), ...(own !== undefined && own !== seed && { seed: own }) }
  })
  const sum = (key: 'passed' | 'failed' | 'skipped'): number =>
    targets.reduce((total, target) => total + target[key], 0)
  const run = {
    format: 1 as const,
    startedAt: parts.map(({ run }) => run.startedAt).sort()[0] ?? new Date().toISOString(),
    durationMs: parts.reduce((total, { run }) => total + run.durationMs, 0),
    seed,
    artefacts,
    passed: sum('passed'),
    failed: sum('failed'),
    skipped: sum('skipped'),
    errors: parts.flatMap(({ run }) => run.errors),
    targets,
  }
  const failOnSkip = parts.some(({ environment }) => environment.request.failOnSkip === true)
  return { ...run, exitCode: exitCodeOf(run, failOnSkip) }
}

/** What a reader should know that is no mistake: the key of a build depends on times where nothing better is known of it. */
export function mergeNotes(matched: readonly MatchedTarget[]): string[] {
  return matched.flatMap(({ id, members }) => {
    const builds = members.flatMap(({ part, target }) => {
      const kernel = part.environment.kernels.find((other) => other.id === target.id)
      return kernel ? [{ given: part.given, key: kernel.key }] : []
    })
    const other = builds.find(({ key }) => key !== builds[0]?.key)
    return builds[0] && other
      ? [`${id}: ${builds[0].given} and ${other.given} may be different builds: their keys differ`]
      : []
  })
}

/** `7.3@kvm` beside `7.3@tcg`. */
function distinctId(members: readonly Member[], groups: readonly (readonly Member[])[]): string {
  const [first] = members
  if (!first) return ''
  const { id, accel, release } = first.target
  const twins = groups.flatMap(([other]) => (other && other.target.id === id ? [other.target] : []))
  if (twins.length === 1) return id
  const byAccelerator = new Set(twins.map((twin) => twin.accel)).size === twins.length
  const byRelease = new Set(twins.map((twin) => twin.release)).size === twins.length
  return `${id}@${byAccelerator ? accel : byRelease ? release : `${release}-${accel}`}`
}

function seedOf({ members }: MatchedTarget): number {
  const seeds = members.map(({ part, target }) => ({
    given: part.given,
    seed: target.seed ?? part.run.seed,
    target,
  }))
  const [first] = seeds
  const other = seeds.find(({ seed }) => seed !== first?.seed)
  if (first && other) {
    throw usageError(
      `${first.given} and ${other.given} ran ${targetText(first.target)} with different seeds: ${first.seed} and ${other.seed}`,
      'Run the parts of one target with the same --seed.',
    )
  }
  return first?.seed ?? 0
}

function mergeTarget({ id, members }: MatchedTarget): TargetResult {
  const targets = members.map(({ target }) => target)
  const [first] = targets
  if (!first) throw new Error(`nothing was matched as ${id}`)
  const tests = mergeTests(members).sort(byFile)
  const firstResults = targets.flatMap(({ firstResultMs }) => (firstResultMs === null ? [] : [firstResultMs]))
  const { seed: _, ...known } = first
  return {
    ...known,
    id,
    ...testCounts(tests),
    bootMs: targets.find(({ bootMs }) => bootMs !== null)?.bootMs ?? null,
    restored: targets.find(({ restored }) => restored !== null)?.restored ?? null,
    durationMs: targets.reduce((total, { durationMs }) => total + durationMs, 0),
    firstResultMs: firstResults.length === 0 ? null : Math.min(...firstResults),
    deaths: targets.flatMap(({ deaths }) => deaths),
    files: firstOfEach(targets.flatMap(({ files }) => files)),
    tests,
  }
}

/** All tests, and once what several parts have with the same outcome. A part may have several of one name. */
function mergeTests(members: readonly Member[]): TestResult[] {
  const seen = new Map<string, { given: string; tests: readonly TestResult[] }>()
  const merged: TestResult[] = []
  for (const { part, target } of members) {
    const own = groupBy(target.tests, ({ file, name }) => `${file}\0${name}`)
    for (const [key, tests] of own) {
      const earlier = seen.get(key)
      if (earlier) checkAgreement(target, earlier, { given: part.given, tests })
      else seen.set(key, { given: part.given, tests })
    }
    merged.push(
      ...target.tests.filter(({ file, name }) => seen.get(`${file}\0${name}`)?.given === part.given),
    )
  }
  return merged
}

interface Outcome {
  readonly given: string
  readonly tests: readonly TestResult[]
}

function checkAgreement(target: TargetResult, one: Outcome, other: Outcome): void {
  const [before, after] = [one, other].map(({ tests }) => tests.map(outcomeText).join(', '))
  if (before === after) return
  const [test] = other.tests
  throw usageError(
    `"${test?.name}" of ${test?.file} on ${targetText(target)}: ${before} in ${one.given}, ${after} in ${other.given}`,
    'A test has one result in a run: leave one of the two out.',
  )
}

function outcomeText({ status, failure }: TestResult): string {
  return failure === undefined ? status : `${status} (${failure})`
}

function firstOfEach(files: TargetResult['files']): TargetResult['files'] {
  return [...groupBy(files, ({ file }) => file).values()].flatMap(([first]) => (first ? [first] : []))
}
