// SPDX-License-Identifier: Apache-2.0
import { describe, expect, test } from 'vitest'
import { type ChangeKind, compareTargets, type TestChange } from '../../src/report/compare.js'
import { changeCounts, closingLine, comparisonLines } from '../../src/report/compare-text.js'
import type { TestResult } from '../../src/report/schema.js'
import { coloursFor } from '../../src/report/style.js'
import { isFaster, isSlower, type Timing, timingOf } from '../../src/report/timing.js'
import { exampleTarget } from './report-example.js'

type Part = Partial<TestResult>

const passed: Part = { status: 'passed' }
const failed: Part = {
  status: 'failed',
  failure: 'assertion',
  error: { name: 'AssertionError', message: 'expected 0xaa to be 0x0\nmore' },
}
const skipped: Part = { status: 'skipped', reason: 'needs VM type SNP' }
const moot: Part = { status: 'skipped', reason: 'needs no VM type SNP: the target has it' }
const known: Part = { status: 'known-issue', knownIssue: { id: 'F1', symptom: 'SIGKILL waits' } }
const gone: Part = {
  status: 'failed',
  failure: 'assertion',
  error: { name: 'KnownIssueGoneError', message: 'known issue F1 did not show' },
}
const flaky: Part = { status: 'passed', flaky: true }
const warn = splat('WARN:kvm_gmem_release')
const kasan = splat('KASAN:kvm_gmem_release')

function splat(fingerprint: string, extra: object = {}): Part {
  const splats = [{ kind: 'WARN', title: `in ${fingerprint}`, text: '', fingerprint, ...extra }]
  return { status: 'failed', failure: 'splat', error: { name: 'KernelSplat', message: 'a splat' }, splats }
}

/** Compares one test: an entry for each run of a side. */
function compareOne(a: readonly Part[], b: readonly Part[]) {
  const target = (part: Part) =>
    exampleTarget('7.3', [
      { file: 'tests/kernel/a.test.ts', name: 'one', status: 'passed', durationMs: 5, ...part },
    ])
  return compareTargets(a.map(target), b.map(target))
}

function changeOf(a: readonly Part[], b: readonly Part[]): TestChange | undefined {
  return compareOne(a, b).changes[0]
}

describe('a test, seen once on each side,', () => {
  test.each<[string, Part, Part, ChangeKind | undefined]>([
    ['that passes on both', passed, passed, undefined],
    ['that fails on both', failed, failed, undefined],
    ['that is skipped on both', skipped, skipped, undefined],
    ['that passed and fails', passed, failed, 'broke'],
    ['that was skipped and fails', skipped, failed, 'broke'],
    ['that passed and shows a known issue', passed, known, 'broke'],
    ['that showed its known issue and fails', known, failed, 'broke'],
    ['that failed and passes', failed, passed, 'fixed'],
    ['whose known issue is gone', known, gone, 'fixed'],
    ['whose known issue was gone before', gone, gone, undefined],
    ['that passed and is skipped', passed, skipped, 'skips'],
    ['that is for kernels without what B has', passed, moot, 'moot'],
    ['that was skipped and passes', skipped, passed, 'runs'],
    ['that passed and is flaky', passed, flaky, 'flaky'],
    ['that was flaky and passes', flaky, passed, 'steady'],
    ['that is flaky on both', flaky, flaky, undefined],
    ['that was flaky and fails', flaky, failed, undefined],
    ['that has another splat', warn, kasan, 'splat'],
    ['that has the same splat', warn, warn, undefined],
    ['whose splat an allow file covers', passed, { ...splat('W', { allowed: 'why' }), ...passed }, undefined],
    ['that has a splat and was told to pass with it', passed, { ...kasan, status: 'passed' }, 'splat'],
    ['whose splat is gone though it fails still', warn, failed, 'quiet'],
  ])('%s', (_title, a, b, kind) => {
    expect(changeOf([a], [b])?.kind).toBe(kind)
  })

  test('that only B has appeared, and broke where it fails', () => {
    expect(changeOf([], [passed])).toMatchObject({ kind: 'appeared', a: null })
    expect(changeOf([], [failed])).toMatchObject({ kind: 'broke', a: null })
  })

  test('that only A has vanished', () => {
    expect(changeOf([failed], [])).toMatchObject({ kind: 'vanished', b: null, detail: 'was failed' })
  })
})

describe('a test, seen several times,', () => {
  test('is flaky where its results differ', () => {
    expect(changeOf([passed, passed, passed], [passed, failed, passed])).toMatchObject({
      kind: 'flaky',
      detail: 'passed, now 2 of 3 passed, 1 failed',
    })
  })

  test('is broken where it fails each time', () => {
    expect(changeOf([passed, passed], [failed, failed])?.kind).toBe('broke')
  })

  test('says nothing about B where it was flaky in A', () => {
    const { changes, flakyInBoth, worse } = compareOne([passed, failed], [failed, passed])

    expect(changes).toEqual([])
    expect(flakyInBoth).toBe(1)
    expect(worse).toBe(false)
  })
})

describe('B is', () => {
  test.each<[ChangeKind, Part[], Part[], boolean]>([
    ['broke', [passed], [failed], true],
    ['flaky', [passed], [flaky], true],
    ['splat', [warn], [kasan], true],
    ['skips', [passed], [skipped], true],
    ['moot', [passed], [moot], false],
    ['skips', [passed, passed], [moot, skipped], true],
    ['fixed', [failed], [passed], false],
    ['vanished', [passed], [], false],
    ['appeared', [], [passed], false],
    ['slower', Array(3).fill({ durationMs: 10 }), Array(3).fill({ durationMs: 9000 }), false],
  ])('judged by: %s', (kind, a, b, worse) => {
    const comparison = compareOne(a, b)

    expect(comparison.changes.map((change) => change.kind)).toEqual([kind])
    expect(comparison.worse).toBe(worse)
  })
})

describe('time', () => {
  const timing = (...ms: number[]): Timing => timingOf(ms) ?? { minMs: 0, medianMs: 0, maxMs: 0, runs: 0 }

  test('of a test that never ran is unknown', () => {
    expect(timingOf([])).toBeNull()
  })

  test('seen fewer than three times says nothing', () => {
    expect(isSlower(timing(500, 510), timing(9000, 9010, 9020))).toBe(false)
    expect(isSlower(timing(500, 510, 520), timing(9000, 9010))).toBe(false)
  })

  test('of a few milliseconds is noise, whatever the factor', () => {
    expect(isSlower(timing(1, 1, 1), timing(200, 200, 200))).toBe(false)
  })

  test('seen three times must not overlap', () => {
    expect(isSlower(timing(500, 510, 900), timing(880, 1000, 1100))).toBe(false)
    expect(isSlower(timing(500, 510, 520), timing(880, 1000, 1100))).toBe(true)
    expect(isFaster(timing(880, 1000, 1100), timing(500, 510, 520))).toBe(true)
  })
})

describe('the comparison as text', () => {
  const colours = coloursFor({ isTTY: false }, { NO_COLOR: '1' })

  test('names each test, what is seen, and the verdict', () => {
    expect(comparisonLines(compareOne([passed], [failed]), colours, 100)).toEqual([
      'broke',
      '  a.test.ts  one',
      '      expected 0xaa to be 0x0',
      '',
      'B is worse than A: 1 broke; 0 unchanged',
    ])
  })

  test('says so where nothing changed', () => {
    expect(closingLine(compareOne([passed], [passed]))).toBe('B is not worse than A: 1 unchanged')
    expect(changeCounts([])).toBe('')
  })
})
