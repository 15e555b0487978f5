// SPDX-License-Identifier: Apache-2.0
import {
  io,
  KVM_MEMORY_ATTRIBUTE_PRIVATE,
  KVM_SET_MEMORY_ATTRIBUTES,
  KVM_SET_MEMORY_ATTRIBUTES2,
  KVMIO,
  kvm_memory_attributes2,
  PROT_READ,
} from 'gmem/abi'
import type { GuestMemfd, Kvm, Mapping } from 'gmem/kvm'
import { bytes, cases, describe, expect, pages, test } from 'gmem/testing'
import { inPlace, SHARED_FILE, sharingOf } from './support/inplace.js'
import { splicePage } from './support/pins.js'
import { pageBeforeHole } from './support/system-calls.js'

// The errors of KVM_SET_MEMORY_ATTRIBUTES2 in the order in which the kernel looks for them: facts/inplace-conversion-abi.md, section 2.
const needs = inPlace

const PAGES = 4
const SIZE = pages(PAGES)
const PRIVATE = KVM_MEMORY_ATTRIBUTE_PRIVATE
/** A good request: all of a file of PAGES pages becomes private. */
const GOOD = { offset: 0n, size: SIZE, attributes: PRIVATE }
/** What error_offset holds before a call: no offset of a page. */
const MARK = 0x0123_4567_89ab_cdefn
const U64_MAX = 2n ** 64n - 1n

const U64_BITS = Array.from({ length: 64 }, (_, bit) => 1n << BigInt(bit))
const RESERVED = Array.from({ length: 11 }, (_, index) => [...Array(index).fill(0n), 1n] as bigint[])

const malformed = [
  { row: 7, what: 'size 0', request: { size: 0n } },
  { row: 7, what: 'size 0 in the middle', request: { offset: pages(1), size: 0n } },
  { row: 7, what: 'a range that wraps', request: { offset: pages(1), size: U64_MAX - pages(1) + 1n } },
  {
    row: 7,
    what: 'a range that wraps beyond 0',
    request: { offset: 0xffff_ffff_ffff_f000n, size: pages(2) },
  },
  { row: 8, what: 'an offset inside of a page', request: { offset: 1n, size: pages(1) } },
  { row: 8, what: 'the last byte of a page as offset', request: { offset: 4095n, size: pages(1) } },
  { row: 8, what: 'size 1', request: { size: 1n } },
  { row: 8, what: 'a size of a page and a half', request: { size: 6144n } },
  { row: 9, what: 'the end of the file as offset', request: { offset: SIZE, size: pages(1) } },
  { row: 9, what: 'an offset far beyond the end', request: { offset: 1n << 62n, size: pages(1) } },
  { row: 9, what: 'an offset with bit 63', request: { offset: 1n << 63n, size: pages(1) } },
  { row: 9, what: 'a size of one page too much', request: { size: SIZE + pages(1) } },
  { row: 9, what: 'an end of one page too much', request: { offset: pages(3), size: pages(2) } },
  { row: 9, what: 'a size with bit 63', request: { size: 1n << 63n } },
] as const

function sharedFile(kvm: Kvm): { readonly file: GuestMemfd; readonly mapping: Mapping } {
  const vm = kvm.createVm({ type: 'SW_PROTECTED' })
  const file = vm.createGuestMemfd({ size: SIZE, flags: SHARED_FILE })
  return { file, mapping: file.mmap() }
}

/** Memory at a page's start that holds a request; its protection is the caller's. */
function requestIn(memory: Mapping, at: bigint): bigint {
  memory.write(bytes(at), kvm_memory_attributes2.encode({ ...GOOD, error_offset: MARK }))
  return memory.hva + at
}

describe('an ioctl on a guest_memfd (row 1)', () => {
  test('that is none of its own fails with ENOTTY', { needs }, ({ kvm }) => {
    const { file, mapping } = sharedFile(kvm)

    expect(() => file.ioctl(KVM_SET_MEMORY_ATTRIBUTES, new Uint8Array(32))).toFailWith('ENOTTY')
    expect(() => file.ioctl(io(KVMIO, 0xd2), new Uint8Array(128))).toFailWith('ENOTTY')
    expect(() => file.ioctl(io(KVMIO, 0xff), 0n)).toFailWith('ENOTTY')
    expect(sharingOf(mapping)).toBe('SSSS')
  })

  test('that converts fails with ENOTTY on a VM', { needs }, ({ kvm }) => {
    using vm = kvm.createVm({ type: 'SW_PROTECTED' })
    const argument = kvm_memory_attributes2.encode({ ...GOOD, error_offset: MARK })

    expect(() => vm.ioctl(KVM_SET_MEMORY_ATTRIBUTES2, argument)).toFailWith('ENOTTY')
    expect(kvm_memory_attributes2.decode(argument).error_offset).toBe(MARK)
  })
})

