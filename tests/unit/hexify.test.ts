// SPDX-License-Identifier: Apache-2.0
import { describe, expect, it } from 'vitest'
import { format, formatReason } from '../../src/kvm/format.js'
import { fillPattern, findPatternMismatch } from '../../src/kvm/pattern.js'
import { hexifyError, hexifyText, hexifyValue } from '../../src/testing/hexify.js'
import { traceLine } from '../../src/testing/trace.js'

describe('failed expectations', () => {
  it('show bigints in hexadecimal, in the message and on both sides of the diff', () => {
    let caught: unknown
    try {
      expect(0xaaaa_aaaa_aaaa_aaaan).toBe(0n)
    } catch (error) {
      caught = hexifyError(error)
    }

    expect(caught).toMatchObject({
      message: 'expected 0xaaaaaaaaaaaaaaaa to be 0x0 // Object.is equality',
      actual: '0xaaaaaaaaaaaaaaaa',
      expected: '0x0',
      stack: expect.stringContaining('expected 0xaaaaaaaaaaaaaaaa to be 0x0'),
    })
  })

  it('keep words and numbers that only look like bigints', () => {
    expect(hexifyText('page 3 of 10, v1.2n, x12n, -5n and 4096n')).toBe(
      'page 3 of 10, v1.2n, x12n, -0x5 and 0x1000',
    )
  })

  it('convert nested plain values and leave others alone', () => {
    const data = Uint8Array.of(1)

    expect(hexifyValue({ gpa: 16n, list: [1n, 'a'], data })).toEqual({
      gpa: '0x10',
      list: ['0x1', 'a'],
      data,
    })
  })
})

describe('values in messages', () => {
  it('are written as the kernel writes them', () => {
    expect(format({ gpa: 0x1000n, data: Uint8Array.of(0, 255), ok: true })).toBe(
      '{ gpa: 0x1000, data: <00 ff>, ok: true }',
    )
    expect(formatReason({ reason: 'HLT' })).toBe('HLT')
  })

  it('do not flood a message with bytes', () => {
    expect(format(new Uint8Array(4096))).toMatch(/^<(00 ){15}00 … 4096 bytes>$/)
  })
})

describe('the trace of native calls', () => {
  const entry = { seq: 7, atMs: 12.34, object: 'vm#1', call: 'createGuestMemfd', args: [0x1001n, 0n] }

  it('has one line a call: with its result, its errno, or that it did not come back', () => {
    expect(traceLine({ ...entry, result: { object: 'guestMemfd#2' } })).toBe(
      '#7 +12.3ms vm#1.createGuestMemfd(0x1001, 0x0) = guestMemfd#2',
    )
    expect(traceLine({ ...entry, error: { name: 'KernelError', code: 'EINVAL', message: 'x' } })).toMatch(
      /failed: EINVAL$/,
    )
    expect(traceLine(entry)).toMatch(/did not come back$/)
  })
})

describe('the pattern', () => {
  it('stores in each qword its own address xor the seed', () => {
    const words = new BigUint64Array(fillPattern(16, 0xffff_fff8n, 0x1_0000_0001n).buffer)

    expect([...words]).toEqual([0x1_ffff_fff9n, 0x1n])
  })

  it('finds the first wrong qword', () => {
    const data = fillPattern(32, 0x1000n, 5n)
    data[17] = 0xee

    expect(findPatternMismatch(fillPattern(32, 0x1000n, 5n), 0x1000n, 5n)).toBeNull()
    expect(findPatternMismatch(data, 0x1000n, 5n)).toEqual({
      gpa: 0x1010n,
      expected: 0x1015n,
      actual: 0xee15n,
    })
  })

  it('covers whole qwords only', () => {
    expect(() => fillPattern(12, 0n, 0n)).toThrow(TypeError)
  })
})
