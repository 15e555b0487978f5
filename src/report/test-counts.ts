// SPDX-License-Identifier: Apache-2.0
import type { TargetResult, TestResult } from './schema.js'
import { compareTexts } from './values.js'

/** What a target's result counts of its tests. */
export function testCounts(
  tests: readonly TestResult[],
): Pick<TargetResult, 'passed' | 'failed' | 'skipped' | 'knownIssues' | 'flaky' | 'splats'> {
  const count = (matches: (test: TestResult) => boolean): number => tests.filter(matches).length
  return {
    passed: count((test) => test.status === 'passed' || test.status === 'known-issue'),
    failed: count((test) => test.status === 'failed'),
    skipped: count((test) => test.status === 'skipped'),
    knownIssues: count((test) => test.status === 'known-issue'),
    flaky: count((test) => test.flaky === true),
    splats: tests.flatMap((test) => test.splats ?? []).filter((splat) => !splat.allowed).length,
  }
}

/** By file, and within a file as written: sort is stable. */
export function byFile(a: TestResult, b: TestResult): number {
  return compareTexts(a.file, b.file)
}

/** A test among those of all files, in words. */
export function testKey({ file, name }: Pick<TestResult, 'file' | 'name'>): string {
  return `${file} > ${name}`
}
