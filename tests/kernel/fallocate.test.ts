// SPDX-License-Identifier: Apache-2.0
import {
  FALLOC_FL_COLLAPSE_RANGE,
  FALLOC_FL_INSERT_RANGE,
  FALLOC_FL_KEEP_SIZE,
  FALLOC_FL_PUNCH_HOLE,
  FALLOC_FL_UNSHARE_RANGE,
  FALLOC_FL_ZERO_RANGE,
} from 'gmem/abi'
import { cases, describe, expect, mib, pages, sharedGuestMemfd, test } from 'gmem/testing'
import { failureUnderSignals, tick } from './support/signals.js'
import { sys } from './support/system-calls.js'
import { onEveryVmType } from './support/vm-types.js'

const KEEP = FALLOC_FL_KEEP_SIZE
const PUNCH = FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE
const SHARED = { mmap: true, initShared: true }
const S64_MAX = (1n << 63n) - 1n

// Of a file of four pages that are all in use; each request would change it if it were accepted.
const MODES = [
  { what: 'no mode', mode: 0, errno: 'EOPNOTSUPP' },
  // vfs_fallocate() wants KEEP_SIZE with PUNCH_HOLE, before KVM is asked.
  { what: 'PUNCH_HOLE without KEEP_SIZE', mode: FALLOC_FL_PUNCH_HOLE, errno: 'EOPNOTSUPP' },
  { what: 'ZERO_RANGE', mode: FALLOC_FL_ZERO_RANGE, errno: 'EOPNOTSUPP' },
  { what: 'ZERO_RANGE and KEEP_SIZE', mode: FALLOC_FL_ZERO_RANGE | KEEP, errno: 'EOPNOTSUPP' },
  { what: 'COLLAPSE_RANGE', mode: FALLOC_FL_COLLAPSE_RANGE, errno: 'EOPNOTSUPP' },
  { what: 'INSERT_RANGE', mode: FALLOC_FL_INSERT_RANGE, errno: 'EOPNOTSUPP' },
  { what: 'UNSHARE_RANGE and KEEP_SIZE', mode: FALLOC_FL_UNSHARE_RANGE | KEEP, errno: 'EOPNOTSUPP' },
  { what: 'an unknown mode beside KEEP_SIZE', mode: 0x4000_0000 | KEEP, errno: 'EOPNOTSUPP' },
]

const REFUSED_RANGES = [
  { what: 'an offset of one byte', offset: 1n, length: 4096n, errno: 'EINVAL' },
  { what: 'an offset one byte before a page', offset: 4095n, length: 4096n, errno: 'EINVAL' },
  { what: 'an offset one byte into a page', offset: 4097n, length: 4096n, errno: 'EINVAL' },
  { what: 'a length of one byte', offset: 0n, length: 1n, errno: 'EINVAL' },
  { what: 'a length one byte short of a page', offset: 0n, length: 4095n, errno: 'EINVAL' },
  { what: 'a length one byte over a page', offset: 0n, length: 4097n, errno: 'EINVAL' },
  { what: 'a sum that is aligned of parts that are not', offset: 4095n, length: 4097n, errno: 'EINVAL' },
  { what: 'a length of 0', offset: 0n, length: 0n, errno: 'EINVAL' },
  { what: 'a negative length', offset: 0n, length: -4096n, errno: 'EINVAL' },
  { what: 'a negative offset', offset: -4096n, length: 4096n, errno: 'EINVAL' },
  { what: 'a range beyond 2^63', offset: S64_MAX - 4095n, length: 8192n, errno: 'EFBIG' },
]

