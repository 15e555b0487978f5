// SPDX-License-Identifier: Apache-2.0
import { Mapping } from 'gmem/kvm'
import { bytes, describe, expect, pages, sharedGuestMemfd, tdp, test } from 'gmem/testing'
import { BASE, convertibleMemory, privateMemory } from './support/conversion.js'

/** Any port that no device of KVM answers: 0x510 is QEMU's firmware configuration, which is not here. */
const PORT = 0x510
const FOUR = { gpa: BASE, size: bytes(4) }

// kvm_read_guest() and kvm_write_guest() know userspace_addr only (virt/kvm/kvm_main.c), and string I/O is emulated with them.
describe('an access that KVM makes for the guest', () => {
  test('reads the shared copy of a private page', { needs: privateMemory }, async ({ kvm }) => {
    using vm = kvm.createVm({ type: 'SW_PROTECTED' })
    const memory = convertibleMemory(vm, 1, 0xaa)
    using vcpu = vm.createVcpu()
    vm.setPrivate(memory)
    await vcpu.fill(memory, 0xbb)

    const exit = await vcpu.attempt.outs(PORT, FOUR)

    expect(exit).toBeExit({ reason: 'IO', direction: 'out', port: PORT, data: Uint8Array.of(0xaa) })
  })

  test('writes the shared copy of a private page', { needs: privateMemory }, async ({ kvm }) => {
    using vm = kvm.createVm({ type: 'SW_PROTECTED' })
    const memory = convertibleMemory(vm, 1, 0xaa)
    using vcpu = vm.createVcpu()
    vm.setPrivate(memory)
    await vcpu.fill(memory, 0xbb)

    await vcpu.attempt.ins(PORT, FOUR)
    const resumed = await vcpu.resume({ data: Uint8Array.of(1, 2, 3, 4) })

    expect(resumed).toBeDone()
    expect(memory.shared.read(bytes(0), 8)).toEqual(Uint8Array.of(1, 2, 3, 4, 0xaa, 0xaa, 0xaa, 0xaa))
    await expect(vcpu).toSeeFilledWith(0xbb, memory)
  })

  test('reads userspace_addr, not the guest_memfd that the guest itself sees', {
    needs: [sharedGuestMemfd, tdp],
  }, async ({ kvm }) => {
    using vm = kvm.createVm()
    using decoy = Mapping.anonymous(pages(1))
    decoy.fill(0x5a)
    const flags = { mmap: true, initShared: true }
    const memory = vm.addMemory({ gpa: BASE, size: pages(1), guestMemfd: flags, userspace: decoy })
    using vcpu = vm.createVcpu()
    await vcpu.fill(memory, 0xbb)

    const exit = await vcpu.attempt.outs(PORT, FOUR)

    expect(exit).toBeExit({ reason: 'IO', direction: 'out', port: PORT, data: Uint8Array.of(0x5a) })
  })

  test('is MMIO where the memslot has no userspace_addr', { needs: [sharedGuestMemfd, tdp] }, async ({
    kvm,
  }) => {
    using vm = kvm.createVm()
    const flags = { mmap: true, initShared: true }
    const memory = vm.addMemory({ gpa: BASE, size: pages(1), guestMemfd: flags, userspace: null })
    using vcpu = vm.createVcpu()
    await vcpu.fill(memory, 0xbb)

    const exit = await vcpu.attempt.outs(PORT, FOUR)

    expect(exit).toBeExit({ reason: 'MMIO', gpa: BASE, isWrite: false, length: 1 })
    expect(await vcpu.resume({ data: 0x77n })).toBeExit({ reason: 'IO', data: Uint8Array.of(0x77) })
  })
})
