// SPDX-License-Identifier: Apache-2.0
import {
  KVM_MEM_GUEST_MEMFD,
  KVM_SET_USER_MEMORY_REGION2,
  kvm_userspace_memory_region2,
  PROT_READ,
} from 'gmem/abi'
import type { Bytes, GuestMemfd, Vm } from 'gmem/kvm'
import {
  bytes,
  cases,
  describe,
  expect,
  type GmemContext,
  gpa,
  type KnownIssue,
  pages,
  sharedGuestMemfd,
  test,
  vmType,
} from 'gmem/testing'
import { errnoOf } from './support/conversion.js'
import { memfd, pageBeforeHole, pathFd } from './support/system-calls.js'
import { onEveryVmType } from './support/vm-types.js'

const BASE = gpa(0x1000_0000)
const SLOT = 1
const MEMSLOT = { slot: SLOT, gpa: BASE, size: pages(4) }
const U64_MAX = (1n << 64n) - 1n
const S64_MAX = (1n << 63n) - 1n
/** No process here has so many files. */
const UNUSED_FD = 1_000_000

/** kvm_gmem_bind() computed with a signed offset until eba85fee7fc6 (7.2): a sum of 2^63 was negative, so below any size. */
const SIGNED_OFFSET: KnownIssue = {
  id: 'signed-binding-offset',
  symptom: 'a memslot is bound to a range of a guest_memfd that lies beyond its end and reaches up to 2^63',
  expected: 'EINVAL: offset + size is beyond the end of the file',
  kernels: ['6.18', '6.19', '7.0', '7.1'],
}

type FdOf = (context: GmemContext, vm: Vm, file: GuestMemfd) => number

const WRONG_FDS: readonly { what: string; errno: string; fdOf: FdOf }[] = [
  { what: 'a number that is no fd', errno: 'EBADF', fdOf: () => UNUSED_FD },
  { what: '-1', errno: 'EBADF', fdOf: () => -1 },
  // fget() does not give out files that were opened with O_PATH.
  {
    what: 'an O_PATH fd of a guest_memfd',
    errno: 'EBADF',
    fdOf: (context, _, file) => pathFd(context, file),
  },
  { what: '/dev/kvm', errno: 'EINVAL', fdOf: ({ kvm }) => kvm.fd },
  { what: 'the VM itself', errno: 'EINVAL', fdOf: (_, vm) => vm.fd },
  { what: 'an ordinary memfd', errno: 'EINVAL', fdOf: (context) => memfd(context, pages(4)) },
  {
    what: 'a guest_memfd of another VM',
    errno: 'EINVAL',
    fdOf: ({ kvm }) => kvm.createVm().createGuestMemfd({ size: pages(4) }).fd,
  },
]

const WRONG_OFFSETS: readonly { what: string; offset: bigint; size: Bytes; knownIssue?: KnownIssue }[] = [
  { what: 'one byte into the file', offset: 1n, size: pages(1) },
  { what: 'one byte before a page', offset: 4095n, size: pages(1) },
  { what: 'one page too long from the start', offset: 0n, size: pages(5) },
  { what: 'one page beyond the end', offset: pages(3), size: pages(2) },
  { what: 'at the very end of the file', offset: pages(4), size: pages(1) },
  { what: 'far beyond the end of the file', offset: pages(1_000_000), size: pages(1) },
  { what: 'in the last page below 2^63', offset: S64_MAX - 4095n, size: pages(1), knownIssue: SIGNED_OFFSET },
  { what: 'at 2^63', offset: S64_MAX + 1n, size: pages(1) },
  { what: 'in the page before the last below 2^64', offset: U64_MAX - 8191n, size: pages(1) },
  {
    what: 'in the last page below 2^64, so that offset + size is 0',
    offset: U64_MAX - 4095n,
    size: pages(1),
  },
  { what: 'so that offset + size wraps into the file', offset: U64_MAX - 4095n, size: pages(2) },
]

