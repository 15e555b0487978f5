// SPDX-License-Identifier: Apache-2.0
import type { Mismatch } from './outcome.js'

const U32_MASK = 0xffff_ffffn
const U32_RANGE = 0x1_0000_0000

/**
 * A pattern in which no two qwords are alike: each holds its own address xor a seed, so that data found in the wrong place says where
 * it belongs. Halves are handled as u32 because bigints are slow, and slower on an emulated CPU.
 */
export function fillPattern(length: number, base: bigint, seed: bigint): Uint8Array {
  if (length % 8 !== 0) throw new TypeError(`a pattern covers whole qwords, not ${length} bytes`)
  const words = new Uint32Array(length / 4)
  const seedLow = Number(seed & U32_MASK)
  const seedHigh = Number((seed >> 32n) & U32_MASK)
  let low = Number(base & U32_MASK)
  let high = Number((base >> 32n) & U32_MASK)
  for (let index = 0; index < words.length; index += 2) {
    words[index] = low ^ seedLow
    words[index + 1] = high ^ seedHigh
    low += 8
    if (low >= U32_RANGE) {
      low -= U32_RANGE
      high += 1
    }
  }
  return new Uint8Array(words.buffer)
}

/** The first qword that differs from the pattern; null where none does. */
export function findPatternMismatch(data: Uint8Array, base: bigint, seed: bigint): Mismatch | null {
  const expected = fillPattern(data.length, base, seed)
  if (Buffer.compare(data, expected) === 0) return null
  const index = data.findIndex((byte, at) => byte !== expected[at])
  const offset = index - (index % 8)
  return { gpa: base + BigInt(offset), expected: qword(expected, offset), actual: qword(data, offset) }
}

function qword(data: Uint8Array, offset: number): bigint {
  return new DataView(data.buffer, data.byteOffset, data.byteLength).getBigUint64(offset, true)
}
