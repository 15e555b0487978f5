// SPDX-License-Identifier: Apache-2.0
/**
 * Branded 64-bit quantities. A `Bytes` and a `Gpa` are both bigints, and mixing them up is the classic way for a
 * memory test to assert something about the wrong page; the brand makes that a compile error.
 */

declare const brand: unique symbol

/** A size, length or file offset, in bytes. */
export type Bytes = bigint & { readonly [brand]: 'bytes' }

/** A guest physical address, in bytes. */
export type Gpa = bigint & { readonly [brand]: 'gpa' }

/** A host virtual address (hva), in bytes. */
export type Hva = bigint & { readonly [brand]: 'hva' }

/** x86-64 base page size, in bytes. */
export const PAGE_SIZE = 4096n

const U64_MAX = (1n << 64n) - 1n

function u64(value: bigint | number, what: string): bigint {
  if (typeof value === 'number' && !Number.isSafeInteger(value)) {
    throw new TypeError(`${what}: ${value} is not a safe integer; pass a bigint`)
  }
  const big = BigInt(value)
  if (big < 0n || big > U64_MAX) throw new TypeError(`${what}: ${big} does not fit an unsigned 64-bit field`)
  return big
}

/** `n` bytes. Throws TypeError when `n` is negative, fractional or wider than 64 bits. */
export function bytes(n: bigint | number): Bytes {
  return u64(n, 'bytes()') as Bytes
}

/** `n` KiB, in bytes. */
export function kib(n: bigint | number): Bytes {
  return u64(u64(n, 'kib()') << 10n, 'kib()') as Bytes
}

/** `n` MiB, in bytes. */
export function mib(n: bigint | number): Bytes {
  return u64(u64(n, 'mib()') << 20n, 'mib()') as Bytes
}

/** `n` GiB, in bytes. */
export function gib(n: bigint | number): Bytes {
  return u64(u64(n, 'gib()') << 30n, 'gib()') as Bytes
}

/** `n` pages of 4 KiB, in bytes. */
export function pages(n: bigint | number): Bytes {
  return u64(u64(n, 'pages()') * PAGE_SIZE, 'pages()') as Bytes
}

/** The guest physical address `address`. */
export function gpa(address: bigint | number): Gpa {
  return u64(address, 'gpa()') as Gpa
}

/** `base + offset`, as a gpa. Throws TypeError where it would wrap. */
export function gpaAdd(base: Gpa, offset: Bytes | bigint): Gpa {
  return u64(base + offset, 'gpaAdd()') as Gpa
}

/** Kernel-style hexadecimal: `0x10003000`. */
export function hex(value: bigint | number): string {
  const big = BigInt(value)
  return big < 0n ? `-0x${(-big).toString(16)}` : `0x${big.toString(16)}`
}
