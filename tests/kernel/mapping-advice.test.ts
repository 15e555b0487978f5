// SPDX-License-Identifier: Apache-2.0
import {
  MADV_COLD,
  MADV_COLLAPSE,
  MADV_DONTDUMP,
  MADV_DONTNEED,
  MADV_DONTNEED_LOCKED,
  MADV_FREE,
  MADV_HUGEPAGE,
  MADV_NOHUGEPAGE,
  MADV_NORMAL,
  MADV_PAGEOUT,
  MADV_POPULATE_READ,
  MADV_POPULATE_WRITE,
  MADV_REMOVE,
  MADV_WILLNEED,
  MADV_WIPEONFORK,
} from 'gmem/abi'
import { cases, describe, expect, guestMemfdFlag, need, pages, sharedGuestMemfd, test } from 'gmem/testing'
import { sys } from './support/system-calls.js'
import { onEveryVmType } from './support/vm-types.js'

const needs = [sharedGuestMemfd]
const SHARED = { mmap: true, initShared: true }
const MS_SYNC = 4
const MS_ASYNC = 1
/** What MADV_COLLAPSE would make one huge page of. */
const TWO_MIB = pages(512)

/** Not only huge pages in the kernel, but MADV_COLLAPSE among its advices. */
const collapse = need('MADV_COLLAPSE', (target) =>
  target.thp ? null : 'the kernel has no transparent huge pages',
)

describe('a mapping of a shared guest_memfd', () => {
  cases(
    [
      { what: 'MADV_NORMAL', advice: MADV_NORMAL },
      { what: 'MADV_WILLNEED', advice: MADV_WILLNEED },
      { what: 'MADV_DONTNEED', advice: MADV_DONTNEED },
      { what: 'MADV_DONTNEED_LOCKED', advice: MADV_DONTNEED_LOCKED },
      { what: 'MADV_COLD', advice: MADV_COLD },
      { what: 'MADV_PAGEOUT', advice: MADV_PAGEOUT },
      { what: 'MADV_DONTDUMP', advice: MADV_DONTDUMP },
      { what: 'MADV_HUGEPAGE', advice: MADV_HUGEPAGE },
      { what: 'MADV_NOHUGEPAGE', advice: MADV_NOHUGEPAGE },
      { what: 'MADV_POPULATE_READ', advice: MADV_POPULATE_READ },
      { what: 'MADV_POPULATE_WRITE', advice: MADV_POPULATE_WRITE },
    ],
    ({ what }) => `takes ${what}, and keeps its contents`,
    { needs },
    ({ kvm }, { advice }) => {
      using vm = kvm.createVm()
      using file = vm.createGuestMemfd({ size: pages(4), flags: SHARED })
      const mapping = file.mmap()
      mapping.fill(0x39)

      mapping.madvise(advice)

      expect(mapping).toBeFilledWith(0x39)
      expect(file.mmap()).toBeFilledWith(0x39)
    },
  )

  cases(
    [
      { what: 'MADV_FREE', advice: MADV_FREE },
      { what: 'MADV_WIPEONFORK', advice: MADV_WIPEONFORK },
    ],
    ({ what }) => `refuses ${what}, which is for anonymous memory, with EINVAL and keeps its contents`,
    { needs },
    ({ kvm }, { advice }) => {
      using vm = kvm.createVm()
      using file = vm.createGuestMemfd({ size: pages(4), flags: SHARED })
      const mapping = file.mmap()
      mapping.fill(0x39)

      expect(() => mapping.madvise(advice)).toFailWith('EINVAL', 'madvise')

      expect(mapping).toBeFilledWith(0x39)
    },
  )

  test('refuses MADV_COLLAPSE with EINVAL: its pages stay small', { needs: [...needs, collapse] }, ({
    kvm,
  }) => {
    using vm = kvm.createVm()
    using file = vm.createGuestMemfd({ size: TWO_MIB, flags: SHARED })
    const mapping = file.mmap()
    mapping.fill(0x39)

    expect(() => mapping.madvise(MADV_COLLAPSE)).toFailWith('EINVAL', 'madvise')

    expect(mapping).toBeFilledWith(0x39)
  })

  test('punches a hole by MADV_REMOVE: exactly that page reads zero', { needs }, ({ kvm }) => {
    using vm = kvm.createVm()
    using file = vm.createGuestMemfd({ size: pages(4), flags: SHARED })
    const mapping = file.mmap()
    mapping.fill(0x39)

    mapping.madvise(MADV_REMOVE, { offset: pages(1), size: pages(1) })

    expect(mapping).toBeFilledWith(0x39, { offset: pages(0), size: pages(1) })
    expect(mapping).toBeFilledWith(0, { offset: pages(1), size: pages(1) })
    expect(mapping).toBeFilledWith(0x39, { offset: pages(2), size: pages(2) })
  })

  test('allocates by MADV_POPULATE_WRITE, and by nothing before', { needs }, ({ kvm }) => {
    using vm = kvm.createVm()
    using file = vm.createGuestMemfd({ size: pages(4), flags: SHARED })
    const mapping = file.mmap()

    const before = [...mapping.mincore()]
    mapping.madvise(MADV_POPULATE_WRITE, { offset: pages(1), size: pages(2) })

    expect(before).toEqual([0, 0, 0, 0])
    expect([...mapping.mincore()]).toEqual([0, 1, 1, 0])
    expect(mapping).toBeFilledWith(0)
  })

  test('fails to populate beyond the end of the file with EFAULT', { needs }, ({ kvm }) => {
    using vm = kvm.createVm()
    using file = vm.createGuestMemfd({ size: pages(4), flags: SHARED })
    const mapping = file.mmap({ size: pages(5) })

    expect(() => mapping.madvise(MADV_POPULATE_READ)).toFailWith('EFAULT', 'madvise')

    expect([...mapping.mincore({ offset: pages(0), size: pages(4) })]).toEqual([1, 1, 1, 1])
  })

  test('can be locked, which allocates it, and unlocked', { needs }, ({ kvm }) => {
    using vm = kvm.createVm()
    using file = vm.createGuestMemfd({ size: pages(4), flags: SHARED })
    const mapping = file.mmap()

    mapping.mlock({ offset: pages(0), size: pages(2) })

    expect([...mapping.mincore()]).toEqual([1, 1, 0, 0])
    mapping.munlock()
    expect(mapping).toBeFilledWith(0)
  })

  test('cannot be synced: msync(2) with MS_SYNC says EINVAL, with MS_ASYNC it has nothing to do', {
    needs,
  }, ({ kvm }) => {
    using vm = kvm.createVm()
    using file = vm.createGuestMemfd({ size: pages(4), flags: SHARED })
    const mapping = file.mmap()

    expect(() => sys('msync', mapping.hva, pages(4), MS_SYNC)).toFailWith('EINVAL')
    expect(sys('msync', mapping.hva, pages(4), MS_ASYNC)).toBe(0n)
  })
})

