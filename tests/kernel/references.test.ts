// SPDX-License-Identifier: Apache-2.0
import {
  KVM_CREATE_GUEST_MEMFD,
  KVM_MEM_GUEST_MEMFD,
  KVM_SET_USER_MEMORY_REGION2,
  kvm_create_guest_memfd,
  kvm_userspace_memory_region2,
} from 'gmem/abi'
import { binding } from 'gmem/kvm'
import { describe, expect, gpa, pages, sharedGuestMemfd, test } from 'gmem/testing'
import { errnoOf } from './support/conversion.js'
import { passOverSocket } from './support/fd-passing.js'
import { openFds, sys } from './support/system-calls.js'
import { VmFolder, vmFolders } from './support/vm-life.js'
import { onEveryVmType } from './support/vm-types.js'

const BASE = gpa(0x1000_0000)
const SHARED = { mmap: true, initShared: true }
const KEEP = 1

describe('an fd of a guest_memfd', () => {
  test('works when it came over a socket: same inode, same contents, good for a memslot', {
    needs: [sharedGuestMemfd],
  }, ({ kvm, defer }) => {
    using vm = kvm.createVm()
    const file = vm.createGuestMemfd({ size: pages(2), flags: SHARED })
    const mapping = file.mmap()
    mapping.fill(0x91)

    const received = passOverSocket(file.fd)
    defer(() => binding.addon.close(received))
    file.close()

    sys('fallocate', received, KEEP, 0, pages(2))
    expect(mapping).toBeFilledWith(0x91)
    expect(() => vm.setMemslot({ slot: 1, gpa: BASE, size: pages(2), guestMemfd: received })).not.toThrow()
  })

  test('leaves none open when it is made and refused a hundred times', { needs: [sharedGuestMemfd] }, ({
    kvm,
  }) => {
    using vm = kvm.createVm()
    using file = vm.createGuestMemfd({ size: pages(1) })
    const before = openFds()
    const hundred = Array.from({ length: 100 }, (_, index) => index)

    const created = hundred.map(() => errnoOf(() => vm.createGuestMemfd({ size: pages(1) }).close()))
    const refused = hundred.map(() =>
      errnoOf(() => vm.createGuestMemfd({ size: pages(1), flags: 1n << 40n })),
    )
    const unbound = hundred.map(() =>
      errnoOf(() => vm.setMemslot({ slot: 1, gpa: BASE, size: pages(2), guestMemfd: file })),
    )

    expect([...new Set(created)]).toEqual([''])
    expect([...new Set([...refused, ...unbound])]).toEqual(['EINVAL'])
    expect(openFds()).toBe(before)
  })

  onEveryVmType(({ type, bindable }) => {
    test('holds no reference after a memslot was refused: the VM goes with its last fd', {
      needs: [...bindable, vmFolders],
    }, async ({ kvm }) => {
      const vm = kvm.createVm({ type })
      const folder = new VmFolder(vm)
      const file = vm.createGuestMemfd({ size: pages(4) })
      const bind = (offset: bigint, from = BASE) =>
        vm.setMemslot({ slot: 1, gpa: from, size: pages(4), guestMemfd: file, guestMemfdOffset: offset })

      // Refused by the file's size, and, with a reference already taken, by the highest gpa.
      const refused = [errnoOf(() => bind(pages(1))), errnoOf(() => bind(0n, gpa(1n << 52n)))]
      file.close()
      vm.close()

      expect(refused).toEqual(['EINVAL', 'EINVAL'])
      expect(await folder.vanishes()).toBe(true)
    })
  })
})

describe('a child made by fork(2)', () => {
  onEveryVmType(({ type, bindable }) => {
    test("gets EIO for every ioctl on its parent's VM, which works on in the parent", { needs: bindable }, ({
      kvm,
    }) => {
      using vm = kvm.createVm({ type })
      using file = vm.createGuestMemfd({ size: pages(4) })
      const create = kvm_create_guest_memfd.encode({ size: pages(1) })
      const bind = kvm_userspace_memory_region2.encode({
        slot: 1,
        flags: KVM_MEM_GUEST_MEMFD,
        guest_phys_addr: BASE,
        memory_size: pages(4),
        guest_memfd: file.fd,
      })

      expect(binding.addon.forkIoctl(vm.fd, KVM_CREATE_GUEST_MEMFD, create)).toBe('EIO')
      expect(binding.addon.forkIoctl(vm.fd, KVM_SET_USER_MEMORY_REGION2, bind)).toBe('EIO')

      expect(vm.ioctl(KVM_SET_USER_MEMORY_REGION2, bind)).toBe(0)
    })
  })
})
