// SPDX-License-Identifier: Apache-2.0
import { describe, expect, it } from 'vitest'
import { bytes, gib, gpa, gpaAdd, hex, kib, mib, pages } from '../../src/units.js'

describe('units', () => {
  it('count in bytes', () => {
    expect([bytes(7), kib(1), mib(2), gib(1), pages(3)]).toEqual([
      7n,
      1024n,
      2_097_152n,
      1_073_741_824n,
      12_288n,
    ])
  })

  it('take the largest u64 and refuse one more', () => {
    expect(bytes(2n ** 64n - 1n)).toBe(0xffff_ffff_ffff_ffffn)
    expect(() => bytes(2n ** 64n)).toThrow(TypeError)
  })

  it('refuse a product that leaves 64 bits', () => {
    expect(pages(2n ** 52n - 1n)).toBe(0xffff_ffff_ffff_f000n)
    expect(() => pages(2n ** 52n)).toThrow(TypeError)
    expect(() => gib(2n ** 34n)).toThrow(TypeError)
  })

  it('refuse negative and fractional numbers', () => {
    expect(() => bytes(-1)).toThrow(TypeError)
    expect(() => pages(0.5)).toThrow(TypeError)
    expect(() => gpa(2 ** 53)).toThrow(TypeError)
  })

  it('add to a gpa up to the top and not around it', () => {
    expect(gpaAdd(gpa(0xffff_ffff_ffff_f000n), bytes(0xfff))).toBe(0xffff_ffff_ffff_ffffn)
    expect(() => gpaAdd(gpa(0xffff_ffff_ffff_f000n), pages(1))).toThrow(TypeError)
  })

  it('print as the kernel does', () => {
    expect([hex(0), hex(0x1000_3000n), hex(-11n)]).toEqual(['0x0', '0x10003000', '-0xb'])
  })
})
