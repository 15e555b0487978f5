// SPDX-License-Identifier: Apache-2.0
import type { Reach } from '../report/coverage/reach.js'
import type { TargetResult, TestResult } from '../report/schema.js'
import { testCounts, testKey } from '../report/test-counts.js'
import { namesPattern } from './name-pattern.js'
import type { Selection } from './orders.js'
import { filesToRun } from './test-files.js'
import { sampleOf } from './test-sample.js'

/** A share of the tests of which nearly all is left gives no early verdict. */
const EARLY_SHARE_MAX = 0.8
/** Of tests that took longer before, all together, a sample has to do for a start, in ms. */
const EARLY_MS_MAX = 8_000

/** A part of a run. */
export interface Stage extends Selection {
  readonly name: string
  readonly tests: number
}

/** A run in two parts: first the tests that may tell, then the rest. */
export interface Stages {
  /** How many tests run what changed, or may: more than there are in `first` where that is a sample of them. */
  readonly concerned: number
  readonly first: Stage
  readonly rest: Stage
}

/** What changed in the tree, by source file: the functions. */
export type ChangedFunctions = ReadonlyMap<string, readonly string[]>

/**
 * Divides the tests of an earlier run into those that run one of the functions, or of which that is not known, and the rest; where many run
 * it, into some that take each way through it, and the rest. Null where that helps nobody: a function that was never counted, which any test
 * may run, or nearly all is in the first part.
 */
export function stagesOf(
  before: TargetResult,
  changed: ChangedFunctions,
  reach: Reach,
  { filters, withSlow }: { readonly filters: readonly string[]; readonly withSlow: boolean },
): Stages | null {
  const reaching = new Set<string>()
  for (const [file, names] of changed) {
    for (const name of names) {
      const tests = reach.testsOf(file, name)
      if (tests === null) return null
      for (const test of tests) reaching.add(test)
    }
  }
  const ran = before.tests.filter(({ status }) => status !== 'skipped')
  const unknown = ran.filter((test) => !reach.tests.has(testKey(test)))
  const known = ran.filter((test) => reaching.has(testKey(test)))
  const isLong = known.reduce((sum, { durationMs }) => sum + durationMs, 0) > EARLY_MS_MAX
  const chosen = [...unknown, ...(isLong ? sampleOf(known, reach, changed) : known)]
  // A name may be that of tests in several files, and names are what gmem test can be asked for.
  const names = new Set(chosen.map(({ name }) => name))
  const first = before.tests.filter(({ name }) => names.has(name))
  const early = ran.filter(({ name }) => names.has(name)).length
  if (early === 0 || early > EARLY_SHARE_MAX * ran.length) return null
  const pattern = namesPattern(names)
  const inFirst = filesIn(first)
  const inRest = filesIn(before.tests.filter(({ name }) => !names.has(name)))
  return {
    concerned: unknown.length + known.length,
    first: { filters: [...inFirst], name: `^${pattern}$`, tests: early },
    rest: {
      filters: filesToRun(filters, withSlow).filter((file) => inRest.has(file) || !inFirst.has(file)),
      name: `^(?!${pattern}$)`,
      tests: ran.length - early,
    },
  }
}

/** The result of both parts. */
export function joined(first: TargetResult, rest: TargetResult): TargetResult {
  const tests = [...first.tests, ...rest.tests]
  return { ...rest, ...testCounts(tests), tests }
}

/** An earlier result, of the tests alone that a part of the next run had. */
export function onlyTestsOf(part: TargetResult, earlier: TargetResult): TargetResult {
  const keys = new Set(part.tests.map(testKey))
  return { ...earlier, tests: earlier.tests.filter((test) => keys.has(testKey(test))) }
}

function filesIn(tests: readonly TestResult[]): ReadonlySet<string> {
  return new Set(tests.map(({ file }) => file))
}