describe('fallocate(2) of a guest_memfd', () => {
  cases(
    MODES,
    ({ what, errno }) => `with ${what} is refused with ${errno}, and changes nothing`,
    { needs: [sharedGuestMemfd] },
    ({ kvm }, { mode, errno }) => {
      using vm = kvm.createVm()
      using file = vm.createGuestMemfd({ size: pages(4), flags: SHARED })
      const mapping = file.mmap()
      mapping.fill(0x81)

      expect(() => file.fallocate({ mode, offset: 0n, length: 4096n })).toFailWith(errno, 'fallocate')

      expect(mapping).toBeFilledWith(0x81)
      expect(file.stat().size).toBe(pages(4))
    },
  )

  cases(
    REFUSED_RANGES,
    ({ what, errno }) => `refuses ${what} with ${errno}, to allocate and to punch`,
    { needs: [sharedGuestMemfd] },
    ({ kvm }, { offset, length, errno }) => {
      using vm = kvm.createVm()
      using file = vm.createGuestMemfd({ size: pages(4), flags: SHARED })
      const mapping = file.mmap()
      mapping.fill(0x81)
      const before = file.stat()

      expect(() => sys('fallocate', file.fd, KEEP, offset, length)).toFailWith(errno)
      expect(() => sys('fallocate', file.fd, PUNCH, offset, length)).toFailWith(errno)

      expect(mapping).toBeFilledWith(0x81)
      expect(file.stat()).toEqual(before)
    },
  )

  onEveryVmType(({ type, bindable, flags }) => {
    test('allocates up to the end of the file, and not a page further', { needs: bindable }, ({ kvm }) => {
      using vm = kvm.createVm({ type })
      using file = vm.createGuestMemfd({ size: pages(4), flags })

      file.allocate(file.span(pages(0), pages(4)))
      file.allocate(file.span(pages(3), pages(1)))

      expect(() => file.allocate(file.span(pages(0), pages(5)))).toFailWith('EINVAL', 'fallocate')
      expect(() => file.allocate(file.span(pages(3), pages(2)))).toFailWith('EINVAL', 'fallocate')
      expect(() => file.allocate(file.span(pages(4), pages(1)))).toFailWith('EINVAL', 'fallocate')
      expect(() => file.allocate(file.span(pages(1000), pages(1)))).toFailWith('EINVAL', 'fallocate')
      expect(file.stat().size).toBe(pages(4))
    })

    test('punches up to the end of the file, across it and beyond it', { needs: bindable }, ({ kvm }) => {
      using vm = kvm.createVm({ type })
      using file = vm.createGuestMemfd({ size: pages(4), flags })
      file.allocate()

      const punch = (offset: bigint, length: bigint) => sys('fallocate', file.fd, PUNCH, offset, length)

      expect(punch(pages(3), pages(1))).toBe(0n)
      expect(punch(pages(3), pages(2))).toBe(0n)
      expect(punch(pages(4), pages(1))).toBe(0n)
      expect(punch(pages(1000), pages(1))).toBe(0n)
      expect(punch(0n, S64_MAX - 4095n)).toBe(0n)
      expect(file.stat().size).toBe(pages(4))
    })
  })

  test('counts no blocks, whatever is allocated', { needs: [sharedGuestMemfd] }, ({ kvm }) => {
    using vm = kvm.createVm()
    using file = vm.createGuestMemfd({ size: pages(4), flags: SHARED })

    file.allocate()

    expect(file.stat().blocks).toBe(0n)
  })

  test('moves mtime and ctime forward, by allocating and by punching', { needs: [sharedGuestMemfd] }, async ({
    kvm,
  }) => {
    using vm = kvm.createVm()
    using file = vm.createGuestMemfd({ size: pages(4), flags: SHARED })

    const made = file.stat()
    await tick()
    file.allocate(file.span(pages(0), pages(1)))
    const allocated = file.stat()
    await tick()
    file.punchHole(file.span(pages(2), pages(1)))
    const punched = file.stat()

    expect(allocated.mtimeNs).toBeGreaterThan(made.mtimeNs)
    expect(allocated.ctimeNs).toBeGreaterThan(made.ctimeNs)
    expect(punched.mtimeNs).toBeGreaterThan(allocated.mtimeNs)
    expect(punched.ctimeNs).toBeGreaterThan(allocated.ctimeNs)
  })

  test('leaves mtime alone where it is refused', { needs: [sharedGuestMemfd] }, async ({ kvm }) => {
    using vm = kvm.createVm()
    using file = vm.createGuestMemfd({ size: pages(4), flags: SHARED })
    const made = file.stat()
    await tick()

    expect(() => file.allocate(file.span(pages(4), pages(1)))).toFailWith('EINVAL')

    expect(file.stat()).toEqual(made)
  })

  test('stops allocating with EINTR when a signal comes, and can be asked again', {
    needs: [sharedGuestMemfd],
  }, (context) => {
    using vm = context.kvm.createVm()
    // Long enough that a signal each ms comes in the middle soon: 8192 pages.
    using file = vm.createGuestMemfd({ size: mib(32), flags: SHARED })

    const errno = failureUnderSignals(context, () => {
      file.punchHole()
      file.allocate()
    })

    expect(errno).toBe('EINTR')
    expect(() => file.allocate(file.span(mib(31), mib(1)))).not.toThrow()
    expect(file.stat().size).toBe(mib(32))
  })
})
