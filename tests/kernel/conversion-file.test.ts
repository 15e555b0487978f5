// SPDX-License-Identifier: Apache-2.0
import { bytes, describe, expect, gpa, gpaAdd, pages, test } from 'gmem/testing'
import { BASE, convertibleMemory, fillOfPages, privateMemory } from './support/conversion.js'

const needs = privateMemory

describe('private memory at an offset in the guest_memfd', () => {
  test('is the part of the file that the memslot names', { needs }, async ({ kvm }) => {
    using vm = kvm.createVm({ type: 'SW_PROTECTED' })
    const file = vm.createGuestMemfd({ size: pages(8) })
    const memory = vm.addMemory({ gpa: BASE, size: pages(2), guestMemfd: file, offset: pages(3) })
    using vcpu = vm.createVcpu()
    vm.setPrivate(memory)
    await vcpu.fill(memory, 0xbb)

    file.punchHole({ offset: pages(0), size: pages(4) })

    // Page 3 of the file is the first page of the memslot; had the offset been lost, both would be gone.
    await expect(vcpu).toSeeFilledWith(0, memory.range(pages(0), pages(1)))
    await expect(vcpu).toSeeFilledWith(0xbb, memory.range(pages(1), pages(1)))
  })

  test('is reached by a hole from the start of the file, where the gfn is lower than the file’s page', {
    needs,
  }, async ({ kvm }) => {
    using vm = kvm.createVm({ type: 'SW_PROTECTED' })
    const file = vm.createGuestMemfd({ size: pages(8) })
    // gfn 1 has page 3 of the file: the hole's gfns counted from page 0 would be negative.
    const memory = vm.addMemory({ gpa: gpa(0x1000), size: pages(3), guestMemfd: file, offset: pages(3) })
    using vcpu = vm.createVcpu()
    vm.setPrivate(memory)
    await vcpu.fill(memory, 0xbb)

    file.punchHole({ offset: pages(0), size: pages(5) })

    await expect(vcpu).toSeeFilledWith(0, memory.range(pages(0), pages(2)))
    await expect(vcpu).toSeeFilledWith(0xbb, memory.range(pages(2), pages(1)))
  })

  test('moves with the memslot to another gpa', { needs }, async ({ kvm }) => {
    using vm = kvm.createVm({ type: 'SW_PROTECTED' })
    const file = vm.createGuestMemfd({ size: pages(4) })
    const whole = vm.addMemory({ gpa: BASE, size: pages(4), guestMemfd: file })
    using vcpu = vm.createVcpu()
    vm.setPrivate({ gpa: BASE, size: pages(16) })
    await vcpu.fillPattern(whole, 0x5ec2e7n)
    whole.remove()

    const upper = vm.addMemory({
      gpa: gpaAdd(BASE, pages(10)),
      size: pages(2),
      guestMemfd: file,
      offset: pages(2),
    })

    // A pattern is gpa ^ seed, and what was written at page 2 is read at page 10.
    expect(await vcpu.read64(upper.gpa)).toBe(gpaAdd(BASE, pages(2)) ^ 0x5ec2e7n)
    expect(await vcpu.read64(upper.gpaOf(bytes(0x1ff8)))).toBe(gpaAdd(BASE, bytes(0x3ff8)) ^ 0x5ec2e7n)
  })
})

