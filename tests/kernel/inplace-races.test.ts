// SPDX-License-Identifier: Apache-2.0
import {
  FALLOC_FL_KEEP_SIZE,
  FALLOC_FL_PUNCH_HOLE,
  MADV_POPULATE_WRITE,
  MAP_ANONYMOUS,
  MAP_FIXED,
  MAP_POPULATE,
  MAP_PRIVATE,
  MAP_SHARED,
  PROT_READ,
  PROT_WRITE,
} from 'gmem/abi'
import { binding, type Exit, Mapping } from 'gmem/kvm'
import { describe, expect, pages, test } from 'gmem/testing'
import { inPlace, SHARED_FILE, sharedMemory, sharingOf } from './support/inplace.js'
import { backAndForth, call, conversion, race } from './support/races.js'
import { sys } from './support/system-calls.js'

// facts/inplace-conversion-abi.md, section 3: the ioctl holds the mapping's invalidate_lock for all of its work, so converters come one
// after the other, and a range is private or shared as a whole. EAGAIN is what a page in use may give: a fault under way is such a use.
const needs = inPlace

const SEED = 0x5ec2e7n
const PAGES = 8
const ROUNDS = 150
const READ_WRITE = PROT_READ | PROT_WRITE
const NO_ERROR = ['']
/** A descriptor's number that nobody else gets: new ones are the lowest that are free. */
const FD = 900
const UNIFORM = /^(P{8}|S{8})$/

describe('threads that convert the same file', () => {
  test('never fail, and leave it private or shared as a whole, with its data', { needs }, async ({ kvm }) => {
    using vm = kvm.createVm({ type: 'SW_PROTECTED' })
    const memory = sharedMemory(vm, PAGES, SEED)
    using vcpu = vm.createVcpu()
    const converter = backAndForth(memory.guestMemfd)

    const errnos = await race(ROUNDS, [converter, [...converter].reverse(), converter])

    expect(errnos).toEqual([new Set(NO_ERROR), new Set(NO_ERROR), new Set(NO_ERROR)])
    expect(sharingOf(memory.shared)).toMatch(UNIFORM)
    await expect(vcpu).toSeePattern(SEED, memory)
  })

  test('in ranges that overlap decide there as a whole, and each alone beside', { needs }, async ({
    kvm,
  }) => {
    using vm = kvm.createVm({ type: 'SW_PROTECTED' })
    const memory = sharedMemory(vm, PAGES, SEED)
    const { fd } = memory.guestMemfd
    const first = memory.range(pages(0), pages(6))
    const last = memory.range(pages(2), pages(6))

    const errnos = await race(ROUNDS, [
      [conversion(first, 'shared', fd), conversion(first, 'private', fd)],
      [conversion(last, 'private', fd), conversion(last, 'shared', fd)],
    ])

    expect(errnos).toEqual([new Set(NO_ERROR), new Set(NO_ERROR)])
    expect(sharingOf(memory.shared)).toMatch(/^PP(PPPP|SSSS)SS$/)
  })

  test('page by page, odd and even, do not disturb each other', { needs }, async ({ kvm }) => {
    using vm = kvm.createVm({ type: 'SW_PROTECTED' })
    const memory = sharedMemory(vm, PAGES, SEED)
    using vcpu = vm.createVcpu()
    const { fd } = memory.guestMemfd
    const each = (remainder: number, to: 'private' | 'shared') =>
      Array.from({ length: PAGES / 2 }, (_, index) =>
        conversion(memory.range(pages(2 * index + remainder), pages(1)), to, fd),
      )

    const errnos = await race(ROUNDS / 3, [
      [...each(0, 'shared'), ...each(0, 'private')],
      [...each(1, 'private'), ...each(1, 'shared')],
    ])

    expect(errnos).toEqual([new Set(NO_ERROR), new Set(NO_ERROR)])
    expect(sharingOf(memory.shared)).toBe('PSPSPSPS')
    await expect(vcpu).toSeePattern(SEED, memory)
  })
})

