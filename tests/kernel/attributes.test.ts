// SPDX-License-Identifier: Apache-2.0
import {
  KVM_MEMORY_ATTRIBUTE_PRIVATE,
  KVM_SET_MEMORY_ATTRIBUTES,
  kvm_memory_attributes,
  PROT_NONE,
} from 'gmem/abi'
import { binding, Mapping } from 'gmem/kvm'
import { bytes, cap, cases, describe, expect, ioctl, not, pages, test } from 'gmem/testing'
import { BASE, convertibleMemory, errnoOf, privateMemory } from './support/conversion.js'

const PRIVATE = KVM_MEMORY_ATTRIBUTE_PRIVATE
const TOP_PAGE = (1n << 64n) - pages(1)
const ONE_PAGE = { gpa: BASE, size: pages(1), attributes: PRIVATE }

/** Every bit of kvm_memory_attributes.attributes that has no meaning: READ, WRITE and EXECUTE were never merged. */
const UNKNOWN_ATTRIBUTES = Array.from({ length: 64 }, (_, bit) => 1n << BigInt(bit)).filter(
  (bit) => bit !== PRIVATE,
)

describe('KVM_SET_MEMORY_ATTRIBUTES refuses', () => {
  // Each request would convert page 0, which is shared, or page 1, which is private, if the check that refuses it were not there.
  cases(
    [
      { what: 'flags 1', request: { ...ONE_PAGE, flags: 1n } },
      { what: 'the highest flag', request: { ...ONE_PAGE, flags: 1n << 63n } },
      { what: 'an unknown attribute beside PRIVATE', request: { ...ONE_PAGE, attributes: PRIVATE | 1n } },
      {
        what: 'an unknown attribute instead of PRIVATE',
        request: { ...ONE_PAGE, size: pages(2), attributes: 1n },
      },
      { what: 'size 0', request: { ...ONE_PAGE, size: 0n } },
      { what: 'a range that wraps to page 1', request: { ...ONE_PAGE, size: (1n << 64n) - BASE + pages(1) } },
      { what: 'a range that wraps to 0', request: { ...ONE_PAGE, size: (1n << 64n) - BASE } },
      { what: 'an address one byte into a page', request: { ...ONE_PAGE, gpa: BASE + 1n } },
      { what: 'an address one byte before a page', request: { ...ONE_PAGE, gpa: BASE - 1n } },
      { what: 'a size of one byte', request: { ...ONE_PAGE, size: 1n } },
      { what: 'a size one byte short of a page', request: { ...ONE_PAGE, size: 4095n } },
      { what: 'a size one byte over a page', request: { ...ONE_PAGE, size: 4097n } },
    ],
    ({ what }) => `${what} with EINVAL, and changes nothing`,
    { needs: privateMemory },
    async ({ kvm }, { request }) => {
      using vm = kvm.createVm({ type: 'SW_PROTECTED' })
      const memory = convertibleMemory(vm, 3, 0xaa)
      using vcpu = vm.createVcpu()
      vm.setPrivate(memory.range(pages(1), pages(1)))
      await vcpu.fill(memory.range(pages(1), pages(1)), 0xbb)

      expect(() => vm.setAttributes(request)).toFailWith('EINVAL', 'KVM_SET_MEMORY_ATTRIBUTES')

      await expect(vcpu).toSeeFilledWith(0xaa, memory.range(pages(0), pages(1)))
      await expect(vcpu).toSeeFilledWith(0xbb, memory.range(pages(1), pages(1)))
      await expect(vcpu).toSeeFilledWith(0xaa, memory.range(pages(2), pages(1)))
      expect(memory).toBeFilledWith(0xaa)
    },
  )

  test('each unknown attribute bit with EINVAL', { needs: privateMemory }, ({ kvm }) => {
    using vm = kvm.createVm({ type: 'SW_PROTECTED' })

    const set = (attributes: bigint) => vm.setAttributes({ ...ONE_PAGE, attributes })

    expect(UNKNOWN_ATTRIBUTES.filter((bit) => errnoOf(() => set(bit)) !== 'EINVAL')).toEqual([])
    expect(UNKNOWN_ATTRIBUTES.filter((bit) => errnoOf(() => set(bit | PRIVATE)) !== 'EINVAL')).toEqual([])
    expect(errnoOf(() => set(PRIVATE))).toBe('')
  })

  test('each flag bit with EINVAL', { needs: privateMemory }, ({ kvm }) => {
    using vm = kvm.createVm({ type: 'SW_PROTECTED' })
    const bits = Array.from({ length: 64 }, (_, bit) => 1n << BigInt(bit))

    const set = (flags: bigint) => vm.setAttributes({ ...ONE_PAGE, flags })

    expect(bits.filter((bit) => errnoOf(() => set(bit)) !== 'EINVAL')).toEqual([])
    expect(errnoOf(() => set(0n))).toBe('')
  })

  test('the top page of the address space, but not the page before it', { needs: privateMemory }, ({
    kvm,
  }) => {
    using vm = kvm.createVm({ type: 'SW_PROTECTED' })

    const set = (gpa: bigint, size: bigint) => () => vm.setAttributes({ gpa, size, attributes: PRIVATE })

    // address + size is 0 for the top page, which the kernel takes for a wrap: the page cannot be named.
    expect(set(TOP_PAGE, pages(1))).toFailWith('EINVAL')
    expect(set(TOP_PAGE - pages(1), pages(2))).toFailWith('EINVAL')
    expect(set(TOP_PAGE - pages(1), pages(1))()).toBeUndefined()
  })

  test('a pointer that cannot be read with EFAULT, and changes nothing', { needs: privateMemory }, async ({
    kvm,
  }) => {
    using vm = kvm.createVm({ type: 'SW_PROTECTED' })
    const memory = convertibleMemory(vm, 1, 0xaa)
    using vcpu = vm.createVcpu()
    using struct = Mapping.anonymous(pages(2))
    const toPrivate = kvm_memory_attributes.encode({ address: BASE, size: pages(1), attributes: PRIVATE })
    // Its last 8 bytes (flags) lie in a page that cannot be read.
    const straddling = bytes(pages(1) - BigInt(kvm_memory_attributes.size) + 8n)
    struct.write(straddling, toPrivate)
    struct.mprotect(PROT_NONE, { offset: pages(1), size: pages(1) })

    expect(() => vm.ioctl(KVM_SET_MEMORY_ATTRIBUTES, null)).toFailWith('EFAULT')
    expect(() => vm.ioctl(KVM_SET_MEMORY_ATTRIBUTES, struct.hvaOf(straddling))).toFailWith('EFAULT')

    await expect(vcpu).toSeeFilledWith(0xaa, memory)
    const before = bytes(straddling - 8n)
    struct.write(before, toPrivate)
    expect(vm.ioctl(KVM_SET_MEMORY_ATTRIBUTES, struct.hvaOf(before))).toBe(0)
    await expect(vcpu).toSeeFilledWith(0, memory)
  })

  test('a process that is not the VM’s own with EIO, and changes nothing', { needs: privateMemory }, async ({
    kvm,
  }) => {
    using vm = kvm.createVm({ type: 'SW_PROTECTED' })
    const memory = convertibleMemory(vm, 1, 0xaa)
    using vcpu = vm.createVcpu()
    const toPrivate = kvm_memory_attributes.encode({ address: BASE, size: pages(1), attributes: PRIVATE })

    const inChild = binding.addon.forkIoctl(vm.fd, KVM_SET_MEMORY_ATTRIBUTES, toPrivate)

    expect(inChild).toBe('EIO')
    await expect(vcpu).toSeeFilledWith(0xaa, memory)
  })
})

