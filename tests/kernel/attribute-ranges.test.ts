// SPDX-License-Identifier: Apache-2.0
import { bytes, describe, expect, gpa, gpaAdd, pages, test } from 'gmem/testing'
import { BASE, convertibleMemory, privateMemory } from './support/conversion.js'

describe('the range that KVM_SET_MEMORY_ATTRIBUTES names', () => {
  test('is converted from its first page to its last, and no neighbour', { needs: privateMemory }, async ({
    kvm,
  }) => {
    using vm = kvm.createVm({ type: 'SW_PROTECTED' })
    const memory = convertibleMemory(vm, 5, 0xaa)
    using vcpu = vm.createVcpu()

    vm.setPrivate(memory.range(pages(1), pages(3)))

    await expect(vcpu).toSeeFilledWith(0xaa, memory.range(pages(0), pages(1)))
    await expect(vcpu).toSeeFilledWith(0, memory.range(pages(1), pages(3)))
    await expect(vcpu).toSeeFilledWith(0xaa, memory.range(pages(4), pages(1)))
  })

  test('may be extended over a part that is private already, which keeps its bytes', {
    needs: privateMemory,
  }, async ({ kvm }) => {
    using vm = kvm.createVm({ type: 'SW_PROTECTED' })
    const memory = convertibleMemory(vm, 6, 0xaa)
    using vcpu = vm.createVcpu()
    vm.setPrivate(memory.range(pages(1), pages(2)))
    await vcpu.fill(memory.range(pages(1), pages(2)), 0xbb)

    vm.setPrivate(memory.range(pages(2), pages(3)))

    await expect(vcpu).toSeeFilledWith(0xbb, memory.range(pages(1), pages(2)))
    await expect(vcpu).toSeeFilledWith(0, memory.range(pages(3), pages(2)))
    await expect(vcpu).toSeeFilledWith(0xaa, memory.range(pages(5), pages(1)))
  })

  test('may be the middle of a private range, whose ends stay private', { needs: privateMemory }, async ({
    kvm,
  }) => {
    using vm = kvm.createVm({ type: 'SW_PROTECTED' })
    const memory = convertibleMemory(vm, 3, 0xaa)
    using vcpu = vm.createVcpu()
    vm.setPrivate(memory)
    await vcpu.fill(memory, 0xbb)

    vm.setShared(memory.range(pages(1), pages(1)))

    await expect(vcpu).toSeeFilledWith(0xbb, memory.range(pages(0), pages(1)))
    await expect(vcpu).toSeeFilledWith(0xaa, memory.range(pages(1), pages(1)))
    await expect(vcpu).toSeeFilledWith(0xbb, memory.range(pages(2), pages(1)))
  })

  test('may cross the nodes of the attribute tree', { needs: privateMemory }, async ({ kvm }) => {
    using vm = kvm.createVm({ type: 'SW_PROTECTED' })
    // 64 gfns share a node of the xarray, and BASE is the first gfn of one: 62 to 129 lie in three nodes.
    const memory = convertibleMemory(vm, 132, 0xaa)
    using vcpu = vm.createVcpu()

    vm.setPrivate(memory.range(pages(62), pages(68)))

    await expect(vcpu).toSeeFilledWith(0xaa, memory.range(pages(0), pages(62)))
    await expect(vcpu).toSeeFilledWith(0, memory.range(pages(62), pages(68)))
    await expect(vcpu).toSeeFilledWith(0xaa, memory.range(pages(130), pages(2)))
  })

  test('may span two memslots, the gap between them and the space after them', {
    needs: privateMemory,
  }, async ({ kvm }) => {
    using vm = kvm.createVm({ type: 'SW_PROTECTED' })
    const first = convertibleMemory(vm, 2, 0xaa)
    const gap = gpaAdd(BASE, pages(2))
    const second = vm.addMemory({ gpa: gpaAdd(BASE, pages(3)), size: pages(2), guestMemfd: {} })
    second.shared.fill(0xcc)
    using vcpu = vm.createVcpu()

    vm.setPrivate({ gpa: gpaAdd(BASE, pages(1)), size: pages(9) })

    await expect(vcpu).toSeeFilledWith(0xaa, first.range(pages(0), pages(1)))
    await expect(vcpu).toSeeFilledWith(0, first.range(pages(1), pages(1)))
    await expect(vcpu).toSeeFilledWith(0, second)
    expect(await vcpu.attempt.read64(gap)).toBeMemoryFault({ gpa: gap, private: true })
  })

  test('may end the privacy of two memslots and of the gap between them at once', {
    needs: privateMemory,
  }, async ({ kvm }) => {
    using vm = kvm.createVm({ type: 'SW_PROTECTED' })
    const first = convertibleMemory(vm, 2, 0xaa)
    const gap = gpaAdd(BASE, pages(2))
    const second = vm.addMemory({ gpa: gpaAdd(BASE, pages(3)), size: pages(2), guestMemfd: {} })
    second.shared.fill(0xcc)
    using vcpu = vm.createVcpu()
    vm.setPrivate({ gpa: BASE, size: pages(5) })
    await vcpu.fill(first, 0xbb)
    await vcpu.fill(second, 0xbb)

    vm.setShared({ gpa: BASE, size: pages(5) })

    await expect(vcpu).toSeeFilledWith(0xaa, first)
    await expect(vcpu).toSeeFilledWith(0xcc, second)
    expect(await vcpu.attempt.read64(gap)).toBeExit({ reason: 'MMIO', gpa: gap })
  })

  test('may lie above every address that a guest can have', { needs: privateMemory }, async ({ kvm }) => {
    using vm = kvm.createVm({ type: 'SW_PROTECTED' })
    const memory = convertibleMemory(vm, 1, 0xaa)
    using vcpu = vm.createVcpu()

    // x86 physical addresses have at most 52 bits; the kernel asks for no more than alignment and no wrap.
    vm.setPrivate({ gpa: gpa(1n << 52n), size: pages(1) })
    vm.setPrivate({ gpa: gpa(1n << 60n), size: pages(16) })

    await expect(vcpu).toSeeFilledWith(0xaa, memory)
  })

  test('may be all of the address space but its last page', { needs: privateMemory }, async ({ kvm }) => {
    using vm = kvm.createVm({ type: 'SW_PROTECTED' })
    const memory = convertibleMemory(vm, 1, 0xaa)
    using vcpu = vm.createVcpu()

    // Nothing is private, so there is nothing to change: this is the one request of that size that ends soon.
    vm.setShared({ gpa: gpa(0), size: bytes((1n << 64n) - pages(1)) })

    await expect(vcpu).toSeeFilledWith(0xaa, memory)
  })
})

