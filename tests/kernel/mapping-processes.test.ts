// SPDX-License-Identifier: Apache-2.0
import { MADV_DOFORK, MADV_DONTFORK, MREMAP_FIXED, MREMAP_MAYMOVE } from 'gmem/abi'
import { Mapping } from 'gmem/kvm'
import { bytes, describe, expect, guestMemfdFlag, pages, sharedGuestMemfd, test } from 'gmem/testing'
import { sys } from './support/system-calls.js'
import { onEveryVmType } from './support/vm-types.js'

const needs = [sharedGuestMemfd]
const SHARED = { mmap: true, initShared: true }

describe('a mapping of a guest_memfd in a child made by fork(2)', () => {
  test('is the same memory: each sees what the other stores', { needs }, ({ kvm }) => {
    using vm = kvm.createVm()
    using file = vm.createGuestMemfd({ size: pages(2), flags: SHARED })
    const mapping = file.mmap()
    mapping.write64(pages(1), 0x1111n)

    const read = mapping.forkProbe(pages(1))
    const written = mapping.forkProbe(bytes(0x1008), { write: 0x2222n })

    expect(read).toEqual({ ok: true, value: 0x1111n })
    expect(written).toEqual({ ok: true, value: 0x2222n })
    expect(mapping.read64(bytes(0x1008))).toBe(0x2222n)
  })

  test('is there for pages that the parent never touched', { needs }, ({ kvm }) => {
    using vm = kvm.createVm()
    using file = vm.createGuestMemfd({ size: pages(2), flags: SHARED })
    const mapping = file.mmap()

    mapping.forkProbe(pages(1), { write: 0x3333n })

    expect(mapping.read64(pages(1))).toBe(0x3333n)
    expect(mapping).toBeFilledWith(0, { offset: pages(0), size: pages(1) })
  })

  test('is gone after MADV_DONTFORK, and there again after MADV_DOFORK', { needs }, ({ kvm }) => {
    using vm = kvm.createVm()
    using file = vm.createGuestMemfd({ size: pages(2), flags: SHARED })
    const mapping = file.mmap()
    mapping.write64(pages(0), 0x4444n)

    mapping.madvise(MADV_DONTFORK)
    const without = mapping.forkProbe(pages(0))
    mapping.madvise(MADV_DOFORK)
    const again = mapping.forkProbe(pages(0))

    expect(without).toBeSignal('SIGSEGV', { code: 'SEGV_MAPERR', address: mapping.hva })
    expect(again).toEqual({ ok: true, value: 0x4444n })
  })

  onEveryVmType(({ type, offered }) => {
    test('raises SIGBUS there too where the file is not INIT_SHARED', {
      needs: [...offered, guestMemfdFlag.mmap(type)],
    }, ({ kvm }) => {
      using vm = kvm.createVm({ type })
      using file = vm.createGuestMemfd({ size: pages(2), flags: { mmap: true } })
      const mapping = file.mmap()

      expect(mapping.forkProbe(pages(1))).toBeSignal('SIGBUS', {
        code: 'BUS_ADRERR',
        address: mapping.hvaOf(pages(1)),
      })
      expect(mapping.forkProbe(pages(1), { write: 1n })).toBeSignal('SIGBUS', { code: 'BUS_ADRERR' })
    })
  })
})

describe('mremap(2) of a mapping of a guest_memfd', () => {
  test('duplicates it where the old size is 0: both show the same pages', { needs }, ({ kvm, defer }) => {
    using vm = kvm.createVm()
    using file = vm.createGuestMemfd({ size: pages(2), flags: SHARED })
    const mapping = file.mmap()
    mapping.fill(0x6b)
    const target = Mapping.anonymous(pages(2))
    defer(() => target.close())

    sys('mremap', mapping.hva, 0, pages(2), MREMAP_MAYMOVE | MREMAP_FIXED, target.hva)
    target.write8(bytes(0x1001), 0x7c)

    expect(target).toBeFilledWith(0x6b, { offset: pages(0), size: pages(1) })
    expect(mapping.read8(bytes(0x1001))).toBe(0x7c)
  })

  test('grows it beyond the end of the file, where it raises SIGBUS', { needs }, ({ kvm, defer }) => {
    using vm = kvm.createVm()
    using file = vm.createGuestMemfd({ size: pages(2), flags: SHARED })
    const mapping = file.mmap()
    mapping.fill(0x6b)
    const target = Mapping.anonymous(pages(3))
    defer(() => target.close())

    sys('mremap', mapping.hva, 0, pages(3), MREMAP_MAYMOVE | MREMAP_FIXED, target.hva)

    expect(target).toBeFilledWith(0x6b, { offset: pages(0), size: pages(2) })
    expect(target.probe(pages(2))).toBeSignal('SIGBUS', {
      code: 'BUS_ADRERR',
      address: target.hvaOf(pages(2)),
    })
  })
})
