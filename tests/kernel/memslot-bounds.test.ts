// SPDX-License-Identifier: Apache-2.0
import {
  CPUID_ENTRY_BYTES,
  CPUID2_HEADER_BYTES,
  KVM_MEM_GUEST_MEMFD,
  KVM_MEM_LOG_DIRTY_PAGES,
  KVM_MEM_READONLY,
} from 'gmem/abi'
import type { Kvm, Memslot } from 'gmem/kvm'
import {
  bytes,
  cap,
  cases,
  describe,
  expect,
  gpa,
  type Need,
  not,
  pages,
  sharedGuestMemfd,
  tdp,
  test,
  vmType,
} from 'gmem/testing'
import { errnoOf } from './support/conversion.js'
import { onEveryVmType } from './support/vm-types.js'

const BASE = gpa(0x1000_0000)
const GOOD = { slot: 1, gpa: BASE, size: pages(4) }
const U64_MAX = (1n << 64n) - 1n
/** access_ok() on x86-64 takes what the sign bit does not put into the kernel half. */
const KERNEL_HALF = 1n << 63n
/** KVM_MEM_MAX_NR_PAGES: dirty bitmaps are indexed with an unsigned int (include/linux/kvm_host.h, 7.3.4). */
const MAX_PAGES = (1n << 31n) - 1n

/** MAXPHYADDR that KVM reports for guests: bits 7:0 of eax of CPUID leaf 0x8000_0008. */
function maxPhysicalAddressBits(kvm: Kvm): bigint {
  const cpuid = kvm.supportedCpuid()
  const view = new DataView(cpuid.buffer, cpuid.byteOffset, cpuid.byteLength)
  const entries = Array.from(
    { length: view.getUint32(0, true) },
    (_, index) => CPUID2_HEADER_BYTES + index * CPUID_ENTRY_BYTES,
  )
  // struct kvm_cpuid_entry2: function, index, flags, eax.
  const entry = entries.find((offset) => view.getUint32(offset, true) === 0x8000_0008) ?? 0
  return BigInt(view.getUint32(entry + 12, true) & 0xff)
}

const WRONG: readonly { what: string; change: Partial<Memslot> }[] = [
  { what: 'a size that is not a multiple of a page', change: { size: bytes(4097) } },
  { what: 'a size of one byte', change: { size: bytes(1) } },
  { what: 'a gpa that is not a multiple of a page', change: { gpa: gpa(BASE + 1n) } },
  { what: 'a gpa one byte before a page', change: { gpa: gpa(BASE - 1n) } },
  { what: 'gpa + size that wraps', change: { gpa: gpa(U64_MAX - 8191n) } },
  { what: 'gpa + size of exactly 2^64', change: { gpa: gpa(U64_MAX - 4095n), size: pages(1) } },
  { what: 'a userspace_addr that is not a multiple of a page', change: { hva: 0x7000_0000_0001n } },
  {
    what: 'a userspace_addr that is not canonical, whatever the levels of paging',
    change: { hva: 1n << 60n },
  },
  { what: 'a userspace_addr in the kernel half', change: { hva: KERNEL_HALF } },
  { what: 'a userspace_addr of the last page below 2^64', change: { hva: U64_MAX - 4095n } },
  { what: 'a slot id beyond the last', change: { slot: 0xffff } },
  { what: 'LOG_DIRTY_PAGES', change: { flags: KVM_MEM_LOG_DIRTY_PAGES | KVM_MEM_GUEST_MEMFD } },
  { what: 'READONLY', change: { flags: KVM_MEM_READONLY | KVM_MEM_GUEST_MEMFD } },
  { what: 'LOG_DIRTY_PAGES and READONLY', change: { flags: 7 } },
]

/** Bits 16 and 17 among them are KVM's own: KVM_MEMSLOT_INVALID and KVM_MEMSLOT_GMEM_ONLY. */
const OTHER_FLAGS = Array.from({ length: 29 }, (_, index) => (1 << (index + 3)) >>> 0)

