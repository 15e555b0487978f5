// SPDX-License-Identifier: Apache-2.0
import { bytes, describe, expect, mib, pages, test, thp } from 'gmem/testing'
import { BASE, everySecondPage } from './support/conversion.js'
import { faultsIn, privateKind, remainder } from './support/prefault.js'

const needs = privateKind.needs

describe('KVM_PRE_FAULT_MEMORY after a conversion', () => {
  test('to private maps the private copy', { needs }, async ({ kvm }) => {
    using vm = kvm.createVm({ type: 'SW_PROTECTED' })
    const memory = vm.addMemory({ gpa: BASE, size: pages(4), guestMemfd: {} })
    memory.shared.fill(0xaa)
    using vcpu = vm.createVcpu()
    await vcpu.ready()
    vcpu.preFault(memory)

    vm.setPrivate(memory)

    expect(vcpu.preFault(memory).code).toBe('')
    expect(await faultsIn(vcpu, () => expect(vcpu).toSeeFilledWith(0, memory))).toBe(0n)
  })

  test('to shared maps the shared copy', { needs }, async ({ kvm }) => {
    using vm = kvm.createVm({ type: 'SW_PROTECTED' })
    const memory = privateKind.make(vm, 4)
    memory.shared.fill(0xaa)
    using vcpu = vm.createVcpu()
    await vcpu.fill(memory, 0xbb)

    vm.setShared(memory)

    expect(vcpu.preFault(memory).code).toBe('')
    expect(await faultsIn(vcpu, () => expect(vcpu).toSeeFilledWith(0xaa, memory))).toBe(0n)
  })

  test('is needed: the conversion has unmapped what was prefaulted before', { needs }, async ({ kvm }) => {
    using vm = kvm.createVm({ type: 'SW_PROTECTED' })
    const memory = vm.addMemory({ gpa: BASE, size: pages(4), guestMemfd: {} })
    using vcpu = vm.createVcpu()
    await vcpu.ready()
    vcpu.preFault(memory)
    const mapped = vm.stat('pages_4k')

    vm.setPrivate(memory.range(pages(1), pages(2)))

    expect(vm.stat('pages_4k')).toBe(mapped - 2n)
    expect(await faultsIn(vcpu, () => vcpu.fill(memory.range(pages(1), pages(2)), 0xbb))).toBe(2n)
  })

  test('maps each page of a mixed range from its own copy', { needs }, async ({ kvm }) => {
    using vm = kvm.createVm({ type: 'SW_PROTECTED' })
    const memory = vm.addMemory({ gpa: BASE, size: pages(8), guestMemfd: {} })
    memory.shared.fill(0xaa)
    using vcpu = vm.createVcpu()
    await vcpu.ready()
    for (const page of everySecondPage(memory, 'odd')) vm.setPrivate(page)

    expect(vcpu.preFault(memory)).toEqual(remainder('', { gpa: memory.gpaOf(pages(8)), size: bytes(0) }))

    const seen = await faultsIn(vcpu, async () => {
      for (const page of everySecondPage(memory, 'odd')) await expect(vcpu).toSeeFilledWith(0, page)
      for (const page of everySecondPage(memory, 'even')) await expect(vcpu).toSeeFilledWith(0xaa, page)
    })
    expect(seen).toBe(0n)
  })

  test('maps again what a hole unmapped, and it reads zero', { needs }, async ({ kvm }) => {
    using vm = kvm.createVm({ type: 'SW_PROTECTED' })
    const memory = privateKind.make(vm, 4)
    using vcpu = vm.createVcpu()
    await vcpu.fill(memory, 0xbb)
    const hole = memory.range(pages(1), pages(2))

    memory.punchHole(hole)

    expect(vcpu.preFault(memory).code).toBe('')
    expect(await faultsIn(vcpu, () => expect(vcpu).toSeeFilledWith(0, hole))).toBe(0n)
    await expect(vcpu).toSeeFilledWith(0xbb, memory.range(pages(3), pages(1)))
  })

  test('maps a huge page of shared memory only where no page of it is private', {
    needs: [...needs, thp],
  }, async ({ kvm }) => {
    using vm = kvm.createVm({ type: 'SW_PROTECTED' })
    const memory = vm.addMemory({ gpa: BASE, size: mib(4), guestMemfd: {}, backing: 'thp' })
    memory.shared.fill(0xaa)
    vm.setPrivate(memory.range(pages(7), pages(1)))
    using vcpu = vm.createVcpu()
    await vcpu.ready()
    const mapped = vm.stat('pages_4k')

    expect(vcpu.preFault(memory)).toEqual(remainder('', { gpa: memory.gpaOf(mib(4)), size: bytes(0) }))

    expect(vm.stat('pages_2m')).toBe(1n)
    expect(vm.stat('pages_4k')).toBe(mapped + 512n)
  })
})
