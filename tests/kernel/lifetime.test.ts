// SPDX-License-Identifier: Apache-2.0
import { describe, expect, gpa, pages, sharedGuestMemfd, tdp, test } from 'gmem/testing'
import { VmFolder, vmFolders } from './support/vm-life.js'
import { onEveryVmType } from './support/vm-types.js'

const BASE = gpa(0x1000_0000)
const SHARED = { mmap: true, initShared: true }

describe('a guest_memfd whose VM fd is closed', () => {
  test('keeps its contents, and can be allocated, punched and mapped', { needs: [sharedGuestMemfd] }, ({
    kvm,
  }) => {
    const vm = kvm.createVm()
    using file = vm.createGuestMemfd({ size: pages(4), flags: SHARED }).dup()
    const mapping = file.mmap()
    mapping.fill(0x3c)

    vm.close()

    expect(mapping).toBeFilledWith(0x3c)
    file.punchHole(file.span(pages(1), pages(1)))
    file.allocate()
    const again = file.mmap()
    expect(again).toBeFilledWith(0x3c, file.span(pages(0), pages(1)))
    expect(again).toBeFilledWith(0, file.span(pages(1), pages(1)))
    expect(again).toBeFilledWith(0x3c, file.span(pages(2), pages(2)))
  })

  onEveryVmType(({ type, bindable }) => {
    test('can be punched and allocated while a memslot of that VM is bound to it', { needs: bindable }, ({
      kvm,
    }) => {
      const vm = kvm.createVm({ type })
      using file = vm.createGuestMemfd({ size: pages(4) }).dup()
      vm.setMemslot({ slot: 1, gpa: BASE, size: pages(4), guestMemfd: file })

      vm.close()

      expect(() => file.punchHole()).not.toThrow()
      expect(() => file.allocate()).not.toThrow()
      expect(file.stat().size).toBe(pages(4))
    })

    test('keeps the VM alive, and lets it go with its last fd', { needs: [...bindable, vmFolders] }, async ({
      kvm,
    }) => {
      const vm = kvm.createVm({ type })
      const folder = new VmFolder(vm)
      const file = vm.createGuestMemfd({ size: pages(4) }).dup()

      vm.close()
      const whileOpen = folder.exists()
      file.close()

      expect(whileOpen).toBe(true)
      expect(await folder.vanishes()).toBe(true)
    })

    test('does not keep the VM alive by a memslot alone', { needs: [...bindable, vmFolders] }, async ({
      kvm,
    }) => {
      const vm = kvm.createVm({ type })
      const folder = new VmFolder(vm)
      const file = vm.createGuestMemfd({ size: pages(4) })
      vm.setMemslot({ slot: 1, gpa: BASE, size: pages(4), guestMemfd: file })

      file.close()
      const whileOpen = folder.exists()
      vm.close()

      expect(whileOpen).toBe(true)
      expect(await folder.vanishes()).toBe(true)
    })
  })

  test('keeps the VM alive by a mapping alone', { needs: [sharedGuestMemfd, vmFolders] }, async ({ kvm }) => {
    const vm = kvm.createVm()
    const folder = new VmFolder(vm)
    const file = vm.createGuestMemfd({ size: pages(1), flags: SHARED }).dup()
    const mapping = file.mmap()
    file.close()

    vm.close()
    const whileMapped = folder.exists()
    mapping.close()

    expect(whileMapped).toBe(true)
    expect(await folder.vanishes()).toBe(true)
  })
})

describe('a memslot whose guest_memfd is closed', () => {
  test('faults for every access of the guest, until it is deleted', {
    needs: [sharedGuestMemfd, tdp],
  }, async ({ kvm }) => {
    using vm = kvm.createVm()
    const memory = vm.addMemory({ gpa: BASE, size: pages(4), guestMemfd: SHARED, userspace: null })
    using vcpu = vm.createVcpu()
    await vcpu.write64(memory.gpaOf(pages(1)), 0x1234n)

    memory.guestMemfd.close()
    const read = await vcpu.attempt.read64(memory.gpaOf(pages(1)))
    await vcpu.reset()
    const write = await vcpu.attempt.write64(memory.gpaOf(pages(3)), 1n)
    await vcpu.reset()
    memory.remove()

    expect(read).toBeMemoryFault({
      gpa: memory.gpaOf(pages(1)),
      size: pages(1),
      private: false,
      code: 'EFAULT',
    })
    expect(write).toBeMemoryFault({
      gpa: memory.gpaOf(pages(3)),
      size: pages(1),
      private: false,
      code: 'EFAULT',
    })
    expect(await vcpu.attempt.read64(memory.gpa)).toBeExit({ reason: 'MMIO', gpa: memory.gpa })
  })

  test('lives on while a duplicate of its fd is open', { needs: [sharedGuestMemfd, tdp] }, async ({
    kvm,
  }) => {
    using vm = kvm.createVm()
    const memory = vm.addMemory({ gpa: BASE, size: pages(2), guestMemfd: SHARED, userspace: null })
    using vcpu = vm.createVcpu()
    const duplicate = memory.guestMemfd.dup()
    await vcpu.write64(memory.gpa, 0x1234n)

    memory.guestMemfd.close()
    const whileOpen = await vcpu.attempt.read64(memory.gpa)
    duplicate.close()
    const afterwards = await vcpu.attempt.read64(memory.gpa)

    expect(whileOpen).toBeDone(0x1234n)
    expect(afterwards).toBeMemoryFault({ gpa: memory.gpa, size: pages(1), private: false })
  })

  test('lives on while a mapping of it is left', { needs: [sharedGuestMemfd] }, async ({ kvm }) => {
    using vm = kvm.createVm()
    const memory = vm.addMemory({ gpa: BASE, size: pages(2), guestMemfd: SHARED })
    using vcpu = vm.createVcpu()

    memory.guestMemfd.close()
    memory.shared.write64(pages(1), 0x77n)

    expect(await vcpu.read64(memory.gpaOf(pages(1)))).toBe(0x77n)
  })

  onEveryVmType(({ type, bindable }) => {
    test('can be deleted, and its place taken by another file', { needs: bindable }, ({ kvm }) => {
      using vm = kvm.createVm({ type })
      const file = vm.createGuestMemfd({ size: pages(4) })
      vm.setMemslot({ slot: 1, gpa: BASE, size: pages(4), guestMemfd: file })

      file.close()

      expect(() => vm.setMemslot({ slot: 2, gpa: BASE, size: pages(4) })).toFailWith('EEXIST')
      vm.deleteMemslot(1)
      using other = vm.createGuestMemfd({ size: pages(4) })
      expect(() => vm.setMemslot({ slot: 1, gpa: BASE, size: pages(4), guestMemfd: other })).not.toThrow()
    })
  })
})
