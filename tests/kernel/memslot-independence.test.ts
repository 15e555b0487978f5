// SPDX-License-Identifier: Apache-2.0
import { readFileSync, writeFileSync } from 'node:fs'
import { KVM_MEM_LOG_DIRTY_PAGES, KVM_MEM_READONLY } from 'gmem/abi'
import { Mapping } from 'gmem/kvm'
import {
  bytes,
  cap,
  cases,
  describe,
  expect,
  gpaAdd,
  mib,
  pages,
  path,
  sharedGuestMemfd,
  tdp,
  test,
} from 'gmem/testing'
import { BASE, errnoOf, privateMemory } from './support/conversion.js'
import { ownVm } from './support/own-vm.js'
import { faultsIn } from './support/prefault.js'
import { onEveryVmType } from './support/vm-types.js'

const SHARED_FILE = { mmap: true, initShared: true }
const NR_HUGEPAGES = '/proc/sys/vm/nr_hugepages'
const SIZE = pages(4)
/** Bits 16 to 31 of a memslot's id are its address space: 1 is that of system management mode. */
const SMM = 1 << 16
/** Of 32 flags, those that KVM_SET_USER_MEMORY_REGION has. */
const V1_FLAGS = [KVM_MEM_LOG_DIRTY_PAGES, KVM_MEM_READONLY]
const OTHER_FLAGS = Array.from({ length: 32 }, (_, bit) => 2 ** bit).filter(
  (flag) => !V1_FLAGS.includes(flag),
)

describe('memslots with a guest_memfd', () => {
  test('of the same gpa and in two address spaces know nothing of each other', {
    needs: [sharedGuestMemfd, tdp, cap('MULTI_ADDRESS_SPACE')],
  }, async ({ kvm }) => {
    using vm = kvm.createVm()
    using file = vm.createGuestMemfd({ size: pages(8), flags: SHARED_FILE })
    const mapping = file.mmap()
    mapping.fill(0xaa, { offset: pages(0), size: SIZE })
    mapping.fill(0xbb, { offset: pages(4), size: SIZE })
    using vcpu = vm.createVcpu()

    vm.setMemslot({ slot: 1, gpa: BASE, size: SIZE, guestMemfd: file })
    vm.setMemslot({ slot: SMM | 1, gpa: BASE, size: SIZE, guestMemfd: file, guestMemfdOffset: pages(4) })

    // A guest that is not in system management mode has the first.
    await expect(vcpu).toSeeFilledWith(0xaa, { gpa: BASE, size: SIZE })
    vm.deleteMemslot(SMM | 1)
    await expect(vcpu).toSeeFilledWith(0xaa, { gpa: BASE, size: SIZE })
    expect(() => vm.deleteMemslot(SMM | 1)).toFailWith('EINVAL')
  })

  // KVM_X86_QUIRK_SLOT_ZAP_ALL, Documentation/virt/kvm/api.rst: a quirk of DEFAULT VMs.
  test('of a DEFAULT VM are all mapped anew when another one is deleted', {
    needs: [sharedGuestMemfd, tdp],
  }, async ({ kvm }) => {
    using vm = kvm.createVm()
    const memory = vm.addMemory({ gpa: BASE, size: SIZE, guestMemfd: SHARED_FILE })
    const other = vm.addMemory({ gpa: gpaAdd(BASE, mib(4)), size: SIZE, guestMemfd: SHARED_FILE })
    using vcpu = vm.createVcpu()
    await vcpu.fillPattern(memory, 7n)

    other.remove()

    expect(await faultsIn(vcpu, () => expect(vcpu).toSeePattern(7n, memory))).toBeGreaterThan(0n)
  })

  test('of a SW_PROTECTED VM stay mapped when another one is deleted', {
    needs: [...privateMemory, tdp],
  }, async ({ kvm }) => {
    using vm = kvm.createVm({ type: 'SW_PROTECTED' })
    const memory = vm.addMemory({ gpa: BASE, size: SIZE, guestMemfd: {} })
    const other = vm.addMemory({ gpa: gpaAdd(BASE, mib(4)), size: SIZE, guestMemfd: {} })
    vm.setPrivate(memory)
    using vcpu = vm.createVcpu()
    await vcpu.fillPattern(memory, 7n)

    other.remove()

    expect(await faultsIn(vcpu, () => expect(vcpu).toSeePattern(7n, memory))).toBe(0n)
  })
})

describe('KVM_SET_USER_MEMORY_REGION and KVM_SET_USER_MEMORY_REGION2', () => {
  onEveryVmType(({ type, offered }) => {
    test('change and delete the memslots that the other has made', { needs: offered }, ({ kvm }) => {
      using vm = kvm.createVm({ type })
      using hva = Mapping.anonymous(SIZE)
      const slot = { gpa: BASE, size: SIZE, hva }

      vm.setMemslotV1({ ...slot, slot: 1 })
      vm.setMemslot({ ...slot, slot: 1, flags: KVM_MEM_LOG_DIRTY_PAGES })
      expect(vm.dirtyLog(1, SIZE)).toHaveLength(8)
      vm.deleteMemslot(1)
      vm.setMemslot({ ...slot, slot: 2 })
      vm.setMemslotV1({ ...slot, slot: 2, flags: KVM_MEM_LOG_DIRTY_PAGES })
      expect(vm.dirtyLog(2, SIZE)).toHaveLength(8)
      vm.setMemslotV1({ ...slot, slot: 2, size: bytes(0) })

      expect(() => vm.deleteMemslot(2)).toFailWith('EINVAL')
    })
  })

  test('differ in their flags: the first takes LOG_DIRTY_PAGES and READONLY, and none of the others', {}, ({
    kvm,
  }) => {
    using vm = kvm.createVm()
    using hva = Mapping.anonymous(SIZE)
    const slot = { slot: 1, gpa: BASE, size: SIZE, hva }

    const refused = OTHER_FLAGS.map((flags) => errnoOf(() => vm.setMemslotV1({ ...slot, flags })))

    expect(refused).toEqual(Array(30).fill('EINVAL'))
    expect(() => vm.deleteMemslot(1)).toFailWith('EINVAL')
    for (const flags of V1_FLAGS) {
      vm.setMemslotV1({ ...slot, flags })
      vm.deleteMemslot(1)
    }
  })
})

describe('the shared half of memory that is converted', () => {
  cases(
    [{ backing: 'memfd' }, { backing: 'hugetlb' }] as const,
    ({ backing }) => `may be ${backing}: it is there again after the conversion back`,
    { needs: [...privateMemory, ownVm, path(NR_HUGEPAGES)] },
    async ({ kvm, defer }, { backing }) => {
      const before = readFileSync(NR_HUGEPAGES, 'latin1')
      defer(() => writeFileSync(NR_HUGEPAGES, before))
      writeFileSync(NR_HUGEPAGES, '1')
      using vm = kvm.createVm({ type: 'SW_PROTECTED' })
      const memory = vm.addMemory({ gpa: BASE, size: mib(2), guestMemfd: {}, backing })
      memory.shared.fill(0xaa)
      const page = memory.range(pages(3), pages(1))
      using vcpu = vm.createVcpu()
      vm.setPrivate(page)
      await vcpu.fill(page, 0xbb)

      vm.setShared(page)

      expect(memory.shared).toBeFilledWith(0xaa)
      await expect(vcpu).toSeeFilledWith(0xaa, page)
    },
  )
})
