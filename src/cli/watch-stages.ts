// SPDX-License-Identifier: Apache-2.0
import type { Reach } from '../report/coverage/reach.js'
import type { TargetResult, TestResult } from '../report/schema.js'
import { namePatternOf } from './name-pattern.js'
import { filesMatching, SLOW_FILE } from './test-files.js'

/** A share of the tests of which nearly all is left gives no early verdict. */
const EARLY_SHARE_MAX = 0.8

/** A part of a run, as `gmem test` is asked for it. */
export interface Stage {
  /** Test files. */
  readonly filters: readonly string[]
  /** A pattern of names. */
  readonly name: string
  readonly tests: number
}

/** A run in two parts: first the tests that may tell, then the rest. */
export interface Stages {
  readonly first: Stage
  readonly rest: Stage
}

/** What changed in the tree, by source file: the functions. */
export type ChangedFunctions = ReadonlyMap<string, readonly string[]>

/**
 * Divides the tests of an earlier run into those that run one of the functions, or of which that is not known, and the rest. Null where
 * that helps nobody: a function that was never counted, which any test may run, or nearly all tests run it.
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
  const isWanted = (test: TestResult): boolean => reaching.has(keyOf(test)) || !reach.tests.has(keyOf(test))
  // A name may be that of tests in several files, and names are what gmem test can be asked for.
  const names = new Set(ran.filter(isWanted).map(({ name }) => name))
  const first = before.tests.filter(({ name }) => names.has(name))
  const early = ran.filter(({ name }) => names.has(name)).length
  if (early === 0 || early > EARLY_SHARE_MAX * ran.length) return null
  const pattern = [...names].map(namePatternOf).join('|')
  const inFirst = filesOf(first)
  const done = new Set(
    inFirst.filter((file) => before.tests.every((test) => test.file !== file || names.has(test.name))),
  )
  const files = (filters.length === 0 ? [''] : filters)
    .flatMap((filter) => filesMatching(filter))
    .filter((file) => withSlow || !file.endsWith(SLOW_FILE))
  return {
    first: { filters: inFirst, name: `^(?:${pattern})$`, tests: early },
    rest: {
      filters: [...new Set(files)].filter((file) => !done.has(file)),
      name: `^(?!(?:${pattern})$)`,
      tests: ran.length - early,
    },
  }
}

/** The result of both parts. */
export function joined(first: TargetResult, rest: TargetResult): TargetResult {
  const sum = (of: (target: TargetResult) => number): number => of(first) + of(rest)
  return {
    ...rest,
    passed: sum(({ passed }) => passed),
    failed: sum(({ failed }) => failed),
    skipped: sum(({ skipped }) => skipped),
    tests: [...first.tests, ...rest.tests],
  }
}

/** An earlier result, of the tests alone that a part of the next run had. */
export function onlyTestsOf(part: TargetResult, earlier: TargetResult): TargetResult {
  const keys = new Set(part.tests.map(keyOf))
  return { ...earlier, tests: earlier.tests.filter((test) => keys.has(keyOf(test))) }
}

function keyOf({ file, name }: TestResult): string {
  return `${file} > ${name}`
}

function filesOf(tests: readonly TestResult[]): string[] {
  return [...new Set(tests.map(({ file }) => file))]
}