describe('a VM without private memory', () => {
  const needs = [ioctl('KVM_SET_MEMORY_ATTRIBUTES')]

  test('has no memory attributes, though the system has PRIVATE', { needs }, ({ kvm }) => {
    using vm = kvm.createVm()

    expect(vm.capability('MEMORY_ATTRIBUTES')).toBe(0)
    expect(kvm.capability('MEMORY_ATTRIBUTES')).toBe(Number(PRIVATE))
  })

  test('refuses PRIVATE with EINVAL and takes attributes 0', { needs }, ({ kvm }) => {
    using vm = kvm.createVm()
    const memory = vm.addMemory({ gpa: BASE, size: pages(2) })

    expect(() => vm.setPrivate(memory)).toFailWith('EINVAL', 'KVM_SET_MEMORY_ATTRIBUTES')
    expect(() => vm.setAttributes({ ...ONE_PAGE, attributes: PRIVATE, size: 0n })).toFailWith('EINVAL')
    expect(vm.setShared(memory)).toBeUndefined()
  })
})

test('a SW_PROTECTED VM has exactly the attribute that it accepts', { needs: privateMemory }, ({ kvm }) => {
  using vm = kvm.createVm({ type: 'SW_PROTECTED' })

  expect(vm.capability('MEMORY_ATTRIBUTES')).toBe(Number(PRIVATE))
})

describe('a kernel without memory attributes', () => {
  const needs = [not(ioctl('KVM_SET_MEMORY_ATTRIBUTES'))]

  test('has no such ioctl: ENOTTY, for a good request as for a bad one', { needs }, ({ kvm }) => {
    using vm = kvm.createVm()

    expect(() => vm.setAttributes({ ...ONE_PAGE, attributes: 0n })).toFailWith('ENOTTY')
    expect(() => vm.setAttributes({ ...ONE_PAGE, flags: 1n })).toFailWith('ENOTTY')
    expect(() => vm.ioctl(KVM_SET_MEMORY_ATTRIBUTES, null)).toFailWith('ENOTTY')
  })

  test('does not report the capability', { needs: [...needs, not(cap('MEMORY_ATTRIBUTES'))] }, ({ kvm }) => {
    using vm = kvm.createVm()

    expect(vm.capability('MEMORY_ATTRIBUTES')).toBe(0)
  })
})
