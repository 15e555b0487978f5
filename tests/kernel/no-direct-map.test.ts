// SPDX-License-Identifier: Apache-2.0
import { FALLOC_FL_KEEP_SIZE, FALLOC_FL_PUNCH_HOLE, MADV_DONTNEED } from 'gmem/abi'
import { bytes, describe, expect, pages, SHARED_FLAGS, test, vmType } from 'gmem/testing'
import { BASE, fillOfPages, soilFreePages } from './support/conversion.js'
import {
  directMapOf,
  directMapSizes,
  hidden,
  hiddenFile,
  hiddenMemory,
  noDirectMap,
  noDirectMapFlag,
  pageFrame,
  pageFrames,
  pagesLeftOut,
} from './support/no-direct-map.js'
import { call, race } from './support/races.js'

// facts/guest-memfd-abi.md, sections 1.2 and 1.4: the kernel's address of a page is gone for as long as it is in such a file.
const needs = noDirectMap

const PUNCH = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE
const PAGES = 16
const gone = (count: number) => Array.from({ length: count }, () => 'gone')

describe('guest_memfd memory outside the direct map', () => {
  test('is the same for host and guest, in both directions', { needs }, async ({ kvm }) => {
    using vm = kvm.createVm()
    const memory = hiddenMemory(vm, 2)
    using vcpu = vm.createVcpu()

    memory.shared.fill(0xaa, { offset: bytes(0), size: pages(1) })
    await vcpu.fill(memory.range(pages(1), pages(1)), 0xbb)

    await expect(vcpu).toSeeFilledWith(0xaa, memory.range(pages(0), pages(1)))
    expect(fillOfPages(memory.shared)).toEqual([0xaa, 0xbb])
  })

  test('reads zero to both at its first touch', { needs }, async ({ kvm }) => {
    using vm = kvm.createVm()
    const memory = hiddenMemory(vm, PAGES)
    using vcpu = vm.createVcpu()
    await vcpu.ready()
    soilFreePages()

    await expect(vcpu).toSeeFilledWith(0, memory.range(pages(0), pages(8)))
    expect(memory).toBeFilledWith(0, memory.range(pages(8), pages(8)))
  })

  test('is out of the kernel’s reach once the host touched it; other files’ memory is not', { needs }, ({
    kvm,
  }) => {
    using vm = kvm.createVm()
    const mapping = hiddenFile(vm, PAGES).mmap()
    const ordinary = vm.createGuestMemfd({ size: pages(PAGES), flags: SHARED_FLAGS }).mmap()
    mapping.fill(0xaa)
    ordinary.fill(0xbb)

    expect(pageFrames(mapping).map(directMapOf)).toEqual(gone(PAGES))
    expect(new Set(pageFrames(ordinary).map(directMapOf))).toEqual(new Set([0xbb]))
  })

  test('is out of the kernel’s reach once the guest touched it: so many pages are left out', {
    needs,
  }, async ({ kvm }) => {
    using vm = kvm.createVm()
    const guestMemfd = hidden()
    const memory = vm.addMemory({ gpa: BASE, size: pages(PAGES), guestMemfd, userspace: null })
    using vcpu = vm.createVcpu()
    await vcpu.ready()
    const before = pagesLeftOut()

    await vcpu.fill(memory, 0xbb)

    expect(pagesLeftOut() - before).toBe(PAGES)
  })

  // In the filemap-level design fallocate(2) takes the page from the direct map, in the earlier one its first use does (section 1.4).
  test('is left out when it is allocated or at its first touch, all of it, once', { needs }, ({ kvm }) => {
    using vm = kvm.createVm()
    const file = hiddenFile(vm, PAGES)
    const mapping = file.mmap()
    const before = pagesLeftOut()

    file.allocate()
    const allocated = pagesLeftOut() - before
    mapping.fill(0xaa)
    const touched = pagesLeftOut() - before
    mapping.madvise(MADV_DONTNEED)
    mapping.fill(0xbb)

    expect([0, PAGES]).toContain(allocated)
    expect([touched, pagesLeftOut() - before]).toEqual([PAGES, PAGES])
  })

  test('splits large pages of the direct map, which covers as much as before', { needs }, ({ kvm }) => {
    using vm = kvm.createVm()
    const sum = () => directMapSizes().reduce((total, kib) => total + kib, 0)
    const before = sum()
    const [small = 0] = directMapSizes()

    hiddenFile(vm, PAGES).mmap().fill(0xaa)

    expect(sum()).toBe(before)
    expect(directMapSizes()[0]).toBeGreaterThanOrEqual(Math.max(small, PAGES * 4))
  })
})

