// SPDX-License-Identifier: Apache-2.0
import {
  MAP_HUGE_2MB,
  MAP_HUGETLB,
  MAP_POPULATE,
  MAP_PRIVATE,
  MAP_SHARED,
  MAP_SHARED_VALIDATE,
  MAP_SYNC,
  PROT_EXEC,
  PROT_NONE,
  PROT_READ,
  PROT_WRITE,
} from 'gmem/abi'
import type { GuestMemfd, Vm } from 'gmem/kvm'
import { bytes, cases, describe, expect, guestMemfdFlag, pages, sharedGuestMemfd, test } from 'gmem/testing'
import { onEveryVmType } from './support/vm-types.js'

const needs = [sharedGuestMemfd]
const READ_WRITE = PROT_READ | PROT_WRITE

/** A file of four pages that the host may map and touch. */
function sharedFile(vm: Vm): GuestMemfd {
  return vm.createGuestMemfd({ size: pages(4), flags: { mmap: true, initShared: true } })
}

describe('mmap(2) of a guest_memfd', () => {
  onEveryVmType(({ type, offered }) => {
    test('without GUEST_MEMFD_FLAG_MMAP is refused with ENODEV, whatever is asked for', { needs: offered }, ({
      kvm,
    }) => {
      using vm = kvm.createVm({ type })
      using file = vm.createGuestMemfd({ size: pages(4) })

      expect(() => file.mmap({ flags: MAP_SHARED })).toFailWith('ENODEV', 'mmap')
      expect(() => file.mmap({ flags: MAP_SHARED_VALIDATE })).toFailWith('ENODEV', 'mmap')
      expect(() => file.mmap({ flags: MAP_PRIVATE })).toFailWith('ENODEV', 'mmap')
      expect(() => file.mmap({ prot: PROT_READ, size: pages(1) })).toFailWith('ENODEV', 'mmap')
      expect(() => file.mmap({ prot: PROT_NONE })).toFailWith('ENODEV', 'mmap')
    })

    test('is shared only: MAP_PRIVATE is refused with EINVAL, also for reading', {
      needs: [...offered, guestMemfdFlag.mmap(type)],
    }, ({ kvm }) => {
      using vm = kvm.createVm({ type })
      using file = vm.createGuestMemfd({ size: pages(4), flags: { mmap: true } })

      expect(() => file.mmap({ flags: MAP_PRIVATE })).toFailWith('EINVAL', 'mmap')
      expect(() => file.mmap({ flags: MAP_PRIVATE, prot: PROT_READ })).toFailWith('EINVAL', 'mmap')
      expect(() => file.mmap({ flags: MAP_PRIVATE, prot: PROT_NONE })).toFailWith('EINVAL', 'mmap')
      expect(file.mmap({ flags: MAP_SHARED }).size).toBe(pages(4))
    })
  })

  cases(
    [
      { what: 'PROT_EXEC', errno: 'EPERM', prot: PROT_READ | PROT_EXEC, flags: MAP_SHARED },
      { what: 'PROT_EXEC alone', errno: 'EPERM', prot: PROT_EXEC, flags: MAP_SHARED },
      { what: 'MAP_SYNC', errno: 'EOPNOTSUPP', prot: READ_WRITE, flags: MAP_SHARED_VALIDATE | MAP_SYNC },
      {
        what: 'MAP_HUGETLB',
        errno: 'EINVAL',
        prot: READ_WRITE,
        flags: MAP_SHARED | MAP_HUGETLB | MAP_HUGE_2MB,
      },
    ],
    ({ what, errno }) => `with ${what} is refused with ${errno}`,
    { needs },
    ({ kvm }, { errno, prot, flags }) => {
      using vm = kvm.createVm()
      using file = sharedFile(vm)

      expect(() => file.mmap({ prot, flags })).toFailWith(errno, 'mmap')
    },
  )

  test('may start at any page of the file, and at no other offset', { needs }, ({ kvm }) => {
    using vm = kvm.createVm()
    using file = sharedFile(vm)
    file.mmap().fill(0x11, { offset: pages(3), size: pages(1) })

    const last = file.mmap({ offset: pages(3), size: pages(1) })

    expect(last).toBeFilledWith(0x11)
    expect(() => file.mmap({ offset: 1n, size: pages(1) })).toFailWith('EINVAL', 'mmap')
    expect(() => file.mmap({ offset: 4095n, size: pages(1) })).toFailWith('EINVAL', 'mmap')
  })

  test('may map the last page of the largest file, where a store lands', { needs }, ({ kvm }) => {
    using vm = kvm.createVm()
    // The largest loff_t that is a multiple of a page.
    const size = bytes((1n << 63n) - 4096n)
    using file = vm.createGuestMemfd({ size, flags: { mmap: true, initShared: true } })

    const last = file.mmap({ offset: size - 4096n, size: pages(1) })
    last.fill(0x77)

    expect(file.mmap({ offset: size - 8192n, size: pages(2) }).read8(pages(0))).toBe(0)
    expect(file.mmap({ offset: size - 8192n, size: pages(2) })).toBeFilledWith(0x77, {
      offset: pages(1),
      size: pages(1),
    })
  })

  test('outlives close(2) of the fd, with its contents', { needs }, ({ kvm }) => {
    using vm = kvm.createVm()
    const file = sharedFile(vm)
    const mapping = file.mmap()
    mapping.fill(0x42)

    file.close()

    expect(mapping).toBeFilledWith(0x42)
    expect(mapping.probeWrite(pages(3), 7n)).toEqual({ ok: true, value: 7n })
  })
})