describe('binding a memslot to a guest_memfd', () => {
  cases(
    WRONG_FDS,
    ({ what, errno }) => `is refused with ${errno} for ${what}, and the slot is free after it`,
    { needs: [sharedGuestMemfd] },
    (context, { errno, fdOf }) => {
      using vm = context.kvm.createVm()
      using file = vm.createGuestMemfd({ size: pages(4) })

      const bind = () => vm.setMemslot({ ...MEMSLOT, guestMemfd: fdOf(context, vm, file) })

      expect(bind).toFailWith(errno, 'KVM_SET_USER_MEMORY_REGION2')
      expect(() => vm.deleteMemslot(SLOT)).toFailWith('EINVAL')
      expect(() => vm.setMemslot({ ...MEMSLOT, guestMemfd: file })).not.toThrow()
    },
  )

  test('of a SW_PROTECTED VM is refused for all those fds too', {
    needs: [vmType.swProtected],
  }, (context) => {
    using vm = context.kvm.createVm({ type: 'SW_PROTECTED' })
    using file = vm.createGuestMemfd({ size: pages(4) })
    const bind = (fdOf: FdOf) => vm.setMemslot({ ...MEMSLOT, guestMemfd: fdOf(context, vm, file) })

    const seen = WRONG_FDS.map(({ what, fdOf }) => ({ what, errno: errnoOf(() => bind(fdOf)) }))

    expect(seen).toEqual(WRONG_FDS.map(({ what, errno }) => ({ what, errno })))
    expect(() => vm.setMemslot({ ...MEMSLOT, guestMemfd: file })).not.toThrow()
  })

  onEveryVmType(({ type, bindable }) => {
    test('takes a duplicate of its fd', { needs: bindable }, ({ kvm }) => {
      using vm = kvm.createVm({ type })
      using file = vm.createGuestMemfd({ size: pages(4) })
      using duplicate = file.dup()

      vm.setMemslot({ slot: SLOT, gpa: BASE, size: pages(2), guestMemfd: file })

      expect(() =>
        vm.setMemslot({
          slot: 2,
          gpa: gpa(0x2000_0000),
          size: pages(2),
          guestMemfd: duplicate,
          guestMemfdOffset: pages(2),
        }),
      ).not.toThrow()
    })

    test('works at every page up to the end of the file, with the last page as the last', {
      needs: bindable,
    }, ({ kvm }) => {
      using vm = kvm.createVm({ type })
      using file = vm.createGuestMemfd({ size: pages(4) })
      const bind = (offset: bigint, size: bigint) => {
        vm.setMemslot({
          slot: SLOT,
          gpa: BASE,
          size: bytes(size),
          guestMemfd: file,
          guestMemfdOffset: offset,
        })
        vm.deleteMemslot(SLOT)
      }

      expect(() => bind(0n, pages(4))).not.toThrow()
      expect(() => bind(pages(1), pages(3))).not.toThrow()
      expect(() => bind(pages(3), pages(1))).not.toThrow()
      expect(() => bind(pages(3), pages(2))).toFailWith('EINVAL')
    })
  })

  cases(
    WRONG_OFFSETS,
    ({ what }) => `is refused with EINVAL ${what}, and leaves the file's pages unbound`,
    ({ knownIssue }) => ({ needs: [sharedGuestMemfd], ...(knownIssue === undefined ? {} : { knownIssue }) }),
    ({ kvm }, { offset, size }) => {
      using vm = kvm.createVm()
      using file = vm.createGuestMemfd({ size: pages(4) })

      const bind = () =>
        vm.setMemslot({ slot: SLOT, gpa: BASE, size, guestMemfd: file, guestMemfdOffset: offset })

      expect(bind).toFailWith('EINVAL', 'KVM_SET_USER_MEMORY_REGION2')
      expect(() => vm.setMemslot({ slot: SLOT, gpa: BASE, size: pages(4), guestMemfd: file })).not.toThrow()
    },
  )

  test('works at the last page of the largest file, and not one page further', {
    needs: [sharedGuestMemfd],
    knownIssue: SIGNED_OFFSET,
  }, ({ kvm }) => {
    using vm = kvm.createVm()
    const size = S64_MAX - 4095n
    using file = vm.createGuestMemfd({ size: bytes(size) })
    const bind = (offset: bigint) =>
      vm.setMemslot({ slot: SLOT, gpa: BASE, size: pages(1), guestMemfd: file, guestMemfdOffset: offset })

    expect(() => bind(size)).toFailWith('EINVAL')
    expect(() => bind(size - 4096n)).not.toThrow()
  })

  test('ignores the padding of its request', { needs: [sharedGuestMemfd] }, ({ kvm }) => {
    using vm = kvm.createVm()
    using file = vm.createGuestMemfd({ size: pages(4) })
    const request = {
      slot: SLOT,
      flags: KVM_MEM_GUEST_MEMFD,
      guest_phys_addr: BASE,
      memory_size: pages(4),
      guest_memfd: file.fd,
      pad1: 0xffff_ffff,
      pad2: Array.from({ length: 14 }, () => U64_MAX),
    }

    vm.ioctl(KVM_SET_USER_MEMORY_REGION2, kvm_userspace_memory_region2.encode(request))

    expect(() => vm.deleteMemslot(SLOT)).not.toThrow()
  })

  test('reads the whole request: EFAULT where its last byte is out of reach', {
    needs: [sharedGuestMemfd],
  }, (context) => {
    using vm = context.kvm.createVm()
    using file = vm.createGuestMemfd({ size: pages(4) })
    const page = pageBeforeHole(context)
    const end = pages(1) - BigInt(kvm_userspace_memory_region2.size)
    const request = {
      slot: SLOT,
      flags: KVM_MEM_GUEST_MEMFD,
      guest_phys_addr: BASE,
      memory_size: pages(4),
      guest_memfd: file.fd,
    }
    page.write(bytes(end), kvm_userspace_memory_region2.encode(request))
    page.mprotect(PROT_READ, { offset: pages(0), size: pages(1) })

    expect(() => vm.ioctl(KVM_SET_USER_MEMORY_REGION2, page.hvaOf(bytes(end + 1n)))).toFailWith('EFAULT')
    expect(vm.ioctl(KVM_SET_USER_MEMORY_REGION2, page.hvaOf(bytes(end)))).toBe(0)
    expect(() => vm.ioctl(KVM_SET_USER_MEMORY_REGION2, 0n)).toFailWith('EFAULT')
  })
})