describe('a conversion that races', () => {
  test('a punched hole never fails; the hole reads zero, the rest keeps its data', { needs }, async ({
    kvm,
  }) => {
    using vm = kvm.createVm({ type: 'SW_PROTECTED' })
    const memory = sharedMemory(vm, PAGES, SEED)
    using vcpu = vm.createVcpu()
    const { fd } = memory.guestMemfd
    const mode = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE
    const hole = memory.range(pages(3), pages(2))

    const errnos = await race(ROUNDS, [
      backAndForth(memory.guestMemfd),
      [
        call('fallocate', fd, mode, hole.offset, hole.size),
        call('fallocate', fd, FALLOC_FL_KEEP_SIZE, hole.offset, hole.size),
      ],
    ])

    expect(errnos).toEqual([new Set(NO_ERROR), new Set(NO_ERROR)])
    expect(sharingOf(memory.shared)).toMatch(UNIFORM)
    await expect(vcpu).toSeeFilledWith(0, hole)
    await expect(vcpu).toSeePattern(SEED, memory.range(pages(0), pages(3)))
    await expect(vcpu).toSeePattern(SEED, memory.range(pages(5), pages(3)))
  })

  test('the host’s faults fails with EAGAIN at most, and they with EFAULT', { needs }, async ({ kvm }) => {
    using vm = kvm.createVm({ type: 'SW_PROTECTED' })
    const memory = sharedMemory(vm, PAGES, SEED)
    using vcpu = vm.createVcpu()
    const { shared, guestMemfd } = memory

    const [converting = new Set(), faulting = new Set()] = await race(ROUNDS, [
      backAndForth(guestMemfd),
      [call('madvise', shared.hva, shared.size, MADV_POPULATE_WRITE)],
    ])

    expect(['', 'EAGAIN']).toEqual(expect.arrayContaining([...converting]))
    expect(['', 'EFAULT']).toEqual(expect.arrayContaining([...faulting]))
    expect(sharingOf(shared)).toMatch(UNIFORM)
    guestMemfd.convert(memory, 'private')
    expect(sharingOf(shared)).toBe('PPPPPPPP')
    await expect(vcpu).toSeePattern(SEED, memory)
  })

  // kvm_mmu_page_fault() asks whether the page is private, and kvm_mmu_faultin_pfn() asks again: what changed in between is an exit
  // (arch/x86/kvm/mmu/mmu.c, 7.3.4), though on this VM type the attribute itself says what kind of access it is.
  test('the guest’s faults fails with EAGAIN at most, and they are MEMORY_FAULT exits at most', {
    needs,
  }, async ({ kvm }) => {
    using vm = kvm.createVm({ type: 'SW_PROTECTED' })
    const memory = sharedMemory(vm, PAGES, SEED)
    using vcpu = vm.createVcpu()
    const exits: Exit[] = []
    const spin = vcpu.spinRead(memory, { onExit: (exit) => exits.push(exit) > 0 })
    await spin.progressed()

    const [converting = new Set()] = await race(ROUNDS, [backAndForth(memory.guestMemfd)])
    await spin.stop()

    expect(['', 'EAGAIN']).toEqual(expect.arrayContaining([...converting]))
    expect(exits.filter(({ reason }) => reason !== 'MEMORY_FAULT')).toEqual([])
    expect(sharingOf(memory.shared)).toMatch(UNIFORM)
    await expect(vcpu).toSeePattern(SEED, memory)
  })

  test('mmap(2) and munmap(2) of the file fails with EAGAIN at most; no mapping is forgotten', {
    needs,
  }, async ({ kvm, defer }) => {
    using vm = kvm.createVm({ type: 'SW_PROTECTED' })
    const memory = sharedMemory(vm, PAGES, SEED)
    const { guestMemfd, size } = memory
    const place = Mapping.anonymous(size)
    defer(() => place.close())
    const mapped = call(
      'mmap',
      place.hva,
      size,
      READ_WRITE,
      MAP_SHARED | MAP_FIXED | MAP_POPULATE,
      guestMemfd.fd,
      0n,
    )
    // Another mapping in its place: a hole would be free for anybody's.
    const gone = call('mmap', place.hva, size, READ_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0n)

    const [converting = new Set(), mapping] = await race(ROUNDS, [
      backAndForth(guestMemfd),
      [mapped, gone, mapped],
    ])
    guestMemfd.convert(memory, 'private')

    expect(['', 'EAGAIN']).toEqual(expect.arrayContaining([...converting]))
    expect(mapping).toEqual(new Set(NO_ERROR))
    expect(sharingOf(place)).toBe('PPPPPPPP')
    expect(sharingOf(memory.shared)).toBe('PPPPPPPP')
  })

  test('close(2) of its descriptor ends with EBADF, and the file lives on in the others', { needs }, async ({
    kvm,
    defer,
  }) => {
    using vm = kvm.createVm({ type: 'SW_PROTECTED' })
    const memory = sharedMemory(vm, PAGES, SEED)
    using vcpu = vm.createVcpu()
    const reopen = call('dup2', memory.guestMemfd.fd, FD)
    sys('dup2', memory.guestMemfd.fd, FD)
    defer(() => binding.addon.close(FD))

    const [converting = new Set(), closing] = await race(ROUNDS, [
      [conversion(memory, 'private', FD), conversion(memory, 'shared', FD)],
      [call('close', FD), reopen],
    ])

    expect(['', 'EBADF']).toEqual(expect.arrayContaining([...converting]))
    expect(closing).toEqual(new Set(NO_ERROR))
    expect(sharingOf(memory.shared)).toMatch(UNIFORM)
    await expect(vcpu).toSeePattern(SEED, memory)
  })

  test('close(2) of the last descriptor ends with EBADF, ten times over', { needs }, async ({ kvm }) => {
    using vm = kvm.createVm({ type: 'SW_PROTECTED' })
    const closeWhileConverting = async () => {
      const file = vm.createGuestMemfd({ size: pages(64), flags: SHARED_FILE })
      file.allocate()
      const racing = race(50, [backAndForth(file)])
      file.close()
      return await racing
    }

    const seen: string[] = []
    for (let round = 0; round < 10; round += 1) {
      for (const errnos of await closeWhileConverting()) seen.push(...errnos)
    }

    // ENOTTY: the number is somebody else's by then.
    expect(['', 'EBADF', 'ENOTTY']).toEqual(expect.arrayContaining([...new Set(seen)]))
  })
})
