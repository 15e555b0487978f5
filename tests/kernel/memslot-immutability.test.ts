// SPDX-License-Identifier: Apache-2.0
import {
  KVM_CLEAR_DIRTY_LOG,
  KVM_MEM_GUEST_MEMFD,
  KVM_MEM_LOG_DIRTY_PAGES,
  KVM_MEM_READONLY,
  kvm_clear_dirty_log,
} from 'gmem/abi'
import type { Memslot } from 'gmem/kvm'
import {
  bytes,
  cases,
  describe,
  expect,
  gpa,
  kernelAtLeast,
  pages,
  sharedGuestMemfd,
  test,
  vmType,
} from 'gmem/testing'
import { errnoOf } from './support/conversion.js'
import { onEveryVmType } from './support/vm-types.js'

const BASE = gpa(0x1000_0000)
const ELSEWHERE = gpa(0x2000_0000)
const SLOT = 1
const SEED = 0xf00d_0000n

// Applied to a slot of four pages with a guest_memfd of eight. What is not named stays as it is.
const CHANGES: readonly { what: string; change: Partial<Memslot> }[] = [
  { what: 'the very same', change: {} },
  { what: 'another gpa', change: { gpa: ELSEWHERE } },
  { what: 'one page more', change: { size: pages(5) } },
  { what: 'one page less', change: { size: pages(3) } },
  { what: 'another offset in the file', change: { guestMemfdOffset: pages(4) } },
  { what: 'another userspace_addr', change: { hva: 0x1_0000n } },
  { what: 'LOG_DIRTY_PAGES', change: { flags: KVM_MEM_LOG_DIRTY_PAGES | KVM_MEM_GUEST_MEMFD } },
  { what: 'READONLY', change: { flags: KVM_MEM_READONLY | KVM_MEM_GUEST_MEMFD } },
  { what: 'no GUEST_MEMFD', change: { flags: 0 } },
  { what: 'no GUEST_MEMFD, at another gpa', change: { flags: 0, gpa: ELSEWHERE } },
  { what: 'LOG_DIRTY_PAGES and no GUEST_MEMFD', change: { flags: KVM_MEM_LOG_DIRTY_PAGES } },
  { what: 'READONLY and no GUEST_MEMFD', change: { flags: KVM_MEM_READONLY } },
  { what: 'another fd', change: { guestMemfd: 1_000_000 } },
]

describe('a memslot with a guest_memfd cannot be changed', () => {
  cases(
    CHANGES,
    ({ what }) => `to ${what}: EINVAL, and it is still bound`,
    { needs: [sharedGuestMemfd] },
    ({ kvm }, { change }) => {
      using vm = kvm.createVm()
      using file = vm.createGuestMemfd({ size: pages(8) })
      const memslot = { slot: SLOT, gpa: BASE, size: pages(4), guestMemfd: file }
      vm.setMemslot(memslot)

      expect(() => vm.setMemslot({ ...memslot, ...change })).toFailWith(
        'EINVAL',
        'KVM_SET_USER_MEMORY_REGION2',
      )

      // Its gpas are taken, those elsewhere are free.
      expect(() => vm.setMemslot({ slot: 2, gpa: BASE, size: pages(1) })).toFailWith('EEXIST')
      expect(() => vm.setMemslot({ slot: 2, gpa: ELSEWHERE, size: pages(1) })).not.toThrow()
    },
  )

  test('on a SW_PROTECTED VM either: EINVAL for each change', { needs: [vmType.swProtected] }, ({ kvm }) => {
    using vm = kvm.createVm({ type: 'SW_PROTECTED' })
    using file = vm.createGuestMemfd({ size: pages(8) })
    const memslot = { slot: SLOT, gpa: BASE, size: pages(4), guestMemfd: file }
    vm.setMemslot(memslot)

    const seen = CHANGES.map(({ what, change }) => ({
      what,
      errno: errnoOf(() => vm.setMemslot({ ...memslot, ...change })),
    }))

    expect(seen).toEqual(CHANGES.map(({ what }) => ({ what, errno: 'EINVAL' })))
    expect(() => vm.setMemslot({ slot: 2, gpa: BASE, size: pages(1) })).toFailWith('EEXIST')
  })

  onEveryVmType(({ type, bindable, flags, serveFromFile }) => {
    test('and serves the guest after each attempt as before', { needs: bindable }, async ({ kvm }) => {
      using vm = kvm.createVm({ type })
      using file = vm.createGuestMemfd({ size: pages(8), flags })
      const memory = vm.addMemory({ gpa: BASE, size: pages(4), guestMemfd: file, slot: SLOT })
      serveFromFile(vm, memory)
      using vcpu = vm.createVcpu()
      await vcpu.fillPattern(memory, SEED)
      const memslot = { slot: SLOT, gpa: BASE, size: pages(4), guestMemfd: file, hva: memory.shared }

      const seen = CHANGES.map(({ change }) => errnoOf(() => vm.setMemslot({ ...memslot, ...change })))

      expect(seen).toEqual(CHANGES.map(() => 'EINVAL'))
      await expect(vcpu).toSeePattern(SEED, memory)
    })

    test('through KVM_SET_USER_MEMORY_REGION either', { needs: bindable }, ({ kvm }) => {
      using vm = kvm.createVm({ type })
      using file = vm.createGuestMemfd({ size: pages(4) })
      const memslot = { slot: SLOT, gpa: BASE, size: pages(4) }
      vm.setMemslot({ ...memslot, guestMemfd: file })

      expect(() => vm.setMemslotV1({ ...memslot, gpa: ELSEWHERE })).toFailWith('EINVAL')
      expect(() => vm.setMemslotV1({ ...memslot, flags: KVM_MEM_LOG_DIRTY_PAGES })).toFailWith('EINVAL')
      expect(() => vm.setMemslotV1({ ...memslot, size: pages(2) })).toFailWith('EINVAL')
    })

    test('and has no dirty log: ENOENT to get or clear it', { needs: bindable }, ({ kvm }) => {
      using vm = kvm.createVm({ type })
      using file = vm.createGuestMemfd({ size: pages(64) })
      vm.setMemslot({ slot: SLOT, gpa: BASE, size: pages(64), guestMemfd: file })
      vm.setMemslot({ slot: 2, gpa: ELSEWHERE, size: pages(64), flags: KVM_MEM_LOG_DIRTY_PAGES })
      const clear = (slot: number) =>
        vm.ioctl(KVM_CLEAR_DIRTY_LOG, kvm_clear_dirty_log.encode({ slot, num_pages: 64, dirty_bitmap: 0n }))

      expect(() => vm.dirtyLog(SLOT, pages(64))).toFailWith('ENOENT')
      expect(() => clear(SLOT)).toFailWith('ENOENT')
      expect([...vm.dirtyLog(2, pages(64))]).toEqual([0, 0, 0, 0, 0, 0, 0, 0])
      // An ordinary slot gets as far as its bitmap, which is at NULL here.
      expect(() => clear(2)).toFailWith('EFAULT')
    })
  })
})