describe('a mapping of a shared guest_memfd', () => {
  test('reads zero at first touch', { needs }, ({ kvm }) => {
    using vm = kvm.createVm()
    using file = sharedFile(vm)

    const mapping = file.mmap()

    expect(mapping).toBeFilledWith(0)
  })

  test('reads zero beside a byte whose store was the first touch', { needs }, ({ kvm }) => {
    using vm = kvm.createVm()
    using file = sharedFile(vm)
    const mapping = file.mmap()

    mapping.write8(bytes(0x1234), 0xff)

    expect(mapping).toBeFilledWith(0, { offset: bytes(0x1000), size: bytes(0x234) })
    expect(mapping.read8(bytes(0x1234))).toBe(0xff)
    expect(mapping).toBeFilledWith(0, { offset: bytes(0x1235), size: bytes(0xdcb) })
  })

  test('is coherent with every other mapping of the file', { needs }, ({ kvm }) => {
    using vm = kvm.createVm()
    using file = sharedFile(vm)
    const whole = file.mmap()
    const part = file.mmap({ offset: pages(2), size: pages(1) })

    whole.fill(0xa1, { offset: pages(2), size: pages(1) })
    part.write8(bytes(5), 0xb2)

    expect(part.read8(bytes(4))).toBe(0xa1)
    expect(whole.read8(bytes(0x2005))).toBe(0xb2)
    expect(whole).toBeFilledWith(0, { offset: pages(3), size: pages(1) })
  })

  test('leaves its contents in the file when it is unmapped', { needs }, ({ kvm }) => {
    using vm = kvm.createVm()
    using file = sharedFile(vm)
    const first = file.mmap()
    first.fill(0x5e)

    first.close()

    expect(file.mmap()).toBeFilledWith(0x5e)
  })

  test('may map beyond the end of the file, where both a load and a store raise SIGBUS', { needs }, ({
    kvm,
  }) => {
    using vm = kvm.createVm()
    using file = sharedFile(vm)
    const mapping = file.mmap({ size: pages(16) })

    // The last byte of the file, the first beyond it, and the last byte of the mapping.
    const end = pages(4)
    expect(mapping.probe(bytes(end - 1n), 1)).toEqual({ ok: true, value: 0n })
    expect(mapping.probe(end, 1)).toBeSignal('SIGBUS', { code: 'BUS_ADRERR', address: mapping.hvaOf(end) })
    expect(mapping.probeWrite(bytes(end + 123n), 1n, 1)).toBeSignal('SIGBUS', {
      code: 'BUS_ADRERR',
      address: mapping.hvaOf(bytes(end + 123n)),
    })
    expect(mapping.probe(bytes(pages(16) - 1n), 1)).toBeSignal('SIGBUS', { code: 'BUS_ADRERR' })

    expect(file.stat().size).toBe(end)
  })

  test('stays as it was when a fill runs over the end of the file', { needs }, ({ kvm }) => {
    using vm = kvm.createVm()
    using file = sharedFile(vm)
    const mapping = file.mmap({ size: pages(5) })

    expect(() => mapping.fill(0xaa)).toThrow(expect.objectContaining({ signal: 'SIGBUS' }))

    expect(mapping).toBeFilledWith(0xaa, { offset: pages(0), size: pages(4) })
  })

  test('obeys its protection: SIGSEGV for a store where it is read-only, and for a load where it is PROT_NONE', {
    needs,
  }, ({ kvm }) => {
    using vm = kvm.createVm()
    using file = sharedFile(vm)
    const mapping = file.mmap({ prot: PROT_READ })

    expect(mapping.probe(pages(1))).toEqual({ ok: true, value: 0n })
    expect(mapping.probeWrite(pages(1), 1n)).toBeSignal('SIGSEGV', {
      code: 'SEGV_ACCERR',
      address: mapping.hvaOf(pages(1)),
    })
    mapping.mprotect(PROT_NONE)
    expect(mapping.probe(pages(1))).toBeSignal('SIGSEGV', { code: 'SEGV_ACCERR' })
    mapping.mprotect(READ_WRITE)
    expect(mapping.probeWrite(pages(1), 9n)).toEqual({ ok: true, value: 9n })
  })

  test('cannot be made executable: mprotect(2) says EACCES, and nothing changes', { needs }, ({ kvm }) => {
    using vm = kvm.createVm()
    using file = sharedFile(vm)
    const mapping = file.mmap()

    expect(() => mapping.mprotect(READ_WRITE | PROT_EXEC)).toFailWith('EACCES', 'mprotect')
    expect(() => mapping.mprotect(PROT_EXEC)).toFailWith('EACCES', 'mprotect')

    expect(mapping.probeWrite(pages(0), 1n)).toEqual({ ok: true, value: 1n })
  })

  test('is populated by MAP_POPULATE, page by page', { needs }, ({ kvm }) => {
    using vm = kvm.createVm()
    using file = sharedFile(vm)

    const mapping = file.mmap({ offset: pages(1), size: pages(2), flags: MAP_SHARED | MAP_POPULATE })

    expect([...mapping.mincore()]).toEqual([1, 1])
    expect([...file.mmap().mincore()]).toEqual([0, 1, 1, 0])
  })
})
