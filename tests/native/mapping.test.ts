// SPDX-License-Identifier: Apache-2.0
import { readFileSync } from 'node:fs'
import { afterEach, expect, test } from 'vitest'
import type { NativeMapping } from '../../src/binding/addon.js'
import { addon, anonymous, MAP_ANON, PAGE, PROT_NONE, PROT_RW, Scope } from './support.js'

const scope = new Scope()
afterEach(() => scope.close())

test('read returns what write stored, at any alignment', () => {
  const mapping = anonymous(scope, 2n * PAGE)
  const data = Uint8Array.from({ length: 37 }, (_, index) => index + 1)

  mapping.write(4093n, data)

  expect(mapping.read(4093n, 37)).toEqual(data)
  expect(mapping.read(4092n, 1)).toEqual(Uint8Array.of(0))
  expect(mapping.read(4130n, 1)).toEqual(Uint8Array.of(0))
})

test('fill covers exactly the range', () => {
  const mapping = anonymous(scope, PAGE)

  mapping.fill(3n, 21n, 0xaa)

  expect(mapping.findMismatch(3n, 21n, 0xaa)).toBeNull()
  expect(mapping.read(2n, 1)).toEqual(Uint8Array.of(0))
  expect(mapping.read(24n, 1)).toEqual(Uint8Array.of(0))
})

test.each([0n, 1n, 7n, 8n, 15n, 16n, 22n])('findMismatch finds the one wrong byte, at %i of 23', (at) => {
  const mapping = anonymous(scope, PAGE)
  mapping.fill(5n, 23n, 0xaa)
  mapping.write(5n + at, Uint8Array.of(0xab))

  expect(mapping.findMismatch(5n, 23n, 0xaa)).toEqual({ offset: 5n + at, actual: 0xab })
})

test.each([1, 2, 4, 8])('probes of %i bytes store and load as little endian, and nothing beside', (width) => {
  const mapping = anonymous(scope, PAGE)
  const value = 0x1122_3344_5566_7788n & ((1n << BigInt(8 * width)) - 1n)

  expect(mapping.probeWrite(1n, width, value).ok).toBe(true)

  expect(mapping.probeRead(1n, width)).toEqual({ ok: true, value })
  expect(mapping.findMismatch(BigInt(1 + width), 64n, 0)).toBeNull()
})

test.each([
  ['read', (mapping: NativeMapping) => mapping.read(PAGE - 1n, 2)],
  ['write', (mapping: NativeMapping) => mapping.write(PAGE, Uint8Array.of(1))],
  ['fill', (mapping: NativeMapping) => mapping.fill(2n ** 64n - 1n, 2n, 0)],
  ['findMismatch', (mapping: NativeMapping) => mapping.findMismatch(1n, PAGE, 0)],
  ['probeRead', (mapping: NativeMapping) => mapping.probeRead(PAGE - 7n, 8)],
  ['probeWrite', (mapping: NativeMapping) => mapping.probeWrite(PAGE, 1, 0n)],
  ['forkProbe', (mapping: NativeMapping) => mapping.forkProbe(PAGE, 1, null)],
  ['mprotect', (mapping: NativeMapping) => mapping.mprotect(0n, 2n * PAGE, PROT_NONE)],
  ['munmap', (mapping: NativeMapping) => mapping.munmap(0n, 2n * PAGE)],
])('%s outside the mapping is a RangeError', (_, call) => {
  expect(() => call(anonymous(scope, PAGE))).toThrow(RangeError)
})

test('the last byte is inside', () => {
  const mapping = anonymous(scope, PAGE)

  expect(mapping.read(PAGE - 1n, 1)).toEqual(Uint8Array.of(0))
  expect(mapping.read(PAGE, 0)).toEqual(new Uint8Array(0))
})

test.each([0x20_0000n, 0x4000_0000n])('an alignment of %i is kept, and only the mapping stays', (align) => {
  const mapsBefore = mapCount()

  const mapping = scope.use(addon.mmap(3n * PAGE, PROT_RW, MAP_ANON, -1, 0n, align))

  expect(mapping.address % align).toBe(0n)
  expect(mapping.length).toBe(3n * PAGE)
  mapping.fill(0n, 3n * PAGE, 1)
  expect(mapCount() - mapsBefore).toBeLessThanOrEqual(1)
})

function mapCount(): number {
  return readFileSync('/proc/self/maps', 'utf8').split('\n').length
}

test('mincore says which pages are there', () => {
  const mapping = anonymous(scope, 3n * PAGE)
  mapping.fill(PAGE, 1n, 1)

  expect(mapping.mincore(0n, 3n * PAGE).map((page) => page & 1)).toEqual(Uint8Array.of(0, 1, 0))
})

test('close does not unmap what has meanwhile been mapped into a hole', () => {
  const mapping = anonymous(scope, 3n * PAGE)
  const hole = mapping.address + PAGE
  mapping.munmap(PAGE, PAGE)
  const MAP_FIXED_NOREPLACE = 0x10_0000n
  const mmap = 9
  expect(addon.syscall(mmap, [hole, PAGE, 3n, 0x22n | MAP_FIXED_NOREPLACE, -1n, 0n])).toBe(hole)
  const mincore = 27

  expect(() => mapping.probeRead(PAGE, 8)).toThrow(/mapped something else/)
  expect(() => mapping.munmap(PAGE, PAGE)).toThrow(/mapped something else/)
  mapping.close()

  expect(addon.syscall(mincore, [hole, PAGE, new Uint8Array(1)])).toBe(0n)
  addon.syscall(11, [hole, PAGE])
})
