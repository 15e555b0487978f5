// SPDX-License-Identifier: Apache-2.0
import { O_CLOEXEC } from 'gmem/abi'
import { binding, Mapping } from 'gmem/kvm'
import {
  cases,
  describe,
  expect,
  type GmemContext,
  guestMemfdFlag,
  type Need,
  need,
  pages,
  sharedGuestMemfd,
} from 'gmem/testing'
import { sysNumber } from './support/system-calls.js'

const { addon } = binding

/** include/uapi/linux/userfaultfd.h, 7.3.4. */
const UFFD_API = 0xaan
const UFFDIO_API = 0xc018aa3f
const UFFDIO_REGISTER = 0xc020aa00
const MODES = [
  { mode: 'missing', bit: 1n },
  { mode: 'write-protect', bit: 2n },
  { mode: 'minor', bit: 4n },
]
const KINDS = [
  { what: 'a shared guest_memfd', flags: { mmap: true, initShared: true }, needs: [sharedGuestMemfd] },
  { what: 'a private guest_memfd', flags: { mmap: true }, needs: [guestMemfdFlag.mmap()] },
]

const userFaults: Need = need('userfaultfd(2)', () => {
  try {
    addon.close(sysNumber('userfaultfd', O_CLOEXEC))
    return null
  } catch (error) {
    return error instanceof Error ? error.message : String(error)
  }
})

/** A new userfaultfd, closed after the test. */
function openUserFaults({ defer }: Pick<GmemContext, 'defer'>): number {
  const fd = sysNumber('userfaultfd', O_CLOEXEC)
  defer(() => addon.close(fd))
  // struct uffdio_api: api, features, ioctls.
  ioctl(fd, UFFDIO_API, [UFFD_API, 0n, 0n])
  return fd
}

/** struct uffdio_register: start, len, mode, ioctls. */
function register(fd: number, mapping: Mapping, mode: bigint): void {
  ioctl(fd, UFFDIO_REGISTER, [mapping.hva, mapping.size, mode, 0n])
}

function ioctl(fd: number, request: number, fields: readonly bigint[]): void {
  addon.ioctl(fd, request, new Uint8Array(BigUint64Array.from(fields).buffer))
}

// The posted support (facts: guest-memfd-abi.md 3.13) is in no release up to 7.3: the file's mappings have no vm_uffd_ops.
describe('userfaultfd(2)', () => {
  cases(
    KINDS.flatMap((kind) => MODES.map((mode) => ({ ...kind, ...mode }))),
    ({ what, mode }) =>
      `cannot watch a mapping of ${what} for ${mode} faults: EINVAL, and it works as before`,
    ({ needs }) => ({ needs: [...needs, userFaults] }),
    (context, { flags, bit }) => {
      using vm = context.kvm.createVm()
      const mapping = vm.createGuestMemfd({ size: pages(2), flags }).mmap()
      using ordinary = Mapping.anonymous(pages(2))
      const fd = openUserFaults(context)
      const before = mapping.probe(pages(1)).ok

      expect(() => register(fd, mapping, bit)).toFailWith('EINVAL')

      expect(mapping.probe(pages(1)).ok).toBe(before)
      expect(() => register(fd, ordinary, 1n)).not.toThrow()
    },
  )
})