describe('a memslot with a guest_memfd', () => {
  cases(
    WRONG,
    ({ what }) => `is refused with EINVAL for ${what}, and added without it`,
    { needs: [sharedGuestMemfd] },
    ({ kvm }, { change }) => {
      using vm = kvm.createVm()
      using file = vm.createGuestMemfd({ size: pages(4) })

      const add = () => vm.setMemslot({ ...GOOD, guestMemfd: file, ...change })

      expect(add).toFailWith('EINVAL', 'KVM_SET_USER_MEMORY_REGION2')
      expect(() => vm.setMemslot({ ...GOOD, guestMemfd: file })).not.toThrow()
    },
  )

  test('of a SW_PROTECTED VM is refused with EINVAL for all that too', { needs: [vmType.swProtected] }, ({
    kvm,
  }) => {
    using vm = kvm.createVm({ type: 'SW_PROTECTED' })
    using file = vm.createGuestMemfd({ size: pages(4) })
    const add = (change: Partial<Memslot>) => vm.setMemslot({ ...GOOD, guestMemfd: file, ...change })

    const seen = WRONG.map(({ what, change }) => ({ what, errno: errnoOf(() => add(change)) }))

    expect(seen).toEqual(WRONG.map(({ what }) => ({ what, errno: 'EINVAL' })))
    expect(() => add({})).not.toThrow()
  })

  onEveryVmType(({ type, bindable }) => {
    test('is refused with EINVAL with each flag that is not defined', { needs: bindable }, ({ kvm }) => {
      using vm = kvm.createVm({ type })
      using file = vm.createGuestMemfd({ size: pages(4) })

      const outcomes = OTHER_FLAGS.map((flag) =>
        errnoOf(() =>
          vm.setMemslot({ ...GOOD, guestMemfd: file, flags: (flag | KVM_MEM_GUEST_MEMFD) >>> 0 }),
        ),
      )

      expect(outcomes).toEqual(OTHER_FLAGS.map(() => 'EINVAL'))
    })

    test('cannot be made by KVM_SET_USER_MEMORY_REGION, which knows no such flag', { needs: bindable }, ({
      kvm,
    }) => {
      using vm = kvm.createVm({ type })

      expect(() => vm.setMemslotV1({ ...GOOD, flags: KVM_MEM_GUEST_MEMFD })).toFailWith(
        'EINVAL',
        'KVM_SET_USER_MEMORY_REGION',
      )

      expect(() => vm.setMemslotV1(GOOD)).not.toThrow()
    })

    test('may have the id just below KVM_CAP_NR_MEMSLOTS, not that id', { needs: bindable }, ({ kvm }) => {
      using vm = kvm.createVm({ type })
      using file = vm.createGuestMemfd({ size: pages(4) })
      const ids = vm.capability('NR_MEMSLOTS')

      expect(() => vm.setMemslot({ ...GOOD, slot: ids, guestMemfd: file })).toFailWith('EINVAL')
      expect(() => vm.setMemslot({ ...GOOD, slot: ids - 1, guestMemfd: file })).not.toThrow()
    })

    test('may be in the last address space of KVM_CAP_MULTI_ADDRESS_SPACE, not in the next', {
      needs: [...bindable, cap('MULTI_ADDRESS_SPACE', type)],
    }, ({ kvm }) => {
      using vm = kvm.createVm({ type })
      using file = vm.createGuestMemfd({ size: pages(4) })
      const spaces = vm.capability('MULTI_ADDRESS_SPACE')
      const slotIn = (space: number) => (space << 16) | GOOD.slot

      expect(() => vm.setMemslot({ ...GOOD, slot: slotIn(spaces), guestMemfd: file })).toFailWith('EINVAL')
      expect(() => vm.setMemslot({ ...GOOD, slot: slotIn(spaces - 1), guestMemfd: file })).not.toThrow()
    })

    test('may have no host memory: userspace_addr 0, or an address where nothing is mapped', {
      needs: bindable,
    }, ({ kvm }) => {
      using vm = kvm.createVm({ type })
      using file = vm.createGuestMemfd({ size: pages(8) })

      expect(() => vm.setMemslot({ ...GOOD, hva: 0n, guestMemfd: file })).not.toThrow()
      expect(() =>
        vm.setMemslot({
          ...GOOD,
          slot: 2,
          gpa: gpa(0x2000_0000),
          hva: 0x1_0000n,
          guestMemfd: file,
          guestMemfdOffset: pages(4),
        }),
      ).not.toThrow()
    })
  })

  test('is refused with EINVAL for 2^31 pages, whatever the size of the file', {
    needs: [sharedGuestMemfd],
  }, ({ kvm }) => {
    using vm = kvm.createVm()
    using file = vm.createGuestMemfd({ size: pages(MAX_PAGES + 1n) })

    expect(() =>
      vm.setMemslot({ ...GOOD, gpa: gpa(0), size: pages(MAX_PAGES + 1n), guestMemfd: file }),
    ).toFailWith('EINVAL')
  })
})

const LIMITS: readonly { what: string; needs: readonly Need[]; bits: (kvm: Kvm) => bigint }[] = [
  { what: "the host's MAXPHYADDR with two-dimensional paging", needs: [tdp], bits: maxPhysicalAddressBits },
  { what: '52 bits with shadow paging', needs: [not(tdp)], bits: () => 52n },
]

describe('the highest gpa of a memslot with a guest_memfd', () => {
  // kvm_mmu_max_gfn() (arch/x86/kvm/mmu.h, 7.3.4).
  cases(
    LIMITS,
    ({ what }) => `is ${what}: the last page is taken, the next refused with EINVAL`,
    ({ needs }) => ({ needs: [sharedGuestMemfd, ...needs] }),
    ({ kvm }, { bits }) => {
      using vm = kvm.createVm()
      using file = vm.createGuestMemfd({ size: pages(2) })
      const end = 1n << bits(kvm)
      const add = (from: bigint, size = pages(1)) =>
        vm.setMemslot({ slot: 1, gpa: gpa(from), size, guestMemfd: file })

      expect(() => add(end)).toFailWith('EINVAL')
      expect(() => add(end - pages(1), pages(2))).toFailWith('EINVAL')
      expect(() => add(end - pages(1))).not.toThrow()
    },
  )
})
