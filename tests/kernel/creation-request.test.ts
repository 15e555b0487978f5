// SPDX-License-Identifier: Apache-2.0
import {
  F_GETFD,
  F_GETFL,
  KVM_CREATE_GUEST_MEMFD,
  kvm_create_guest_memfd,
  O_LARGEFILE,
  O_RDWR,
  PROT_NONE,
  PROT_READ,
} from 'gmem/abi'
import { binding, type Vm } from 'gmem/kvm'
import { bytes, cases, describe, expect, guestMemfd, pages, test } from 'gmem/testing'
import { errnoOf } from './support/conversion.js'
import { pageBeforeHole, sys, sysNumber } from './support/system-calls.js'

const needs = [guestMemfd()]

const REQUEST = kvm_create_guest_memfd.encode({ size: pages(1) })
const REQUEST_BYTES = BigInt(kvm_create_guest_memfd.size)

const RLIMIT_NOFILE = 7

/** Soft and hard limit of open files (struct rlimit64). */
function fileLimits(): BigUint64Array<ArrayBuffer> {
  const limits = new BigUint64Array(2)
  sys('prlimit64', 0, RLIMIT_NOFILE, null, new Uint8Array(limits.buffer))
  return limits
}

/** What KVM_CREATE_GUEST_MEMFD comes to while this process may have fds below `limit` only: an errno, or ''. */
function outcomeWithin(limit: number, vm: Vm): string {
  const limits = fileLimits()
  const [soft, hard] = [limits[0] ?? 0n, limits[1] ?? 0n]
  sys('prlimit64', 0, RLIMIT_NOFILE, new Uint8Array(BigUint64Array.of(BigInt(limit), hard).buffer), null)
  try {
    return errnoOf(() => vm.createGuestMemfd({ size: pages(1) }).close())
  } finally {
    sys('prlimit64', 0, RLIMIT_NOFILE, new Uint8Array(BigUint64Array.of(soft, hard).buffer), null)
  }
}

/** The fd that the next open file of this process gets. */
function nextFd(): number {
  const fd = sysNumber('memfd_create', new Uint8Array(1), 0)
  binding.addon.close(fd)
  return fd
}

describe('the request of KVM_CREATE_GUEST_MEMFD', () => {
  test('may have anything in its reserved fields', { needs }, ({ kvm, defer }) => {
    using vm = kvm.createVm()
    const reserved = Array.from({ length: 6 }, () => 0xdead_beef_dead_beefn)

    // kvm_gmem_create() never looks at them (7.3.4); a kernel that gives them a meaning has to break this.
    const fd = vm.ioctl(KVM_CREATE_GUEST_MEMFD, kvm_create_guest_memfd.encode({ size: pages(1), reserved }))

    defer(() => binding.addon.close(fd))
    expect(fd).toBeGreaterThan(2)
  })

  test('is left as it was', { needs }, ({ kvm, defer }) => {
    using vm = kvm.createVm()
    const request = kvm_create_guest_memfd.encode({ size: pages(3), reserved: [1n, 2n, 3n, 4n, 5n, 6n] })
    const before = request.slice()

    const fd = vm.ioctl(KVM_CREATE_GUEST_MEMFD, request)

    defer(() => binding.addon.close(fd))
    expect(request).toEqual(before)
  })

  cases(
    [
      { what: 'at NULL', address: 0n },
      { what: 'in the kernel half of the address space', address: 0xffff_8000_0000_0000n },
      { what: 'at an address that is not canonical', address: 1n << 60n },
    ],
    ({ what }) => `${what} is refused with EFAULT`,
    { needs },
    ({ kvm }, { address }) => {
      using vm = kvm.createVm()

      expect(() => vm.ioctl(KVM_CREATE_GUEST_MEMFD, address)).toFailWith('EFAULT')
    },
  )

  test('may end with its page, but one byte further is EFAULT', { needs }, (context) => {
    using vm = context.kvm.createVm()
    const page = pageBeforeHole(context)
    page.write(bytes(pages(1) - REQUEST_BYTES), REQUEST)

    const fd = vm.ioctl(KVM_CREATE_GUEST_MEMFD, page.hvaOf(bytes(pages(1) - REQUEST_BYTES)))
    const oneTooFar = () => vm.ioctl(KVM_CREATE_GUEST_MEMFD, page.hvaOf(bytes(pages(1) - REQUEST_BYTES + 1n)))

    context.defer(() => binding.addon.close(fd))
    expect(fd).toBeGreaterThan(2)
    expect(oneTooFar).toFailWith('EFAULT')
  })

  test('may be read-only, though the ioctl is _IOWR, but not PROT_NONE', { needs }, (context) => {
    using vm = context.kvm.createVm()
    const page = pageBeforeHole(context)
    page.write(bytes(0), REQUEST)

    page.mprotect(PROT_READ, { offset: pages(0), size: pages(1) })
    const fd = vm.ioctl(KVM_CREATE_GUEST_MEMFD, page.hva)
    page.mprotect(PROT_NONE, { offset: pages(0), size: pages(1) })
    const unreadable = () => vm.ioctl(KVM_CREATE_GUEST_MEMFD, page.hva)

    context.defer(() => binding.addon.close(fd))
    expect(fd).toBeGreaterThan(2)
    expect(unreadable).toFailWith('EFAULT')
  })
})

describe('the fd of a new guest_memfd', () => {
  test('is read-write, for large files, and not close-on-exec', { needs }, ({ kvm, defer }) => {
    using vm = kvm.createVm()

    const fd = vm.ioctl(KVM_CREATE_GUEST_MEMFD, REQUEST.slice())

    defer(() => binding.addon.close(fd))
    // get_unused_fd_flags(0): unlike the other fds of KVM, which are close-on-exec.
    expect(sysNumber('fcntl', fd, F_GETFD)).toBe(0)
    expect(sysNumber('fcntl', vm.fd, F_GETFD)).toBe(1)
    expect(sysNumber('fcntl', fd, F_GETFL)).toBe(O_RDWR | O_LARGEFILE)
  })

  test('is the lowest free one, and EMFILE where RLIMIT_NOFILE is just below it', { needs }, ({ kvm }) => {
    using vm = kvm.createVm()
    const next = nextFd()

    expect(outcomeWithin(next, vm)).toBe('EMFILE')
    expect(outcomeWithin(next + 1, vm)).toBe('')

    expect(nextFd()).toBe(next)
  })
})

describe('KVM_CREATE_GUEST_MEMFD', () => {
  test('is an ioctl of VMs only', { needs }, ({ kvm }) => {
    using vm = kvm.createVm()
    using file = vm.createGuestMemfd({ size: pages(1) })

    // kvm_arch_dev_ioctl() says EINVAL for what it does not know (7.3.4), a VM and a guest_memfd say ENOTTY.
    expect(() => kvm.ioctl(KVM_CREATE_GUEST_MEMFD, REQUEST.slice())).toFailWith('EINVAL')
    expect(() => file.ioctl(KVM_CREATE_GUEST_MEMFD, REQUEST.slice())).toFailWith('ENOTTY')
    expect(() => vm.ioctl(KVM_CREATE_GUEST_MEMFD + 0x100, REQUEST.slice())).toFailWith('ENOTTY')
  })
})
