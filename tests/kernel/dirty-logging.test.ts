// SPDX-License-Identifier: Apache-2.0
import { KVM_MEM_LOG_DIRTY_PAGES } from 'gmem/abi'
import type { Memory, Vm } from 'gmem/kvm'
import { describe, expect, gpaAdd, mib, pages, sharedGuestMemfd, test } from 'gmem/testing'
import { BASE, privateMemory } from './support/conversion.js'

/** Eight pages whose writes are logged. They are not touched before: KVM takes what the host could write already for dirty. */
function loggedMemory(vm: Vm): Memory {
  return vm.addMemory({ gpa: BASE, size: pages(8), flags: KVM_MEM_LOG_DIRTY_PAGES })
}

/** The bits of the pages that were written since the last time, page 0 first. */
function written(vm: Vm, { slot, size }: Memory): number | undefined {
  return vm.dirtyLog(slot, size)[0]
}

// A memslot with a guest_memfd cannot be logged at all (memslot-bounds, memslot-immutability): these are what it lives beside.
describe('dirty logging of an ordinary memslot', () => {
  test('sees its own pages only, beside a memslot with a shared guest_memfd', {
    needs: [sharedGuestMemfd],
  }, async ({ kvm }) => {
    using vm = kvm.createVm()
    const logged = loggedMemory(vm)
    const flags = { mmap: true, initShared: true }
    const file = vm.addMemory({ gpa: gpaAdd(BASE, mib(2)), size: pages(8), guestMemfd: flags })
    using vcpu = vm.createVcpu()

    await vcpu.fill(file, 0x77)
    await vcpu.write8(logged.gpaOf(pages(3)), 1)

    expect(written(vm, logged)).toBe(0b1000)
    expect(() => vm.dirtyLog(file.slot, file.size)).toFailWith('ENOENT')
    expect(file).toBeFilledWith(0x77)
  })

  test('sees no write to private memory in the same VM', { needs: privateMemory }, async ({ kvm }) => {
    using vm = kvm.createVm({ type: 'SW_PROTECTED' })
    const logged = loggedMemory(vm)
    const file = vm.addMemory({ gpa: gpaAdd(BASE, mib(2)), size: pages(8), guestMemfd: {} })
    vm.setPrivate(file)
    using vcpu = vm.createVcpu()

    await vcpu.fill(file, 0x77)
    await vcpu.write8(logged.gpaOf(pages(3)), 1)

    expect(written(vm, logged)).toBe(0b1000)
    await expect(vcpu).toSeeFilledWith(0x77, file)
  })

  test('goes on for a page that was private for a while', { needs: privateMemory }, async ({ kvm }) => {
    using vm = kvm.createVm({ type: 'SW_PROTECTED' })
    const logged = loggedMemory(vm)
    const page = logged.range(pages(2), pages(1))
    using vcpu = vm.createVcpu()
    await vcpu.write8(page.gpa, 1)

    vm.setPrivate(page)
    const beforeFault = written(vm, logged)
    const fault = await vcpu.attempt.write8(page.gpa, 2)
    const whilePrivate = written(vm, logged)
    vm.setShared(page)
    const resumed = await vcpu.resume()

    expect(beforeFault).toBe(0b100)
    expect(fault).toBeMemoryFault({ gpa: page.gpa, private: true })
    expect(whilePrivate).toBe(0)
    expect(resumed).toBeDone()
    expect(written(vm, logged)).toBe(0b100)
    expect(logged.shared.read8(pages(2))).toBe(2)
  })
})
