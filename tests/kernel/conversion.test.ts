// SPDX-License-Identifier: Apache-2.0
import { describe, expect, pages, test } from 'gmem/testing'
import {
  alternating,
  BASE,
  convertibleMemory,
  everySecondPage,
  fillOfPages,
  privateMemory,
  soilFreePages,
} from './support/conversion.js'

const needs = privateMemory

describe('a page made private', () => {
  test('reads zero at its first touch, whatever the host wrote', { needs }, async ({ kvm }) => {
    using vm = kvm.createVm({ type: 'SW_PROTECTED' })
    const memory = convertibleMemory(vm, 16, 0xaa)
    using vcpu = vm.createVcpu()
    await vcpu.verify(memory, 0xaa)
    soilFreePages()

    vm.setPrivate(memory)

    await expect(vcpu).toSeeFilledWith(0, memory)
    expect(memory).toBeFilledWith(0xaa)
  })

  test('takes the guest’s writes, of which the host sees none', { needs }, async ({ kvm }) => {
    using vm = kvm.createVm({ type: 'SW_PROTECTED' })
    const memory = convertibleMemory(vm, 3, 0xaa)
    using vcpu = vm.createVcpu()
    vm.setPrivate(memory.range(pages(1), pages(1)))

    await vcpu.fillPattern(memory.range(pages(1), pages(1)), 0x5ec2e7n)

    await expect(vcpu).toSeePattern(0x5ec2e7n, memory.range(pages(1), pages(1)))
    expect(memory).toBeFilledWith(0xaa)
  })

  test('sees nothing of what the host writes meanwhile', { needs }, async ({ kvm }) => {
    using vm = kvm.createVm({ type: 'SW_PROTECTED' })
    const memory = convertibleMemory(vm, 2, 0xaa)
    using vcpu = vm.createVcpu()
    vm.setPrivate(memory.range(pages(0), pages(1)))
    await vcpu.fill(memory, 0xbb)

    memory.shared.fill(0xcc)

    await expect(vcpu).toSeeFilledWith(0xbb, memory.range(pages(0), pages(1)))
    await expect(vcpu).toSeeFilledWith(0xcc, memory.range(pages(1), pages(1)))
  })

  test('takes atomic operations', { needs }, async ({ kvm }) => {
    using vm = kvm.createVm({ type: 'SW_PROTECTED' })
    const memory = convertibleMemory(vm, 1, 0xaa)
    using vcpu = vm.createVcpu()
    vm.setPrivate(memory)

    expect(await vcpu.fetchAdd64(BASE, 5n)).toBe(0n)
    expect(await vcpu.compareExchange64(BASE, { expected: 5n, desired: 7n })).toEqual({
      old: 5n,
      swapped: true,
    })

    expect(await vcpu.read64(BASE)).toBe(7n)
    expect(memory).toBeFilledWith(0xaa)
  })

  test('can be copied to a shared one by the guest, and back', { needs }, async ({ kvm }) => {
    using vm = kvm.createVm({ type: 'SW_PROTECTED' })
    const memory = convertibleMemory(vm, 3, 0xaa)
    using vcpu = vm.createVcpu()
    const [first, second, third] = [pages(0), pages(1), pages(2)]
    vm.setPrivate(memory.range(first, pages(1)))
    vm.setPrivate(memory.range(third, pages(1)))
    await vcpu.fill(memory.range(first, pages(1)), 0xbb)

    await vcpu.copy({ from: memory.gpaOf(first), to: memory.gpaOf(second), size: pages(1) })
    await vcpu.copy({ from: memory.gpaOf(second), to: memory.gpaOf(third), size: pages(1) })

    expect(fillOfPages(memory.shared)).toEqual([0xaa, 0xbb, 0xaa])
    await expect(vcpu).toSeeFilledWith(0xbb, memory)
  })
})

