// SPDX-License-Identifier: Apache-2.0
import type { Memory, Vm } from 'gmem/kvm'
import { bytes, cases, describe, expect, mib, pages, test, thp } from 'gmem/testing'
import {
  alternating,
  BASE,
  convertibleMemory,
  everySecondPage,
  fillOfPages,
  privateMemory,
} from './support/conversion.js'

const needs = privateMemory
const PAGES_IN_2M = 512

/** Guest memory whose shared half is made of huge pages, each byte of it 0xaa. */
function hugeMemory(vm: Vm, size: bigint): Memory {
  const memory = vm.addMemory({ gpa: BASE, size: bytes(size), guestMemfd: {}, backing: 'thp' })
  memory.shared.fill(0xaa)
  return memory
}

describe('a conversion of', () => {
  cases(
    [
      { what: '2 MiB', size: mib(2), tail: pages(1) },
      { what: '2 MiB and one page', size: bytes(mib(2) + pages(1)), tail: pages(1) },
      { what: '2 MiB that start within a huge page', size: mib(2), offset: pages(1), tail: pages(1) },
    ],
    ({ what }) => `${what} to private and back keeps both copies, and the neighbours`,
    { needs },
    async ({ kvm }, { size, offset = pages(0), tail }) => {
      using vm = kvm.createVm({ type: 'SW_PROTECTED' })
      const memory = convertibleMemory(vm, 2 + PAGES_IN_2M + 2, 0xaa)
      const range = memory.range(offset, size)
      const after = memory.range(bytes(offset + size), tail)
      using vcpu = vm.createVcpu()

      vm.setPrivate(range)
      await expect(vcpu).toSeeFilledWith(0, range)
      await vcpu.fill(range, 0xbb)
      await vcpu.fill(after, 0xcc)
      vm.setShared(range)

      await expect(vcpu).toSeeFilledWith(0xaa, range)
      expect(memory).toBeFilledWith(0xaa, range)
      expect(memory).toBeFilledWith(0xcc, after)
      vm.setPrivate(range)
      await expect(vcpu).toSeeFilledWith(0xaa, memory.range(pages(0), offset))
      await expect(vcpu).toSeeFilledWith(0xbb, range)
      await expect(vcpu).toSeeFilledWith(0xcc, after)
    },
  )

  test('every odd page of 2 MiB sends the guest’s writes to two copies', { needs }, async ({ kvm }) => {
    using vm = kvm.createVm({ type: 'SW_PROTECTED' })
    const memory = convertibleMemory(vm, PAGES_IN_2M, 0xaa)
    using vcpu = vm.createVcpu()
    everySecondPage(memory, 'odd').map((page) => vm.setPrivate(page))

    await vcpu.fill(memory, 0xbb)

    await expect(vcpu).toSeeFilledWith(0xbb, memory)
    expect(fillOfPages(memory.shared)).toEqual(alternating(PAGES_IN_2M, { even: 0xbb, odd: 0xaa }))
  })

  test('every odd page of private 2 MiB back to shared leaves the even ones private', { needs }, async ({
    kvm,
  }) => {
    using vm = kvm.createVm({ type: 'SW_PROTECTED' })
    const memory = convertibleMemory(vm, PAGES_IN_2M, 0xaa)
    const copy = vm.addMemory({ gpa: memory.gpaOf(mib(4)), size: mib(2) })
    using vcpu = vm.createVcpu()
    vm.setPrivate(memory)
    await vcpu.fill(memory, 0xbb)

    everySecondPage(memory, 'odd').map((page) => vm.setShared(page))

    await vcpu.copy({ from: memory.gpa, to: copy.gpa, size: memory.size })
    expect(fillOfPages(copy.shared)).toEqual(alternating(PAGES_IN_2M, { even: 0xbb, odd: 0xaa }))
    expect(memory).toBeFilledWith(0xaa)
  })
})

