// SPDX-License-Identifier: Apache-2.0
import { describe, expect, test } from 'vitest'
import { matchTargets, mergeNotes, mergeRuns } from '../../src/report/merge.js'
import type { MergePart } from '../../src/report/merge-parts.js'
import { checkParts } from '../../src/report/merge-shards.js'
import { type RunResult, runSchema } from '../../src/report/schema.js'
import { exampleRun, exampleTarget } from './report-example.js'
import { kernel, part, tested } from './report-merge-parts.js'

const failed = { status: 'failed', failure: 'assertion' } as const
const skipped = { status: 'skipped', reason: 'needs patience' } as const

function merge(...parts: readonly MergePart[]): RunResult {
  checkParts(parts)
  return mergeRuns(parts, matchTargets(parts), '/whole')
}

const ids = ({ targets }: RunResult): string[] => targets.map(({ id }) => id)
const names = ({ targets }: RunResult): string[][] =>
  targets.map(({ tests }) => tests.map(({ name }) => name))

describe('two shards of a run', () => {
  const one = [tested('b', 'of b'), tested('d', 'of d', skipped)]
  const two = [tested('a', 'of a', failed), tested('c', 'of c', { flaky: true })]
  const merged = merge(
    part('two', { shard: '2/2', targets: [kernel(two, { firstResultMs: 700, bootMs: 9 })] }),
    part('one', { shard: '1/2', targets: [kernel(one, { deaths: [{ message: 'panic' }] })] }),
  )

  test('are one target, whose tests are in the order of one run', () => {
    expect(names(merged)).toEqual([['of a', 'of b', 'of c', 'of d']])
    expect(merged.targets[0]?.files.map(({ file }) => file).sort()).toEqual(
      ['a', 'b', 'c', 'd'].map((name) => `tests/kernel/${name}.test.ts`),
    )
  })

  test('are counted together, and their deaths kept', () => {
    expect(merged).toMatchObject({ passed: 2, failed: 1, skipped: 1, exitCode: 5 })
    expect(merged.targets[0]).toMatchObject({ passed: 2, failed: 1, skipped: 1, flaky: 1 })
    expect(merged.targets[0]?.deaths).toEqual([{ message: 'panic' }])
  })

  test('took as long as both', () => {
    expect(merged.durationMs).toBe(2 * exampleRun().durationMs)
    expect(merged.targets[0]).toMatchObject({ durationMs: 6200, firstResultMs: 700, bootMs: 9 })
  })

  test('are a result that the schema accepts, and no shard', () => {
    expect(runSchema.parse(merged)).toEqual(merged)
    expect(merged).not.toHaveProperty('shard')
  })
})

describe('what is one target', () => {
  const on = (given: string, accel: 'kvm' | 'tcg' | 'unknown', file: string, shard?: string): MergePart =>
    part(given, { targets: [kernel([tested(file, `of ${file}`)], { accel })], ...(shard && { shard }) })

  test('is not what ran on another kernel', () => {
    expect(ids(merge(part('a'), part('b', { targets: [exampleTarget('7.3-debug', [])] })))).toEqual([
      '7.3',
      '7.3-debug',
    ])
  })

  test('is not what ran on another accelerator: the ids tell them apart', () => {
    const merged = merge(on('a', 'kvm', 'x'), on('b', 'tcg', 'x'))

    expect(ids(merged)).toEqual(['7.3@kvm', '7.3@tcg'])
    expect(names(merged)).toEqual([['of x'], ['of x']])
  })

  test('is not what has another release', () => {
    const other = part('b', { targets: [kernel([], { release: '7.3.5-gmem' })] })

    expect(ids(merge(part('a'), other))).toEqual(['7.3@7.3.4-gmem', '7.3@7.3.5-gmem'])
  })

  test('is also a shard in which no VM started, whichever it is', () => {
    const empty = part('c', { shard: '3/3', targets: [kernel([], { accel: 'unknown' })] })
    const merged = merge(empty, on('a', 'tcg', 'x', '1/3'), on('b', 'tcg', 'y', '2/3'))

    expect(ids(merged)).toEqual(['7.3'])
    expect(merged.targets[0]).toMatchObject({ accel: 'tcg', passed: 2 })
  })

  test('is not what might be of two, and failed before its VM started', () => {
    expect(ids(merge(on('a', 'kvm', 'x'), on('b', 'tcg', 'x'), on('c', 'unknown', 'y')))).toEqual([
      '7.3@kvm',
      '7.3@tcg',
      '7.3@unknown',
    ])
  })

  test('comes in the order in which the results are given, whether its VM started or not', () => {
    const debug = exampleTarget('7.3-debug', [])

    expect(ids(merge(part('a', { targets: [{ ...debug, accel: 'unknown' }] }), on('b', 'tcg', 'x')))).toEqual(
      ['7.3-debug', '7.3'],
    )
  })

  test('may be of two builds: that is said', () => {
    const notes = (key: string): string[] => mergeNotes(matchTargets([part('a'), part('b', { key })]))

    expect(notes('k')).toEqual([])
    expect(notes('l')).toEqual(['7.3: a and b may be different builds: their keys differ'])
  })
})