describe('a page made shared again', () => {
  test('shows the guest the host’s bytes, as they are now', { needs }, async ({ kvm }) => {
    using vm = kvm.createVm({ type: 'SW_PROTECTED' })
    const memory = convertibleMemory(vm, 2, 0xaa)
    using vcpu = vm.createVcpu()
    vm.setPrivate(memory)
    await vcpu.fill(memory, 0xbb)
    memory.shared.fill(0xcc, memory.range(pages(1), pages(1)))

    vm.setShared(memory)

    await expect(vcpu).toSeeFilledWith(0xaa, memory.range(pages(0), pages(1)))
    await expect(vcpu).toSeeFilledWith(0xcc, memory.range(pages(1), pages(1)))
  })

  test('takes the guest’s writes to where the host sees them', { needs }, async ({ kvm }) => {
    using vm = kvm.createVm({ type: 'SW_PROTECTED' })
    const memory = convertibleMemory(vm, 1, 0xaa)
    using vcpu = vm.createVcpu()
    vm.setPrivate(memory)
    await vcpu.fill(memory, 0xbb)

    vm.setShared(memory)
    await vcpu.fillPattern(memory, 0x1dean)

    expect(memory).toHoldPattern(0x1dean)
  })

  test('finds its private bytes when it is made private once more', { needs }, async ({ kvm }) => {
    using vm = kvm.createVm({ type: 'SW_PROTECTED' })
    const memory = convertibleMemory(vm, 2, 0xaa)
    using vcpu = vm.createVcpu()
    vm.setPrivate(memory)
    await vcpu.fillPattern(memory, 0x5ec2e7n)

    vm.setShared(memory)
    await vcpu.fill(memory, 0xcc)
    vm.setPrivate(memory)

    // Two backings: a conversion chooses between them and neither moves nor clears a byte.
    await expect(vcpu).toSeePattern(0x5ec2e7n, memory)
    expect(memory).toBeFilledWith(0xcc)
  })

  test('loses its private bytes to a hole punched while it was shared', { needs }, async ({ kvm }) => {
    using vm = kvm.createVm({ type: 'SW_PROTECTED' })
    const memory = convertibleMemory(vm, 2, 0xaa)
    using vcpu = vm.createVcpu()
    vm.setPrivate(memory)
    await vcpu.fill(memory, 0xbb)
    vm.setShared(memory)

    memory.punchHole(memory.range(pages(0), pages(1)))

    await expect(vcpu).toSeeFilledWith(0xaa, memory)
    vm.setPrivate(memory)
    await expect(vcpu).toSeeFilledWith(0, memory.range(pages(0), pages(1)))
    await expect(vcpu).toSeeFilledWith(0xbb, memory.range(pages(1), pages(1)))
  })
})

describe('odd and even pages', () => {
  test('of which the odd ones are private keep to their own bytes', { needs }, async ({ kvm }) => {
    using vm = kvm.createVm({ type: 'SW_PROTECTED' })
    const memory = convertibleMemory(vm, 16, 0xaa)
    using vcpu = vm.createVcpu()
    everySecondPage(memory, 'odd').map((page) => vm.setPrivate(page))

    await vcpu.fill(memory, 0xbb)

    expect(fillOfPages(memory.shared)).toEqual(alternating(16, { even: 0xbb, odd: 0xaa }))
    await expect(vcpu).toSeeFilledWith(0xbb, memory)
  })

  test('of a private range can be made shared one by one', { needs }, async ({ kvm }) => {
    using vm = kvm.createVm({ type: 'SW_PROTECTED' })
    const memory = convertibleMemory(vm, 16, 0xaa)
    using vcpu = vm.createVcpu()
    vm.setPrivate(memory)
    await vcpu.fill(memory, 0xbb)
    everySecondPage(memory, 'odd').map((page) => vm.setShared(page))

    await vcpu.fill(memory, 0xcc)

    expect(fillOfPages(memory.shared)).toEqual(alternating(16, { even: 0xaa, odd: 0xcc }))
    vm.setPrivate(memory)
    everySecondPage(memory, 'odd').map((page) => vm.setShared(page))
    await expect(vcpu).toSeeFilledWith(0xcc, memory)
  })

  test('can change sides at once', { needs }, async ({ kvm }) => {
    using vm = kvm.createVm({ type: 'SW_PROTECTED' })
    const memory = convertibleMemory(vm, 8, 0xaa)
    const copy = vm.addMemory({ gpa: memory.gpaOf(pages(64)), size: pages(8) })
    using vcpu = vm.createVcpu()
    everySecondPage(memory, 'odd').map((page) => vm.setPrivate(page))
    await vcpu.fill(memory, 0xbb)

    everySecondPage(memory, 'odd').map((page) => vm.setShared(page))
    everySecondPage(memory, 'even').map((page) => vm.setPrivate(page))

    await vcpu.copy({ from: memory.gpa, to: copy.gpa, size: memory.size })
    expect(fillOfPages(copy.shared)).toEqual(alternating(8, { even: 0, odd: 0xaa }))
    expect(fillOfPages(memory.shared)).toEqual(alternating(8, { even: 0xbb, odd: 0xaa }))
  })
})