describe('a mapping of a private guest_memfd', () => {
  onEveryVmType(({ type, offered }) => {
    const needs = [...offered, guestMemfdFlag.mmap(type)]

    test('raises SIGBUS at the exact byte of every load and store', { needs }, ({ kvm }) => {
      using vm = kvm.createVm({ type })
      using file = vm.createGuestMemfd({ size: pages(2), flags: { mmap: true } })
      const mapping = file.mmap()
      const last = pages(2) - 1n

      expect(mapping.probe(pages(0), 1)).toBeSignal('SIGBUS', { code: 'BUS_ADRERR', address: mapping.hva })
      expect(mapping.probe(pages(1), 8)).toBeSignal('SIGBUS', {
        code: 'BUS_ADRERR',
        address: mapping.hva + pages(1),
      })
      expect(mapping.probeWrite(pages(0), 1n, 4)).toBeSignal('SIGBUS', {
        code: 'BUS_ADRERR',
        address: mapping.hva,
      })
      expect(mapping.probeWrite(last as typeof file.size, 1n, 1)).toBeSignal('SIGBUS', {
        code: 'BUS_ADRERR',
        address: mapping.hva + last,
      })
    })

    test('cannot be populated or locked, and nothing is allocated', { needs }, ({ kvm }) => {
      using vm = kvm.createVm({ type })
      using file = vm.createGuestMemfd({ size: pages(2), flags: { mmap: true } })
      const mapping = file.mmap()

      expect(() => mapping.madvise(MADV_POPULATE_READ)).toFailWith('EFAULT', 'madvise')
      expect(() => mapping.madvise(MADV_POPULATE_WRITE)).toFailWith('EFAULT', 'madvise')
      expect(() => mapping.mlock()).toFailWith('ENOMEM', 'mlock')

      expect([...mapping.mincore()]).toEqual([0, 0])
    })

    test('stays out of reach after fallocate(2) has allocated its pages', { needs }, ({ kvm }) => {
      using vm = kvm.createVm({ type })
      using file = vm.createGuestMemfd({ size: pages(2), flags: { mmap: true } })
      const mapping = file.mmap()

      file.allocate()

      expect(mapping.probe(pages(0))).toBeSignal('SIGBUS', { code: 'BUS_ADRERR' })
      expect(mapping.probeWrite(pages(1), 1n)).toBeSignal('SIGBUS', { code: 'BUS_ADRERR' })
    })
  })
})