describe('a page that was outside the direct map is back in it', () => {
  test('after a hole was punched, and it alone', { needs }, ({ kvm }) => {
    using vm = kvm.createVm()
    const file = hiddenFile(vm, 3)
    const mapping = file.mmap()
    mapping.fill(0xaa)
    const [first = 0n, second = 0n, third = 0n] = pageFrames(mapping)

    file.punchHole(file.span(pages(1), pages(1)))

    expect(directMapOf(second)).not.toBe('gone')
    expect([first, third].map(directMapOf)).toEqual(['gone', 'gone'])
    expect(fillOfPages(mapping)).toEqual([0xaa, 0, 0xaa])
    expect(directMapOf(pageFrame(mapping, pages(1)))).toBe('gone')
  })

  test('after the file’s last descriptor and mapping are gone, not before', { needs }, ({ kvm }) => {
    using vm = kvm.createVm()
    const file = hiddenFile(vm, 2)
    const mapping = file.mmap()
    mapping.fill(0xaa)
    const frames = pageFrames(mapping)

    file.close()
    const whileMapped = frames.map(directMapOf)
    mapping.close()

    expect(whileMapped).toEqual(gone(2))
    expect(frames.map(directMapOf)).not.toContain('gone')
  })

  test('after its VM is gone, with vCPU, memslot and all', { needs }, async ({ kvm }) => {
    const before = pagesLeftOut()
    const vm = kvm.createVm()
    const memory = hiddenMemory(vm, PAGES)
    const vcpu = vm.createVcpu()
    await vcpu.fill(memory, 0xbb)
    memory.shared.fill(0xaa)
    const frames = pageFrames(memory.shared)
    const meanwhile = pagesLeftOut() - before

    vcpu.close()
    vm.close()

    expect(meanwhile).toBe(PAGES)
    expect(frames.map(directMapOf)).not.toContain('gone')
    expect(pagesLeftOut()).toBe(before)
  })

  test('however often it went: holes, allocation and faults at the same time lose no entry', {
    needs,
  }, async ({ kvm }) => {
    const before = pagesLeftOut()
    const vm = kvm.createVm()
    const file = hiddenFile(vm, PAGES)
    const mapping = file.mmap()
    const all = pages(PAGES)

    const errnos = await race(100, [
      [call('fallocate', file.fd, PUNCH, 0n, all)],
      [call('fallocate', file.fd, FALLOC_FL_KEEP_SIZE, 0n, all)],
      [call('fallocate', file.fd, PUNCH, pages(4), pages(8))],
    ])
    mapping.fill(0xaa)
    const meanwhile = pagesLeftOut() - before
    vm.close()

    expect(errnos).toEqual([new Set(['']), new Set(['']), new Set([''])])
    expect(meanwhile).toBe(PAGES)
    expect(pagesLeftOut()).toBe(before)
  })
})

describe('the flag that keeps memory out of the direct map', () => {
  test('is reported for a DEFAULT VM, and needs no other flag', { needs }, async ({ kvm }) => {
    using vm = kvm.createVm()
    const before = pagesLeftOut()

    const file = vm.createGuestMemfd({ size: pages(2), flags: noDirectMapFlag.bit() })
    file.allocate()

    expect(BigInt(vm.capability('GUEST_MEMFD_FLAGS')) & noDirectMapFlag.bit()).toBe(noDirectMapFlag.bit())
    expect([0, 2]).toContain(pagesLeftOut() - before)
  })

  test('works for private memory of a SW_PROTECTED VM', { needs: [...needs, vmType.swProtected] }, async ({
    kvm,
  }) => {
    using vm = kvm.createVm({ type: 'SW_PROTECTED' })
    const memory = vm.addMemory({ gpa: BASE, size: pages(4), guestMemfd: noDirectMapFlag.bit() })
    using vcpu = vm.createVcpu()
    vm.setPrivate(memory)
    await vcpu.ready()
    const before = pagesLeftOut()

    await vcpu.fill(memory, 0xbb)

    expect(pagesLeftOut() - before).toBe(4)
    await expect(vcpu).toSeeFilledWith(0xbb, memory)
    vm.setShared(memory)
    await expect(vcpu).toSeeFilledWith(0, memory)
  })
})
