// SPDX-License-Identifier: Apache-2.0
import { usageError } from '../errors.js'
import type { MergePart } from './merge-parts.js'
import type { RunResult, TargetResult } from './schema.js'
import { type Shard, shardText } from './shard.js'
import { groupBy } from './values.js'

/** What of a request decides which tests a shard has and how they are judged: it is the same in all shards of a run. */
const DECIDING = [
  'filters',
  'namePattern',
  'all',
  'append',
  'splats',
  'leaks',
  'allow',
  'retries',
  'failOnSkip',
]

/** A part that is a shard. */
interface ShardPart extends MergePart {
  readonly shard: Shard
}

/**
 * Throws a usage error where the parts do not make whole runs: a part is given twice, they are of different versions of gmem, a shard is
 * missing or there twice, or shards do not belong together.
 */
export function checkParts(parts: readonly MergePart[]): void {
  for (const [first, second] of groupBy(parts, ({ folder }) => folder).values()) {
    if (first && second) throw usageError(`${first.given} and ${second.given} are the same result`)
  }
  checkVersions(parts)
  const shards = parts.flatMap((part) => (part.run.shard ? [{ ...part, shard: part.run.shard }] : []))
  for (const set of setsOf(shards)) checkSet(set, shards)
}

/** `7.3 (7.3.4-gmem, tcg) and host (6.18.44, host)` */
export function targetsText({ targets }: RunResult): string {
  return targets.map(targetText).join(' and ')
}

export function targetText({ id, release, accel }: TargetResult): string {
  return `${id} (${release}, ${accel})`
}

/** An accelerator is unknown where no VM started: in a shard without files, for example. */
function sameAccelerator(a: TargetResult['accel'], b: TargetResult['accel']): boolean {
  return a === b || a === 'unknown' || b === 'unknown'
}

/** Whether two results are of one target: the same kernel, on the same accelerator where both know it. */
export function isSameTarget(a: TargetResult, b: TargetResult): boolean {
  return a.id === b.id && a.release === b.release && sameAccelerator(a.accel, b.accel)
}

/** Uncommitted changes are not told apart: a checkout in CI has some, and which ones nobody knows. */
function checkVersions(parts: readonly MergePart[]): void {
  const known = parts.flatMap((part) => {
    const commit = part.environment.gmem.commit?.replace(/-dirty$/, '')
    return commit === undefined ? [] : [{ given: part.given, commit }]
  })
  const [first] = known
  const other = known.find(({ commit }) => commit !== first?.commit)
  if (!first || !other) return
  throw usageError(
    `${first.given} and ${other.given} are of different versions of gmem: ${short(first.commit)} and ${short(other.commit)}`,
    'Which tests there are depends on it: run all parts with the same checkout.',
  )
}

/** Shards of the same targets, each set a run that was divided. */
function setsOf(shards: readonly ShardPart[]): ShardPart[][] {
  const sets: ShardPart[][] = []
  const isVague = ({ run }: ShardPart): number =>
    run.targets.some(({ accel }) => accel === 'unknown') ? 1 : 0
  // What could belong to several sets goes where it is missing.
  for (const part of shards.toSorted((a, b) => isVague(a) - isVague(b))) {
    const fitting = sets.filter((set) => set.every((other) => haveSameTargets(part.run, other.run)))
    const lacking = fitting.find((set) => set.every(({ shard }) => shard.index !== part.shard.index))
    const set = lacking ?? fitting[0]
    if (set) set.push(part)
    else sets.push([part])
  }
  return sets
}

function haveSameTargets(a: RunResult, b: RunResult): boolean {
  return (
    a.targets.length === b.targets.length &&
    a.targets.every((target) => b.targets.some((other) => isSameTarget(target, other)))
  )
}

function checkSet(set: readonly ShardPart[], all: readonly ShardPart[]): void {
  const [first] = set
  if (!first) return
  const of = targetsText(first.run)
  for (const part of set) {
    if (part.shard.count === first.shard.count) continue
    throw usageError(
      `${first.given} is shard ${shardText(first.shard)} and ${part.given} shard ${shardText(part.shard)} of ${of}`,
      'Parts of different divisions do not make a whole: give all parts of one.',
    )
  }
  for (const [one, twin] of groupBy(set, ({ shard }) => shard.index).values()) {
    if (one && twin) {
      throw usageError(
        `shard ${shardText(one.shard)} of ${of} is there twice: ${one.given} and ${twin.given}`,
        'Leave one of them out.',
      )
    }
  }
  checkMissing(set, first, all)
  for (const part of set) checkRequests(first, part)
}

function checkMissing(set: readonly ShardPart[], { run, shard }: ShardPart, all: readonly ShardPart[]): void {
  const { count } = shard
  const missing = Array.from({ length: count }, (_, index) => index + 1).filter(
    (index) => !set.some((part) => part.shard.index === index),
  )
  if (missing.length === 0) return
  const names = missing.map((index) => shardText({ index, count })).join(', ')
  const given = all.map((part) => `${part.given} is ${shardText(part.shard)} of ${targetsText(part.run)}`)
  throw usageError(
    `shard${missing.length > 1 ? 's' : ''} ${names} of ${targetsText(run)} ${missing.length > 1 ? 'are' : 'is'} missing`,
    `Given: ${given.join('; ')}.`,
  )
}

function checkRequests(first: ShardPart, other: ShardPart): void {
  const fieldText = ({ environment }: ShardPart, field: string): string =>
    JSON.stringify(environment.request[field]) ?? 'not given'
  for (const field of DECIDING) {
    const [one, two] = [fieldText(first, field), fieldText(other, field)]
    if (one === two) continue
    throw usageError(
      `${first.given} and ${other.given} are shards of different runs: ${field} is ${one} and ${two}`,
      'Give all shards the same filters and options.',
    )
  }
}

function short(commit: string): string {
  return commit.slice(0, 12)
}