describe('an argument of KVM_SET_MEMORY_ATTRIBUTES2 (row 2)', () => {
  test('that cannot be read is EFAULT, and ends where the struct ends', { needs }, (context) => {
    const { file, mapping } = sharedFile(context.kvm)
    const memory = pageBeforeHole(context)
    const last = pages(1) - BigInt(kvm_memory_attributes2.size)
    const fitting = requestIn(memory, last)

    expect(() => file.ioctl(KVM_SET_MEMORY_ATTRIBUTES2, null)).toFailWith('EFAULT')
    expect(() => file.ioctl(KVM_SET_MEMORY_ATTRIBUTES2, fitting + 1n)).toFailWith('EFAULT')
    expect(() => file.ioctl(KVM_SET_MEMORY_ATTRIBUTES2, memory.hva + pages(1))).toFailWith('EFAULT')
    expect(sharingOf(mapping)).toBe('SSSS')
    file.ioctl(KVM_SET_MEMORY_ATTRIBUTES2, fitting)
    expect(sharingOf(mapping)).toBe('PPPP')
  })
})

describe('KVM_SET_MEMORY_ATTRIBUTES2 refuses with EINVAL, changes nothing and writes no offset', () => {
  test('each flag (row 3)', { needs }, ({ kvm }) => {
    const { file, mapping } = sharedFile(kvm)

    const results = U64_BITS.map((flags) => file.attemptAttributes({ ...GOOD, flags, error_offset: MARK }))

    expect(new Set(results.map(({ code }) => code))).toEqual(new Set(['EINVAL']))
    expect(new Set(results.map(({ struct }) => struct.error_offset))).toEqual(new Set([MARK]))
    expect(sharingOf(mapping)).toBe('SSSS')
  })

  test('each reserved field that is not 0 (row 4)', { needs }, ({ kvm }) => {
    const { file, mapping } = sharedFile(kvm)

    const results = RESERVED.map((reserved) =>
      file.attemptAttributes({ ...GOOD, reserved, error_offset: MARK }),
    )

    expect(results.map(({ code }) => code)).toEqual(Array(11).fill('EINVAL'))
    expect(new Set(results.map(({ struct }) => struct.error_offset))).toEqual(new Set([MARK]))
    expect(sharingOf(mapping)).toBe('SSSS')
  })

  test('files of a VM without private memory, in both directions (row 5)', { needs }, ({ kvm }) => {
    using vm = kvm.createVm({ type: 'DEFAULT' })
    using file = vm.createGuestMemfd({ size: SIZE, flags: SHARED_FILE })
    const mapping = file.mmap()

    const toPrivate = file.attemptAttributes({ ...GOOD, error_offset: MARK })
    const toShared = file.attemptAttributes({ ...GOOD, attributes: 0n, error_offset: MARK })

    expect([toPrivate.code, toShared.code]).toEqual(['EINVAL', 'EINVAL'])
    expect([toPrivate.struct.error_offset, toShared.struct.error_offset]).toEqual([MARK, MARK])
    expect(sharingOf(mapping)).toBe('SSSS')
  })

  test('each attribute but PRIVATE, alone and beside it (row 6)', { needs }, ({ kvm }) => {
    const { file, mapping } = sharedFile(kvm)
    const others = U64_BITS.filter((bit) => bit !== PRIVATE)

    const results = others.flatMap((bit) => [
      file.attemptAttributes({ ...GOOD, attributes: bit, error_offset: MARK }),
      file.attemptAttributes({ ...GOOD, attributes: bit | PRIVATE, error_offset: MARK }),
    ])

    expect(new Set(results.map(({ code }) => code))).toEqual(new Set(['EINVAL']))
    expect(new Set(results.map(({ struct }) => struct.error_offset))).toEqual(new Set([MARK]))
    expect(sharingOf(mapping)).toBe('SSSS')
  })

  cases(
    malformed,
    ({ row, what }) => `${what} (row ${row})`,
    { needs },
    ({ kvm }, { request }) => {
      const { file, mapping } = sharedFile(kvm)

      const { code, struct } = file.attemptAttributes({ ...GOOD, ...request, error_offset: MARK })

      expect({ code, errorOffset: struct.error_offset }).toEqual({ code: 'EINVAL', errorOffset: MARK })
      expect(sharingOf(mapping)).toBe('SSSS')
    },
  )

  cases(
    malformed,
    ({ row, what }) => `${what}, also where it already is as asked (row ${row} before row 10)`,
    { needs },
    ({ kvm }, { request }) => {
      const { file } = sharedFile(kvm)

      const { code } = file.attemptAttributes({ ...GOOD, ...request, attributes: 0n })

      expect(code).toBe('EINVAL')
    },
  )
})

