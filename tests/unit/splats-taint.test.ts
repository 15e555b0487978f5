// SPDX-License-Identifier: Apache-2.0
import { describe, expect, test } from 'vitest'
import { decodeTaint, newTrouble, TAINT_FLAGS, taintSplat } from '../../src/splats/taint.js'

const letters = (value: bigint) => decodeTaint(value).map((flag) => flag.letter)

describe('taint', () => {
  test('has the letters of kernel/panic.c, bit by bit', () => {
    expect(TAINT_FLAGS.map((flag) => flag.letter).join('')).toBe('PFSRMBUDAWCIOELKXTNJ')
    expect(TAINT_FLAGS.map((flag) => flag.bit)).toEqual(Array.from({ length: 20 }, (_, bit) => bit))
  })

  test.each([
    [0n, []],
    [1n, ['P']],
    [512n, ['W']],
    [4096n, ['O']],
    [4736n, ['D', 'W', 'O']],
    [1n << 40n, ['?']],
  ])('%d is %j', (value, expected) => {
    expect(letters(value)).toEqual(expected)
  })

  test('is trouble where a warning, oops, bad page, soft lockup or machine check rises', () => {
    expect(newTrouble(0n, (1n << 20n) - 1n).map((flag) => flag.letter)).toEqual(['M', 'B', 'D', 'W', 'L'])
  })

  test('that was there before is not new', () => {
    expect(newTrouble(512n, 512n)).toEqual([])
    expect(newTrouble(512n, 512n | 128n).map((flag) => flag.letter)).toEqual(['D'])
  })

  test('by loading a module is no trouble', () => {
    expect(newTrouble(0n, 4096n | 8192n | (1n << 18n))).toEqual([])
  })

  test('without a report is a finding of its own', () => {
    expect(taintSplat(newTrouble(0n, 640n), 7)).toMatchObject({
      kind: 'taint',
      title: 'the kernel became tainted: D (oops or BUG), W (warning)',
      fingerprint: 'taint:DW',
      firstSeq: 7,
    })
  })
})
