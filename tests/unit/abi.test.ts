// SPDX-License-Identifier: Apache-2.0
import { describe, expect, it } from 'vitest'
import * as abi from '../../src/abi/index.js'

// Computed with the compiler from the headers of Linux 7.3.4, not by our own _IOC.
const REQUESTS = [
  ['KVM_CREATE_VM', abi.KVM_CREATE_VM, 0xae01],
  ['KVM_GET_DIRTY_LOG', abi.KVM_GET_DIRTY_LOG, 0x4010ae42],
  ['KVM_SET_USER_MEMORY_REGION', abi.KVM_SET_USER_MEMORY_REGION, 0x4020ae46],
  ['KVM_SET_USER_MEMORY_REGION2', abi.KVM_SET_USER_MEMORY_REGION2, 0x40a0ae49],
  ['KVM_ENABLE_CAP', abi.KVM_ENABLE_CAP, 0x4068aea3],
  ['KVM_SET_MEMORY_ATTRIBUTES', abi.KVM_SET_MEMORY_ATTRIBUTES, 0x4020aed2],
  ['KVM_CREATE_GUEST_MEMFD', abi.KVM_CREATE_GUEST_MEMFD, 0xc040aed4],
  ['KVM_PRE_FAULT_MEMORY', abi.KVM_PRE_FAULT_MEMORY, 0xc040aed5],
  ['KVM_RUN', abi.KVM_RUN, 0xae80],
  ['KVM_GET_REGS', abi.KVM_GET_REGS, 0x8090ae81],
  ['KVM_SET_SREGS', abi.KVM_SET_SREGS, 0x4138ae84],
  ['KVM_SET_MEMORY_ATTRIBUTES2', abi.KVM_SET_MEMORY_ATTRIBUTES2, 0xc080aed2],
  ['KVM_GMEM_CONVERT_SHARED', abi.KVM_GMEM_CONVERT_SHARED, 0xc040af41],
  ['KVM_GMEM_CONVERT_PRIVATE', abi.KVM_GMEM_CONVERT_PRIVATE, 0xc040af42],
] as const

describe('ioctl request numbers', () => {
  it.each(REQUESTS)('%s is what the kernel headers give', (_, ours, kernels) => {
    expect(ours).toBe(kernels)
  })

  it.each([
    ['KVM_SET_USER_MEMORY_REGION', abi.KVM_SET_USER_MEMORY_REGION, abi.kvm_userspace_memory_region],
    ['KVM_SET_USER_MEMORY_REGION2', abi.KVM_SET_USER_MEMORY_REGION2, abi.kvm_userspace_memory_region2],
    ['KVM_SET_MEMORY_ATTRIBUTES', abi.KVM_SET_MEMORY_ATTRIBUTES, abi.kvm_memory_attributes],
    ['KVM_SET_MEMORY_ATTRIBUTES2', abi.KVM_SET_MEMORY_ATTRIBUTES2, abi.kvm_memory_attributes2],
    ['KVM_GMEM_CONVERT_SHARED', abi.KVM_GMEM_CONVERT_SHARED, abi.kvm_gmem_convert],
    ['KVM_GMEM_CONVERT_PRIVATE', abi.KVM_GMEM_CONVERT_PRIVATE, abi.kvm_gmem_convert],
    ['KVM_CREATE_GUEST_MEMFD', abi.KVM_CREATE_GUEST_MEMFD, abi.kvm_create_guest_memfd],
    ['KVM_PRE_FAULT_MEMORY', abi.KVM_PRE_FAULT_MEMORY, abi.kvm_pre_fault_memory],
    ['KVM_ENABLE_CAP', abi.KVM_ENABLE_CAP, abi.kvm_enable_cap],
    ['KVM_GET_DIRTY_LOG', abi.KVM_GET_DIRTY_LOG, abi.kvm_dirty_log],
    ['KVM_CLEAR_DIRTY_LOG', abi.KVM_CLEAR_DIRTY_LOG, abi.kvm_clear_dirty_log],
    ['KVM_GET_REGS', abi.KVM_GET_REGS, abi.kvm_regs],
    ['KVM_GET_SREGS', abi.KVM_GET_SREGS, abi.kvm_sregs],
  ] as const)('%s has the size of its struct', (_, request, { size }) => {
    expect((request >>> 16) & 0x3fff).toBe(size)
  })
})

describe('structs', () => {
  it('put fields at their offsets, little-endian, and leave the rest zero', () => {
    const encoded = abi.kvm_userspace_memory_region2.encode({
      slot: 0x0102,
      guest_memfd: 0xffff_fffe,
      pad2: [0n, 5n],
    })

    const expected = new Uint8Array(160)
    expected.set([0x02, 0x01], 0)
    expected.set([0xfe, 0xff, 0xff, 0xff], 40)
    expected[56] = 5
    expect(encoded).toEqual(expected)
  })

  it('decode what they encoded', () => {
    const values = { address: 0x1000n, size: 2n ** 64n - 1n, attributes: 8n, flags: 1n }

    expect(abi.kvm_memory_attributes.decode(abi.kvm_memory_attributes.encode(values))).toEqual(values)
  })

  it('take the largest value of a field and refuse one more', () => {
    expect(abi.kvm_dirty_log.decode(abi.kvm_dirty_log.encode({ slot: 0xffff_ffff })).slot).toBe(0xffff_ffff)
    expect(() => abi.kvm_dirty_log.encode({ slot: 0x1_0000_0000 })).toThrow(RangeError)
    expect(() => abi.kvm_dirty_log.encode({ dirty_bitmap: -1n })).toThrow(RangeError)
    expect(() => abi.kvm_create_guest_memfd.encode({ reserved: [0n, 0n, 0n, 0n, 0n, 0n, 0n] })).toThrow(
      RangeError,
    )
  })

  it('refuse to decode too few bytes', () => {
    expect(() => abi.kvm_regs.decode(new Uint8Array(143))).toThrow(RangeError)
  })

  it('have fields that do not overlap', () => {
    const { fields, size } = abi.kvm_sregs
    const taken = Object.values(fields).flatMap((field) =>
      Array.from({ length: field.size }, (_, at) => field.offset + at),
    )

    expect(new Set(taken).size).toBe(taken.length)
    expect(taken.length).toBe(size)
  })
})

describe('capabilities', () => {
  it('have numbers of their own', () => {
    const numbers = Object.values(abi.KVM_CAP)

    expect(new Set(numbers).size).toBe(numbers.length)
  })

  it('are named in messages as the kernel names them', () => {
    expect(abi.capabilityLabel('GUEST_MEMFD')).toBe('KVM_CAP_GUEST_MEMFD')
    expect(abi.capabilityNumber('GUEST_MEMFD')).toBe(234)
    expect(abi.capabilityLabel(300)).toBe('KVM_CAP 300')
  })
})
