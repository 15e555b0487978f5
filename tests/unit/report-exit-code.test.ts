// SPDX-License-Identifier: Apache-2.0
import { describe, expect, test } from 'vitest'
import { exitCodeOf } from '../../src/report/exit-code.js'
import type { FailureKind, RunError, RunResult } from '../../src/report/schema.js'
import { exampleRun, exampleTarget, passed } from './report-example.js'

/** A run in which tests failed in these ways, after one that passed. */
function runWith(failures: readonly FailureKind[], errors: readonly RunError['kind'][] = []): RunResult {
  const tests = failures.map((failure) => ({
    ...passed('suite', failure),
    status: 'failed' as const,
    failure,
    error: { name: 'Error', message: failure },
  }))
  return {
    ...exampleRun(),
    passed: 1,
    failed: failures.length,
    skipped: 0,
    errors: errors.map((kind) => ({ kind, error: { name: 'Error', message: kind } })),
    targets: [exampleTarget('7.3', [passed('suite', 'one that passes'), ...tests])],
  }
}

describe('the exit code', () => {
  test.each<[number, FailureKind[], RunError['kind'][]]>([
    [0, [], []],
    [1, ['assertion'], []],
    [1, ['leak'], []],
    [1, ['not-run'], []],
    [1, [], ['unhandled']],
    [3, ['splat'], []],
    [5, ['death'], []],
    [124, ['hang'], []],
    [124, ['timeout'], []],
    [124, [], ['deadline']],
    [69, [], ['infrastructure']],
    [130, [], ['interrupted']],
  ])('is %i for tests that failed by %j and errors %j', (code, failures, errors) => {
    expect(exitCodeOf(runWith(failures, errors))).toBe(code)
  })

  test.each<[number, FailureKind[], RunError['kind'][]]>([
    [1, ['splat', 'assertion'], []],
    [124, ['assertion', 'timeout', 'splat'], []],
    [5, ['timeout', 'death', 'assertion'], []],
    [69, ['death'], ['infrastructure', 'deadline']],
    [130, ['death'], ['infrastructure', 'interrupted']],
  ])('is %i where %j and %j come together', (code, failures, errors) => {
    expect(exitCodeOf(runWith(failures, errors))).toBe(code)
  })

  test('is 5 when a kernel died, even if its test passed in the next VM', () => {
    const run = runWith([])
    run.targets[0]?.deaths.push({ message: 'kernel panic' })

    expect(exitCodeOf(run)).toBe(5)
  })

  test('is 4 when every test was skipped', () => {
    expect(exitCodeOf({ ...runWith([]), passed: 0, failed: 0, skipped: 3 })).toBe(4)
  })

  test('is 0 when only some were skipped, and 4 with --fail-on-skip', () => {
    const run = { ...runWith([]), skipped: 3 }

    expect(exitCodeOf(run)).toBe(0)
    expect(exitCodeOf(run, true)).toBe(4)
  })

  test('is 2 when no test has the name that was asked for', () => {
    expect(exitCodeOf({ ...runWith([]), passed: 0, failed: 0, skipped: 0 })).toBe(2)
  })

  test('is 0 for a shard without a test: other shards may have some', () => {
    const shard = { index: 2, count: 3 }

    expect(exitCodeOf({ ...runWith([]), passed: 0, failed: 0, skipped: 0, shard })).toBe(0)
    expect(exitCodeOf({ ...runWith([]), passed: 0, failed: 0, skipped: 3, shard })).toBe(4)
  })

  test('never reaches 128, where git bisect run gives up', () => {
    const kinds: FailureKind[] = ['assertion', 'timeout', 'splat', 'leak', 'hang', 'death', 'not-run']

    for (const kind of kinds) expect(exitCodeOf(runWith([kind]))).toBeLessThan(128)
  })
})