describe('attributes', () => {
  test('set again as they are leave the guest its mappings and bytes', { needs: privateMemory }, async ({
    kvm,
  }) => {
    using vm = kvm.createVm({ type: 'SW_PROTECTED' })
    const memory = convertibleMemory(vm, 2, 0xaa)
    using vcpu = vm.createVcpu()
    const toPrivate = memory.range(pages(0), pages(1))
    vm.setPrivate(toPrivate)
    await vcpu.fill(toPrivate, 0xbb)
    await vcpu.verify(memory.range(pages(1), pages(1)), 0xaa)
    const faultsBefore = vcpu.stat('pf_taken')

    vm.setPrivate(toPrivate)
    vm.setShared(memory.range(pages(1), pages(1)))

    await expect(vcpu).toSeeFilledWith(0xbb, toPrivate)
    await expect(vcpu).toSeeFilledWith(0xaa, memory.range(pages(1), pages(1)))
    expect(vcpu.stat('pf_taken')).toBe(faultsBefore)
  })

  test('may be set before the memslot exists', { needs: privateMemory }, async ({ kvm }) => {
    using vm = kvm.createVm({ type: 'SW_PROTECTED' })
    vm.setPrivate({ gpa: gpaAdd(BASE, pages(1)), size: pages(1) })

    const memory = convertibleMemory(vm, 3, 0xaa)

    using vcpu = vm.createVcpu()
    await expect(vcpu).toSeeFilledWith(0xaa, memory.range(pages(0), pages(1)))
    await expect(vcpu).toSeeFilledWith(0, memory.range(pages(1), pages(1)))
    await expect(vcpu).toSeeFilledWith(0xaa, memory.range(pages(2), pages(1)))
  })

  test('outlive the memslot', { needs: privateMemory }, async ({ kvm }) => {
    using vm = kvm.createVm({ type: 'SW_PROTECTED' })
    const memory = convertibleMemory(vm, 2, 0xaa)
    using vcpu = vm.createVcpu()
    vm.setPrivate(memory.range(pages(1), pages(1)))
    await vcpu.fill(memory, 0xbb)

    memory.remove()
    vm.addMemory({
      gpa: BASE,
      size: memory.size,
      guestMemfd: memory.guestMemfd,
      userspace: memory.shared,
    })

    await expect(vcpu).toSeeFilledWith(0xbb, memory)
    expect(memory).toBeFilledWith(0xbb, memory.range(pages(0), pages(1)))
    expect(memory).toBeFilledWith(0xaa, memory.range(pages(1), pages(1)))
  })

  test('belong to the gfn, not to the memslot that was there', { needs: privateMemory }, async ({ kvm }) => {
    using vm = kvm.createVm({ type: 'SW_PROTECTED' })
    const memory = convertibleMemory(vm, 1, 0xaa)
    const elsewhere = gpaAdd(BASE, pages(8))
    using vcpu = vm.createVcpu()
    vm.setPrivate(memory)
    await vcpu.fill(memory, 0xbb)
    memory.remove()

    const moved = vm.addMemory({
      gpa: elsewhere,
      size: memory.size,
      guestMemfd: memory.guestMemfd,
      userspace: memory.shared,
    })

    await expect(vcpu).toSeeFilledWith(0xaa, moved)
    vm.setPrivate(moved)
    await expect(vcpu).toSeeFilledWith(0xbb, moved)
    expect(await vcpu.attempt.read64(BASE)).toBeMemoryFault({ gpa: BASE, private: true })
  })

  test('of one VM do not reach another', { needs: privateMemory }, async ({ kvm }) => {
    using vm = kvm.createVm({ type: 'SW_PROTECTED' })
    using other = kvm.createVm({ type: 'SW_PROTECTED' })
    convertibleMemory(vm, 1)
    const untouched = convertibleMemory(other, 1, 0xaa)
    using vcpu = other.createVcpu()

    vm.setPrivate({ gpa: BASE, size: pages(1) })

    await expect(vcpu).toSeeFilledWith(0xaa, untouched)
  })
})