describe('KVM_SET_MEMORY_ATTRIBUTES2 accepts', () => {
  test('the neighbours of what it refuses: the first, the last and all pages (rows 7 to 9)', { needs }, ({
    kvm,
  }) => {
    const { file, mapping } = sharedFile(kvm)
    const states = [
      { offset: 0n, size: pages(1) },
      { offset: pages(3), size: pages(1) },
      { offset: 0n, size: SIZE },
    ].map((range) => {
      file.setAttributes({ ...range, attributes: PRIVATE })
      return sharingOf(mapping)
    })

    expect(states).toEqual(['PSSS', 'PSSP', 'PPPP'])
  })

  test('any error_offset, and writes nothing where it succeeds', { needs }, ({ kvm }) => {
    const { file, mapping } = sharedFile(kvm)

    const converted = file.attemptAttributes({ ...GOOD, error_offset: U64_MAX })
    const unchanged = file.attemptAttributes({ ...GOOD, error_offset: MARK })

    const written = { flags: 0n, reserved: Array(11).fill(0n) }
    expect(converted).toEqual({ code: '', struct: { ...GOOD, ...written, error_offset: U64_MAX } })
    expect(unchanged).toEqual({ code: '', struct: { ...GOOD, ...written, error_offset: MARK } })
    expect(sharingOf(mapping)).toBe('PPPP')
  })

  test('a struct that it cannot write to, where it succeeds', { needs }, (context) => {
    const { file, mapping } = sharedFile(context.kvm)
    const memory = pageBeforeHole(context)
    const argument = requestIn(memory, 0n)
    memory.mprotect(PROT_READ, { offset: pages(0), size: pages(1) })

    file.ioctl(KVM_SET_MEMORY_ATTRIBUTES2, argument)

    expect(sharingOf(mapping)).toBe('PPPP')
  })

  test('what already is as asked, with a page in use (row 10 before row 12)', { needs }, (context) => {
    const { file, mapping } = sharedFile(context.kvm)
    mapping.fill(0xaa)
    file.convert({ offset: pages(0), size: pages(1) }, 'private')
    splicePage(context, mapping, pages(1))

    const shared = file.attemptAttributes({ ...GOOD, offset: pages(1), size: pages(3), attributes: 0n })
    const isPrivate = file.attemptAttributes({ ...GOOD, size: pages(1) })

    expect([shared.code, isPrivate.code]).toEqual(['', ''])
    expect(sharingOf(mapping)).toBe('PSSS')
  })
})

describe('KVM_SET_MEMORY_ATTRIBUTES2 with a page in use', () => {
  test('fails with EINVAL where the request is malformed as well (rows 3 to 9 before row 12)', {
    needs,
  }, (context) => {
    const { file, mapping } = sharedFile(context.kvm)
    mapping.fill(0xaa)
    splicePage(context, mapping, pages(0))

    const codes = [
      { flags: 1n },
      { reserved: [1n] },
      { attributes: 9n },
      ...malformed.map((row) => row.request),
    ].map((wrong) => file.attemptAttributes({ ...GOOD, ...wrong, error_offset: MARK }))

    expect(new Set(codes.map(({ code }) => code))).toEqual(new Set(['EINVAL']))
    expect(new Set(codes.map(({ struct }) => struct.error_offset))).toEqual(new Set([MARK]))
    expect(mapping).toBeFilledWith(0xaa)
  })

  test('fails with EFAULT where it cannot write the offset, and has changed nothing (row 13)', {
    needs,
  }, (context) => {
    const { file, mapping } = sharedFile(context.kvm)
    mapping.fill(0xaa)
    splicePage(context, mapping, pages(2))
    const memory = pageBeforeHole(context)
    const argument = requestIn(memory, 0n)
    memory.mprotect(PROT_READ, { offset: pages(0), size: pages(1) })

    expect(() => file.ioctl(KVM_SET_MEMORY_ATTRIBUTES2, argument)).toFailWith('EFAULT')

    expect(memory.read64(bytes(32))).toBe(MARK)
    expect(mapping).toBeFilledWith(0xaa)
  })

  test('writes the offset and nothing else of the struct (row 12)', { needs }, (context) => {
    const { file, mapping } = sharedFile(context.kvm)
    mapping.fill(0xaa)
    splicePage(context, mapping, pages(2))

    const result = file.attemptAttributes({ ...GOOD, error_offset: MARK })

    const struct = { ...GOOD, flags: 0n, error_offset: pages(2), reserved: Array(11).fill(0n) }
    expect(result).toEqual({ code: 'EAGAIN', struct })
    expect(mapping).toBeFilledWith(0xaa)
  })
})