describe('a shared huge page', () => {
  const hugeNeeds = [...needs, thp]

  test('is mapped as one of 2 MiB while all of it is shared', { needs: hugeNeeds }, async ({ kvm }) => {
    using vm = kvm.createVm({ type: 'SW_PROTECTED' })
    const memory = hugeMemory(vm, mib(2))
    using vcpu = vm.createVcpu()

    await vcpu.read64(memory.gpa)

    expect(vm.stat('pages_2m')).toBe(1n)
  })

  test('is mapped in pages of 4 KiB once one of them is private', { needs: hugeNeeds }, async ({ kvm }) => {
    using vm = kvm.createVm({ type: 'SW_PROTECTED' })
    const memory = hugeMemory(vm, mib(2))
    using vcpu = vm.createVcpu()
    await vcpu.read64(memory.gpa)
    const smallBefore = vm.stat('pages_4k')

    vm.setPrivate(memory.range(pages(7), pages(1)))
    await vcpu.read64(memory.gpa)
    await vcpu.write64(memory.gpaOf(pages(7)), 0x5ec2e7n)

    expect(vm.stat('pages_2m')).toBe(0n)
    expect(vm.stat('pages_4k')).toBeGreaterThanOrEqual(smallBefore + 2n)
    expect(memory).toBeFilledWith(0xaa)
  })

  test('is mapped as one again when its private page is made shared', { needs: hugeNeeds }, async ({
    kvm,
  }) => {
    using vm = kvm.createVm({ type: 'SW_PROTECTED' })
    const memory = hugeMemory(vm, mib(2))
    using vcpu = vm.createVcpu()
    vm.setPrivate(memory.range(pages(7), pages(1)))
    await vcpu.read64(memory.gpa)
    const whileMixed = vm.stat('pages_2m')

    vm.setShared(memory.range(pages(7), pages(1)))
    await vcpu.read64(memory.gpaOf(pages(7)))

    expect(whileMixed).toBe(0n)
    expect(vm.stat('pages_2m')).toBe(1n)
    await expect(vcpu).toSeeFilledWith(0xaa, memory.range(pages(6), pages(3)))
  })

  test('never covers the private ends of a range that straddles two others', { needs: hugeNeeds }, async ({
    kvm,
  }) => {
    using vm = kvm.createVm({ type: 'SW_PROTECTED' })
    const memory = hugeMemory(vm, mib(6))
    const beforeSecond = bytes(mib(2) - pages(1))
    using vcpu = vm.createVcpu()

    // The last page of the first huge page, all of the second, the first page of the third.
    vm.setPrivate(memory.range(beforeSecond, bytes(mib(2) + pages(2))))
    await vcpu.read64(memory.gpa)
    await vcpu.read64(memory.gpaOf(bytes(mib(6) - pages(1))))
    await vcpu.write64(memory.gpaOf(beforeSecond), 0x5ec2e7n)
    await vcpu.write64(memory.gpaOf(mib(4)), 0x5ec2e7n)

    expect(vm.stat('pages_2m')).toBe(0n)
    expect(memory).toBeFilledWith(0xaa)
  })

  test('is not mapped as one over a page that was private before the memslot', { needs: hugeNeeds }, async ({
    kvm,
  }) => {
    using vm = kvm.createVm({ type: 'SW_PROTECTED' })
    vm.setPrivate({ gpa: BASE, size: pages(1) })
    const memory = hugeMemory(vm, mib(4))
    using vcpu = vm.createVcpu()

    await vcpu.read64(memory.gpaOf(pages(1)))
    await vcpu.read64(memory.gpaOf(mib(2)))

    // The first huge page is mixed, the second is not.
    expect(vm.stat('pages_2m')).toBe(1n)
    expect(await vcpu.read64(memory.gpa)).toBe(0n)
  })

  test('that is private as a whole is mapped in pages of 4 KiB', { needs: hugeNeeds }, async ({ kvm }) => {
    using vm = kvm.createVm({ type: 'SW_PROTECTED' })
    const memory = hugeMemory(vm, mib(2))
    using vcpu = vm.createVcpu()
    await vcpu.read64(memory.gpa)

    vm.setPrivate(memory)
    await vcpu.fill(memory.range(pages(0), pages(4)), 0xbb)

    // A guest_memfd has no large folios in any release up to 7.3.
    expect(vm.stat('pages_2m')).toBe(0n)
    expect(memory).toBeFilledWith(0xaa)
  })
})