describe('two memslots on one guest_memfd', () => {
  test('have private bytes of their own', { needs }, async ({ kvm }) => {
    using vm = kvm.createVm({ type: 'SW_PROTECTED' })
    const file = vm.createGuestMemfd({ size: pages(4) })
    // Crossed: the lower gpa has the upper half of the file.
    const lower = vm.addMemory({ gpa: BASE, size: pages(2), guestMemfd: file, offset: pages(2) })
    const upper = vm.addMemory({ gpa: lower.gpaOf(pages(2)), size: pages(2), guestMemfd: file })
    using vcpu = vm.createVcpu()
    vm.setPrivate({ gpa: BASE, size: pages(4) })

    await vcpu.fill(lower, 0xbb)
    await vcpu.fill(upper, 0xcc)

    await expect(vcpu).toSeeFilledWith(0xbb, lower)
    await expect(vcpu).toSeeFilledWith(0xcc, upper)
  })

  test('lose just the pages of a hole that spans both and the gap between', { needs }, async ({ kvm }) => {
    using vm = kvm.createVm({ type: 'SW_PROTECTED' })
    const file = vm.createGuestMemfd({ size: pages(7) })
    const first = vm.addMemory({ gpa: BASE, size: pages(3), guestMemfd: file })
    const second = vm.addMemory({
      gpa: gpaAdd(BASE, pages(8)),
      size: pages(3),
      guestMemfd: file,
      offset: pages(4),
    })
    using vcpu = vm.createVcpu()
    vm.setPrivate({ gpa: BASE, size: pages(16) })
    await vcpu.fill(first, 0xbb)
    await vcpu.fill(second, 0xbb)

    file.punchHole({ offset: pages(2), size: pages(3) })

    await expect(vcpu).toSeeFilledWith(0xbb, first.range(pages(0), pages(2)))
    await expect(vcpu).toSeeFilledWith(0, first.range(pages(2), pages(1)))
    await expect(vcpu).toSeeFilledWith(0, second.range(pages(0), pages(1)))
    await expect(vcpu).toSeeFilledWith(0xbb, second.range(pages(1), pages(2)))
  })

  test('convert each for itself', { needs }, async ({ kvm }) => {
    using vm = kvm.createVm({ type: 'SW_PROTECTED' })
    const file = vm.createGuestMemfd({ size: pages(2) })
    const first = vm.addMemory({ gpa: BASE, size: pages(1), guestMemfd: file })
    const second = vm.addMemory({
      gpa: gpaAdd(BASE, pages(1)),
      size: pages(1),
      guestMemfd: file,
      offset: pages(1),
    })
    first.shared.fill(0xaa)
    second.shared.fill(0xaa)
    using vcpu = vm.createVcpu()

    vm.setPrivate(second)
    await vcpu.fill({ gpa: BASE, size: pages(2) }, 0xbb)

    expect(first).toBeFilledWith(0xbb)
    expect(second).toBeFilledWith(0xaa)
  })
})

describe('fallocate() and conversion', () => {
  test('pages allocated before they are made private read zero', { needs }, async ({ kvm }) => {
    using vm = kvm.createVm({ type: 'SW_PROTECTED' })
    const memory = convertibleMemory(vm, 2, 0xaa)
    using vcpu = vm.createVcpu()

    memory.allocate()
    vm.setPrivate(memory)

    await expect(vcpu).toSeeFilledWith(0, memory)
    expect(memory).toBeFilledWith(0xaa)
  })

  test('allocating private pages that have bytes keeps them', { needs }, async ({ kvm }) => {
    using vm = kvm.createVm({ type: 'SW_PROTECTED' })
    const memory = convertibleMemory(vm, 3, 0xaa)
    using vcpu = vm.createVcpu()
    vm.setPrivate(memory)
    await vcpu.fill(memory.range(pages(1), pages(1)), 0xbb)

    memory.allocate()

    await expect(vcpu).toSeeFilledWith(0, memory.range(pages(0), pages(1)))
    await expect(vcpu).toSeeFilledWith(0xbb, memory.range(pages(1), pages(1)))
    await expect(vcpu).toSeeFilledWith(0, memory.range(pages(2), pages(1)))
  })

  test('a hole in private memory reads zero at once, and its neighbours stay', { needs }, async ({ kvm }) => {
    using vm = kvm.createVm({ type: 'SW_PROTECTED' })
    const memory = convertibleMemory(vm, 4, 0xaa)
    using vcpu = vm.createVcpu()
    vm.setPrivate(memory)
    await vcpu.fill(memory, 0xbb)

    memory.punchHole(memory.range(pages(1), pages(2)))

    await expect(vcpu).toSeeFilledWith(0xbb, memory.range(pages(0), pages(1)))
    await expect(vcpu).toSeeFilledWith(0, memory.range(pages(1), pages(2)))
    await expect(vcpu).toSeeFilledWith(0xbb, memory.range(pages(3), pages(1)))
    expect(memory).toBeFilledWith(0xaa)
  })

  test('a hole does not make a page shared', { needs }, async ({ kvm }) => {
    using vm = kvm.createVm({ type: 'SW_PROTECTED' })
    const memory = convertibleMemory(vm, 2, 0xaa)
    using vcpu = vm.createVcpu()
    vm.setPrivate(memory)

    memory.punchHole()
    await vcpu.fill(memory, 0xbb)

    expect(memory).toBeFilledWith(0xaa)
    await expect(vcpu).toSeeFilledWith(0xbb, memory)
  })

  test('releasing the private half after a conversion leaves shared bytes alone', { needs }, async ({
    kvm,
  }) => {
    using vm = kvm.createVm({ type: 'SW_PROTECTED' })
    const memory = convertibleMemory(vm, 4, 0xaa)
    using vcpu = vm.createVcpu()
    vm.setPrivate(memory.range(pages(1), pages(2)))
    await vcpu.fill(memory, 0xbb)

    vm.setShared(memory)
    memory.punchHole()

    expect(fillOfPages(memory.shared)).toEqual([0xbb, 0xaa, 0xaa, 0xbb])
    await expect(vcpu).toSeeFilledWith(0xaa, memory.range(pages(1), pages(2)))
  })
})
