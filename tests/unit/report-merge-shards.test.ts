// SPDX-License-Identifier: Apache-2.0
import { describe, expect, test } from 'vitest'
import { checkParts } from '../../src/report/merge-shards.js'
import { parseShard } from '../../src/report/shard.js'
import { exampleTarget } from './report-example.js'
import { kernel, type PartFields, part } from './report-merge-parts.js'

const shards = (...given: string[]) => given.map((shard) => part(`s${shard[0]}`, { shard }))

describe('a shard is written', () => {
  test.each([
    ['1/1', { index: 1, count: 1 }],
    ['2/3', { index: 2, count: 3 }],
    ['10/10', { index: 10, count: 10 }],
  ])('%s', (text, shard) => expect(parseShard(text)).toEqual(shard))

  test.each(['0/2', '3/2', '1/0', 'a/b', '1', '1/', '/2', '-1/2', '1/2/3', '1.0/2', ' 1/2', '01/2', ''])(
    'not %j',
    (text) => expect(parseShard(text)).toBeNull(),
  )
})

describe('what makes whole runs', () => {
  test('is all shards, in any order', () => {
    expect(() => checkParts(shards('3/3', '1/3', '2/3'))).not.toThrow()
  })

  test('is runs that were not divided', () => {
    expect(() => checkParts([part('a'), part('b')])).not.toThrow()
  })

  test('is several divided runs beside one that is not: kernels, and one kernel on two accelerators', () => {
    const on = (accel: 'kvm' | 'tcg') => ({ targets: [kernel([], { accel })] })
    const debug = { targets: [exampleTarget('7.3-debug', [])] }

    expect(() =>
      checkParts([
        part('a', { shard: '1/2', ...on('kvm') }),
        part('b', { shard: '1/2', ...on('tcg') }),
        part('c', { shard: '2/2', ...on('tcg') }),
        part('d', { shard: '2/2', targets: [kernel([], { accel: 'unknown' })] }),
        part('e', { shard: '2/3', ...debug }),
        part('f', { shard: '1/3', ...debug }),
        part('g', { shard: '3/3', ...debug }),
        part('h', { targets: [exampleTarget('host', [])] }),
      ]),
    ).not.toThrow()
  })

  test.each([
    ['a shard is missing', ['1/3', '3/3'], 'shard 2/3 of 7.3 (7.3.4-gmem, tcg) is missing'],
    ['several are', ['2/4', '4/4'], 'shards 1/4, 3/4 of 7.3 (7.3.4-gmem, tcg) are missing'],
    ['one is of another division', ['1/2', '2/3'], 's1 is shard 1/2 and s2 shard 2/3 of 7.3'],
  ])('is not where %s', (_what, given, message) => {
    expect(() => checkParts(shards(...given))).toThrow(message)
  })

  test('is not where a shard is there twice, or the same folder', () => {
    const [one, two] = [part('a', { shard: '1/2' }), part('b', { shard: '1/2' })]

    expect(() => checkParts([one, two])).toThrow('shard 1/2 of 7.3 (7.3.4-gmem, tcg) is there twice: a and b')
    expect(() => checkParts([one, { ...one, given: './a' }])).toThrow('a and ./a are the same result')
  })

  test('is not where the shards ran on different accelerators: the answer says which is which', () => {
    const [one, two] = [
      part('a', { shard: '1/2', targets: [kernel([], { accel: 'kvm' })] }),
      part('b', { shard: '2/2' }),
    ]

    expect(() => checkParts([one, two])).toThrow(
      expect.objectContaining({
        message: 'shard 2/2 of 7.3 (7.3.4-gmem, kvm) is missing',
        hint: 'Given: a is 1/2 of 7.3 (7.3.4-gmem, kvm); b is 2/2 of 7.3 (7.3.4-gmem, tcg).',
        exitCode: 2,
      }),
    )
  })

  test.each<[string, PartFields, string]>([
    ['filters', { request: { filters: ['x'] } }, 'filters is [] and ["x"]'],
    ['a name pattern', { request: { namePattern: 'x' } }, 'namePattern is not given and "x"'],
    ['what splats do', { request: { splats: 'off' } }, 'splats is not given and "off"'],
  ])('is not where shards differ in %s', (_what, fields, message) => {
    expect(() => checkParts([part('a', { shard: '1/2' }), part('b', { shard: '2/2', ...fields })])).toThrow(
      `a and b are shards of different runs: ${message}`,
    )
  })

  test('is not of two versions of gmem; changes that are not committed are not told apart', () => {
    const at = (commit: string | null) => part(`at ${commit}`, { commit })

    expect(() => checkParts([at('aaaa'), at('bbbb')])).toThrow(
      'at aaaa and at bbbb are of different versions of gmem: aaaa and bbbb',
    )
    expect(() => checkParts([at('aaaa'), at('aaaa-dirty'), at(null)])).not.toThrow()
  })
})
