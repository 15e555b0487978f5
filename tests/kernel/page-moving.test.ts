// SPDX-License-Identifier: Apache-2.0
import { writeFileSync } from 'node:fs'
import { MADV_SOFT_OFFLINE } from 'gmem/abi'
import { describe, expect, pages, path, sharedGuestMemfd, tdp, test } from 'gmem/testing'
import { BASE } from './support/conversion.js'
import { ownVm } from './support/own-vm.js'
import { faultsIn } from './support/prefault.js'
import { onEveryVmType } from './support/vm-types.js'

const COMPACT = '/proc/sys/vm/compact_memory'
const DROP_CACHES = '/proc/sys/vm/drop_caches'
const COUNT = 64

// A guest_memfd's folios cannot be migrated (kvm_gmem_migrate_folio() warns), reclaimed or dropped: AS_INACCESSIBLE and AS_UNEVICTABLE
// keep all that away from them (virt/kvm/guest_memfd.c, 7.3.4).
describe('pages of a guest_memfd that a guest has written', () => {
  onEveryVmType(({ type, bindable, flags, serveFromFile }) => {
    test('stay mapped and keep their bytes while memory is compacted', {
      needs: [...bindable, tdp, ownVm, path(COMPACT)],
    }, async ({ kvm }) => {
      using vm = kvm.createVm({ type })
      const memory = vm.addMemory({ gpa: BASE, size: pages(COUNT), guestMemfd: flags })
      serveFromFile(vm, memory)
      const ordinary = vm.addMemory({ gpa: memory.gpaOf(memory.size), size: pages(1) })
      using vcpu = vm.createVcpu()
      await vcpu.fillPattern(memory, 7n)

      writeFileSync(COMPACT, '1')

      // The monitor's own pages are ordinary memory, and may have moved: its faults come here.
      await vcpu.read64(ordinary.gpa)
      await expect(vcpu).toSeeFilledWith(0, ordinary)
      expect(await faultsIn(vcpu, () => expect(vcpu).toSeePattern(7n, memory))).toBe(0n)
    })

    test('keep their bytes when the host drops its caches', {
      needs: [...bindable, tdp, ownVm, path(DROP_CACHES)],
    }, async ({ kvm }) => {
      using vm = kvm.createVm({ type })
      const memory = vm.addMemory({ gpa: BASE, size: pages(COUNT), guestMemfd: flags, userspace: 'backing' })
      serveFromFile(vm, memory)
      using vcpu = vm.createVcpu()
      await vcpu.fillPattern(memory, 7n)

      writeFileSync(DROP_CACHES, '3')
      memory.remove()
      vm.addMemslot({ gpa: BASE, size: memory.size, hva: memory.shared, guestMemfd: memory.guestMemfd })

      // Not from the guest's old mappings: the file itself has them.
      await expect(vcpu).toSeePattern(7n, memory)
    })
  })

  test('cannot be taken offline: MADV_SOFT_OFFLINE says EBUSY, and host and guest go on', {
    needs: [sharedGuestMemfd, tdp, ownVm, path('/sys/kernel/debug/hwpoison')],
  }, async ({ kvm }) => {
    using vm = kvm.createVm()
    const memory = vm.addMemory({
      gpa: BASE,
      size: pages(4),
      guestMemfd: { mmap: true, initShared: true },
      userspace: null,
    })
    const mapping = memory.guestMemfd.mmap()
    mapping.fill(0xaa)
    using vcpu = vm.createVcpu()
    await expect(vcpu).toSeeFilledWith(0xaa, memory)

    const page = memory.range(pages(1), pages(1))
    expect(() => mapping.madvise(MADV_SOFT_OFFLINE, page)).toFailWith('EBUSY')

    await vcpu.fill(page, 0xbb)
    expect(mapping).toBeFilledWith(0xbb, page)
    expect(mapping).toBeFilledWith(0xaa, memory.range(pages(2), pages(2)))
  })
})