describe('an ordinary memslot', () => {
  // A flag that can only be set when the slot is made: 9935df5333aa (6.19), with stable backports.
  test('cannot be given a guest_memfd later: EINVAL, and it stays ordinary', { needs: [sharedGuestMemfd] }, ({
    kvm,
  }) => {
    using vm = kvm.createVm()
    using file = vm.createGuestMemfd({ size: pages(4) })
    const memslot = { slot: SLOT, gpa: BASE, size: pages(4) }
    vm.setMemslot(memslot)

    expect(() => vm.setMemslot({ ...memslot, guestMemfd: file })).toFailWith('EINVAL')
    expect(() => vm.setMemslot({ ...memslot, gpa: ELSEWHERE, guestMemfd: file })).toFailWith('EINVAL')

    expect(() => vm.setMemslot({ ...memslot, slot: 2, gpa: ELSEWHERE, guestMemfd: file })).not.toThrow()
  })

  test('can be set again as it is, moved and logged, but not resized', { needs: [kernelAtLeast('6.8')] }, ({
    kvm,
  }) => {
    using vm = kvm.createVm()
    const memslot = { slot: SLOT, gpa: BASE, size: pages(4) }
    vm.setMemslot(memslot)

    expect(() => vm.setMemslot(memslot)).not.toThrow()
    expect(() => vm.setMemslot({ ...memslot, size: pages(5) })).toFailWith('EINVAL')
    expect(() => vm.setMemslot({ ...memslot, flags: KVM_MEM_LOG_DIRTY_PAGES })).not.toThrow()
    expect(() => vm.setMemslot({ ...memslot, gpa: ELSEWHERE })).not.toThrow()
    expect(() => vm.setMemslot({ slot: 2, gpa: BASE, size: pages(1) })).not.toThrow()
  })
})

describe('deleting a memslot', () => {
  onEveryVmType(({ type, bindable }) => {
    test('works whatever else the request says, and once only', { needs: bindable }, ({ kvm }) => {
      using vm = kvm.createVm({ type })
      using file = vm.createGuestMemfd({ size: pages(4) })
      const memslot = { slot: SLOT, gpa: BASE, size: pages(4), guestMemfd: file }
      const none = bytes(0)

      const deletions = [
        () => vm.setMemslot({ slot: SLOT, gpa: BASE, size: none }),
        () => vm.setMemslot({ ...memslot, size: none }),
        () => vm.setMemslot({ ...memslot, size: none, guestMemfd: 1_000_000 }),
        () => vm.setMemslot({ ...memslot, size: none, gpa: ELSEWHERE, guestMemfdOffset: pages(100) }),
        () => vm.setMemslotV1({ slot: SLOT, gpa: BASE, size: none }),
      ]
      const outcomes = deletions.map((remove) => {
        vm.setMemslot(memslot)
        return [errnoOf(remove), errnoOf(remove)]
      })

      expect(outcomes).toEqual(deletions.map(() => ['', 'EINVAL']))
    })

    test('that never was is refused with EINVAL', { needs: bindable }, ({ kvm }) => {
      using vm = kvm.createVm({ type })

      expect(() => vm.deleteMemslot(SLOT)).toFailWith('EINVAL')
      expect(() =>
        vm.setMemslot({ slot: SLOT, gpa: BASE, size: bytes(0), guestMemfd: 1_000_000 }),
      ).toFailWith('EINVAL')
    })
  })
})