describe('a test that two runs have', () => {
  const withTest = (given: string, fields: Parameters<typeof tested>[2]): MergePart =>
    part(given, { targets: [kernel([tested('x', 'twice', fields), tested('x', `only ${given}`)])] })

  test('is there once where they agree', () => {
    expect(names(merge(withTest('a', failed), withTest('b', failed)))).toEqual([
      ['twice', 'only a', 'only b'],
    ])
  })

  test.each([
    ['status', skipped, 'failed (assertion) in a, skipped in b'],
    [
      'kind of failure',
      { ...failed, failure: 'splat' as const },
      'failed (assertion) in a, failed (splat) in b',
    ],
  ])('is an error where its %s differs', (_what, other, message) => {
    expect(() => merge(withTest('a', failed), withTest('b', other))).toThrow(
      `"twice" of tests/kernel/x.test.ts on 7.3 (7.3.4-gmem, tcg): ${message}`,
    )
  })

  test('may be there twice in one of them', () => {
    const twins = [tested('x', 'same name'), tested('x', 'same name', failed)]

    expect(merge(part('a', { targets: [kernel(twins)] }), part('b')).targets[0]?.tests).toEqual(twins)
  })
})

describe('the seed', () => {
  const seeded = (given: string, seed: number, id = '7.3'): MergePart =>
    part(given, { run: { seed }, targets: [exampleTarget(id, [])] })

  test('is that of all', () => {
    expect(merge(seeded('a', 7), seeded('b', 7, 'host')).seed).toBe(7)
  })

  test('is kept for each target where kernels have different ones', () => {
    const merged = merge(seeded('a', 7), seeded('b', 8, 'host'))

    expect([merged.seed, ...merged.targets.map(({ seed }) => seed)]).toEqual([7, undefined, 8])
    expect(merge(part('again', { run: merged, targets: merged.targets })).targets[1]?.seed).toBe(8)
  })

  test('is an error where the parts of one target have different ones', () => {
    expect(() => merge(seeded('a', 7), seeded('b', 8))).toThrow(
      'a and b ran 7.3 (7.3.4-gmem, tcg) with different seeds: 7 and 8',
    )
  })
})

describe('the exit code is that of one whole run', () => {
  const shardOf = (shard: string, tests: readonly ReturnType<typeof tested>[], request = {}): MergePart =>
    part(shard, { shard, targets: [kernel(tests)], request })

  test.each<[string, number, readonly ReturnType<typeof tested>[], readonly ReturnType<typeof tested>[]]>([
    ['passed, and nothing to do', 0, [tested('a', 'x')], []],
    ['passed, and all skipped', 0, [tested('a', 'x')], [tested('b', 'y', skipped)]],
    ['all skipped, twice', 4, [tested('a', 'x', skipped)], [tested('b', 'y', skipped)]],
    ['all skipped, and failed', 1, [tested('a', 'x', skipped)], [tested('b', 'y', failed)]],
    ['nothing to do, twice: no test has the name', 2, [], []],
  ])('for a shard that %s', (_what, code, one, two) => {
    expect(merge(shardOf('1/2', one), shardOf('2/2', two)).exitCode).toBe(code)
  })

  test('where one skipped test is one too many', () => {
    const request = { failOnSkip: true }
    const skips = shardOf('2/2', [tested('b', 'y', skipped)], request)

    expect(merge(shardOf('1/2', [tested('a', 'x')], request), skips).exitCode).toBe(4)
  })

  test('where something went wrong outside of tests', () => {
    const errors = [{ kind: 'infrastructure' as const, error: { name: 'Error', message: 'no QEMU' } }]
    const broken = part('b', { shard: '2/2', run: { errors } })

    expect(merge(shardOf('1/2', [tested('a', 'x')]), broken)).toMatchObject({ exitCode: 69, errors })
  })
})
