// SPDX-License-Identifier: Apache-2.0
import type { Memory } from 'gmem/kvm'
import { bytes, cases, describe, expect, gpaAdd, pages, test } from 'gmem/testing'
import { BASE, soilFreePages } from './support/conversion.js'
import { inPlace, PRIVATE_FILE, residence, SHARED_FILE, sharedMemory, sharingOf } from './support/inplace.js'

// facts/inplace-conversion-abi.md, section 3: who tracks, contents, zeroing, unallocated ranges; section 5: the cases of the selftests.
const needs = inPlace

const SEED = 0x5ec2e7n
const LAST = 1023

const lengths = [
  { count: 1, first: 0 },
  { count: 1, first: LAST },
  { count: 2, first: 511 },
  { count: 511, first: 1 },
  { count: 512, first: 0 },
  { count: 512, first: 512 },
  { count: 513, first: 256 },
  { count: 1022, first: 1 },
  { count: 1024, first: 0 },
] as const

/** Each page of a memory to where it is to be: `SPPS`. */
function arrange(memory: Memory, sharing: string): void {
  for (const [page, to] of [...sharing].entries())
    memory.guestMemfd.convert({ offset: pages(page), size: pages(1) }, to === 'P' ? 'private' : 'shared')
}

describe('a shared page made private', () => {
  test('keeps its data for the guest, and the host gets SIGBUS', { needs }, async ({ kvm }) => {
    using vm = kvm.createVm({ type: 'SW_PROTECTED' })
    const memory = sharedMemory(vm, 1, SEED)
    using vcpu = vm.createVcpu()

    memory.guestMemfd.convert(memory, 'private')

    const sigbus = { code: 'BUS_ADRERR', address: memory.shared.hva }
    expect(memory.shared.probe(bytes(0))).toBeSignal('SIGBUS', sigbus)
    expect(memory.shared.probeWrite(bytes(0), 7n)).toBeSignal('SIGBUS', sigbus)
    await expect(vcpu).toSeePattern(SEED, memory)
  })

  test('and shared again has what the guest wrote meanwhile', { needs }, async ({ kvm }) => {
    using vm = kvm.createVm({ type: 'SW_PROTECTED' })
    const memory = sharedMemory(vm, 2, SEED)
    using vcpu = vm.createVcpu()
    memory.guestMemfd.convert(memory, 'private')
    await vcpu.fillPattern(memory.range(pages(1), pages(1)), 0xbbn)

    memory.guestMemfd.convert(memory, 'shared')

    expect(memory).toHoldPattern(SEED, memory.range(pages(0), pages(1)))
    expect(memory).toHoldPattern(0xbbn, memory.range(pages(1), pages(1)))
    await expect(vcpu).toSeePattern(0xbbn, memory.range(pages(1), pages(1)))
  })

  test('and shared again can be used by host and guest, and be made private once more', { needs }, async ({
    kvm,
  }) => {
    using vm = kvm.createVm({ type: 'SW_PROTECTED' })
    const memory = sharedMemory(vm, 1, SEED)
    using vcpu = vm.createVcpu()
    memory.guestMemfd.convert(memory, 'private')
    memory.guestMemfd.convert(memory, 'shared')

    memory.shared.write64(bytes(0), 1n)
    await vcpu.write64(memory.gpaOf(bytes(8)), 2n)
    memory.guestMemfd.convert(memory, 'private')

    expect(await vcpu.read64(memory.gpaOf(bytes(0)))).toBe(1n)
    expect(await vcpu.read64(memory.gpaOf(bytes(8)))).toBe(2n)
    expect(sharingOf(memory.shared)).toBe('P')
  })

  test('that the guest alone has touched keeps its data', { needs }, async ({ kvm }) => {
    using vm = kvm.createVm({ type: 'SW_PROTECTED' })
    const memory = vm.addMemory({ gpa: BASE, size: pages(2), guestMemfd: SHARED_FILE })
    using vcpu = vm.createVcpu()
    await vcpu.fillPattern(memory, SEED)

    memory.guestMemfd.convert(memory, 'private')

    await expect(vcpu).toSeePattern(SEED, memory)
    memory.guestMemfd.convert(memory, 'shared')
    expect(memory).toHoldPattern(SEED)
  })
})

describe('a file that starts private', () => {
  test('reads zero to the guest, and SIGBUS to the host until it is shared', { needs }, async ({ kvm }) => {
    using vm = kvm.createVm({ type: 'SW_PROTECTED' })
    soilFreePages()
    const memory = vm.addMemory({ gpa: BASE, size: pages(2), guestMemfd: PRIVATE_FILE })
    using vcpu = vm.createVcpu()
    const before = sharingOf(memory.shared)
    await expect(vcpu).toSeeFilledWith(0, memory)
    await vcpu.fillPattern(memory, SEED)

    memory.guestMemfd.convert(memory.range(pages(1), pages(1)), 'shared')

    expect(before).toBe('PP')
    expect(sharingOf(memory.shared)).toBe('PS')
    expect(memory).toHoldPattern(SEED, memory.range(pages(1), pages(1)))
    await expect(vcpu).toSeePattern(SEED, memory)
  })

  test('keeps what the guest wrote through shared and private again', { needs }, async ({ kvm }) => {
    using vm = kvm.createVm({ type: 'SW_PROTECTED' })
    const memory = vm.addMemory({ gpa: BASE, size: pages(1), guestMemfd: PRIVATE_FILE })
    using vcpu = vm.createVcpu()
    await vcpu.fillPattern(memory, SEED)

    memory.guestMemfd.convert(memory, 'shared')
    memory.guestMemfd.convert(memory, 'private')

    expect(sharingOf(memory.shared)).toBe('P')
    await expect(vcpu).toSeePattern(SEED, memory)
  })
})

describe('a conversion', () => {
  cases(
    [0, 1, 2, 3].map((page) => ({ page })),
    ({ page }) => `of page ${page} of four is of that page alone, both ways`,
    { needs },
    async ({ kvm }, { page }) => {
      using vm = kvm.createVm({ type: 'SW_PROTECTED' })
      const memory = sharedMemory(vm, 4, SEED)
      const range = memory.range(pages(page), pages(1))
      using vcpu = vm.createVcpu()

      memory.guestMemfd.convert(range, 'private')
      const oneIsPrivate = sharingOf(memory.shared)
      await expect(vcpu).toSeePattern(SEED, memory)
      memory.guestMemfd.convert(memory, 'private')
      memory.guestMemfd.convert(range, 'shared')
      const oneIsShared = sharingOf(memory.shared)

      expect([...oneIsPrivate].map((state) => state === 'P')).toEqual([0, 1, 2, 3].map((at) => at === page))
      expect([...oneIsShared].map((state) => state === 'S')).toEqual([0, 1, 2, 3].map((at) => at === page))
      expect(memory).toHoldPattern(SEED, range)
      await expect(vcpu).toSeePattern(SEED, memory)
    },
  )

  cases(
    lengths,
    ({ count, first }) => `of ${count} of 1024 pages, from page ${first} on, keeps all data both ways`,
    { needs },
    async ({ kvm }, { count, first }) => {
      using vm = kvm.createVm({ type: 'SW_PROTECTED' })
      const memory = vm.addMemory({ gpa: BASE, size: pages(LAST + 1), guestMemfd: SHARED_FILE })
      const range = memory.range(pages(first), pages(count))
      const before = memory.range(pages(0), pages(first))
      const after = memory.range(pages(first + count), pages(LAST + 1 - first - count))
      memory.shared.fill(0xaa)
      memory.shared.fill(0xbb, range)
      using vcpu = vm.createVcpu()

      memory.guestMemfd.convert(range, 'private')
      const state = sharingOf(memory.shared)
      await expect(vcpu).toSeeFilledWith(0xbb, range)
      memory.guestMemfd.convert(range, 'shared')

      expect(state).toBe(`${'S'.repeat(first)}${'P'.repeat(count)}${'S'.repeat(LAST + 1 - first - count)}`)
      expect(memory).toBeFilledWith(0xbb, range)
      expect(memory).toBeFilledWith(0xaa, before)
      expect(memory).toBeFilledWith(0xaa, after)
    },
  )

  cases(
    ['PSSS', 'SSSP', 'SPPS', 'PSPS', 'SPSP', 'PPPS'].map((sharing) => ({ sharing })),
    ({ sharing }) => `of a mixed range (${sharing}) makes all of it what is asked, and keeps the data`,
    { needs },
    async ({ kvm }, { sharing }) => {
      using vm = kvm.createVm({ type: 'SW_PROTECTED' })
      const memory = sharedMemory(vm, 4, SEED)
      using vcpu = vm.createVcpu()
      arrange(memory, sharing)
      const mixed = sharingOf(memory.shared)

      memory.guestMemfd.convert(memory, 'private')
      const allPrivate = sharingOf(memory.shared)
      arrange(memory, sharing)
      memory.guestMemfd.convert(memory, 'shared')

      expect([mixed, allPrivate, sharingOf(memory.shared)]).toEqual([sharing, 'PPPP', 'SSSS'])
      expect(memory).toHoldPattern(SEED)
      await expect(vcpu).toSeePattern(SEED, memory)
    },
  )

  test('of pages that nobody touched is remembered, and allocates none', { needs }, async ({ kvm }) => {
    using vm = kvm.createVm({ type: 'SW_PROTECTED' })
    soilFreePages()
    const memory = vm.addMemory({ gpa: BASE, size: pages(4), guestMemfd: SHARED_FILE })
    using vcpu = vm.createVcpu()

    memory.guestMemfd.convert(memory.range(pages(1), pages(2)), 'private')
    memory.guestMemfd.convert(memory.range(pages(2), pages(1)), 'shared')
    const resident = residence(memory.shared)

    expect(resident).toBe('0000')
    expect(sharingOf(memory.shared)).toBe('SPSS')
    await expect(vcpu).toSeeFilledWith(0, memory)
  })

  test('of a private page that nobody touched gives the host zeroes', { needs }, ({ kvm }) => {
    using vm = kvm.createVm({ type: 'SW_PROTECTED' })
    soilFreePages()
    using file = vm.createGuestMemfd({ size: pages(2), flags: PRIVATE_FILE })
    const mapping = file.mmap()

    file.convert(file.whole(), 'shared')

    expect(residence(mapping)).toBe('00')
    expect(mapping).toBeFilledWith(0)
  })

  test('of a range with and without pages keeps the data of those that are there', { needs }, async ({
    kvm,
  }) => {
    using vm = kvm.createVm({ type: 'SW_PROTECTED' })
    const memory = vm.addMemory({ gpa: BASE, size: pages(8), guestMemfd: SHARED_FILE })
    memory.fillPattern(SEED, memory.range(pages(1), pages(1)))
    memory.fillPattern(SEED, memory.range(pages(4), pages(1)))
    using vcpu = vm.createVcpu()

    memory.guestMemfd.convert(memory, 'private')
    const resident = residence(memory.shared)

    expect(resident).toBe('01001000')
    await expect(vcpu).toSeePattern(SEED, memory.range(pages(1), pages(1)))
    await expect(vcpu).toSeePattern(SEED, memory.range(pages(4), pages(1)))
    await expect(vcpu).toSeeFilledWith(0, memory.range(pages(2), pages(2)))
    await expect(vcpu).toSeeFilledWith(0, memory.range(pages(5), pages(3)))
    arrange(memory, 'SPPPSPPP')
    expect(sharingOf(memory.shared)).toBe('SPPPSPPP')
  })

  test('that is denied to the host allocates nothing: SIGBUS leaves the page a hole', { needs }, ({
    kvm,
  }) => {
    using vm = kvm.createVm({ type: 'SW_PROTECTED' })
    using file = vm.createGuestMemfd({ size: pages(2), flags: PRIVATE_FILE })
    const mapping = file.mmap()

    expect(sharingOf(mapping)).toBe('PP')
    expect(residence(mapping)).toBe('00')
  })
})

describe('what is private', () => {
  test('belongs to the file, which needs no memslot', { needs }, ({ kvm }) => {
    using vm = kvm.createVm({ type: 'SW_PROTECTED' })
    using file = vm.createGuestMemfd({ size: pages(2), flags: SHARED_FILE })
    const mapping = file.mmap()
    mapping.fill(0xaa)

    file.convert(file.span(pages(1), pages(1)), 'private')

    expect(sharingOf(mapping)).toBe('SP')
  })

  test('is the same for a duplicate of the descriptor', { needs }, ({ kvm }) => {
    using vm = kvm.createVm({ type: 'SW_PROTECTED' })
    using file = vm.createGuestMemfd({ size: pages(3), flags: SHARED_FILE })
    using duplicate = file.dup()
    const mapping = file.mmap()

    duplicate.convert(file.span(pages(1), pages(1)), 'private')
    file.convert(file.span(pages(2), pages(1)), 'private')

    expect(sharingOf(mapping)).toBe('SPP')
    expect(sharingOf(duplicate.mmap())).toBe('SPP')
  })

  test('stays so, with its data, when its memslot is deleted and made again elsewhere', { needs }, async ({
    kvm,
  }) => {
    using vm = kvm.createVm({ type: 'SW_PROTECTED' })
    const memory = sharedMemory(vm, 2, SEED)
    const { guestMemfd } = memory
    guestMemfd.convert(memory.range(pages(1), pages(1)), 'private')

    memory.remove()
    const moved = vm.addMemory({ gpa: gpaAdd(BASE, pages(512)), size: pages(2), guestMemfd })

    using vcpu = vm.createVcpu()
    expect(sharingOf(moved.shared)).toBe('SP')
    expect(await vcpu.read64(moved.gpaOf(pages(1)))).toBe(memory.gpaOf(pages(1)) ^ SEED)
  })

  test('is so in each memslot and mapping of the file', { needs }, async ({ kvm }) => {
    using vm = kvm.createVm({ type: 'SW_PROTECTED' })
    using file = vm.createGuestMemfd({ size: pages(4), flags: SHARED_FILE })
    const [low, high] = [BASE, gpaAdd(BASE, pages(512))]
    const first = vm.addMemory({ gpa: low, size: pages(2), guestMemfd: file })
    const second = vm.addMemory({ gpa: high, size: pages(2), guestMemfd: file, offset: pages(2) })
    first.shared.fill(0xaa)
    second.shared.fill(0xbb)
    using vcpu = vm.createVcpu()

    file.convert(file.span(pages(1), pages(2)), 'private')

    expect([first, second].map(({ shared }) => sharingOf(shared))).toEqual(['SP', 'PS'])
    expect(sharingOf(file.mmap())).toBe('SPPS')
    await expect(vcpu).toSeeFilledWith(0xaa, first)
    await expect(vcpu).toSeeFilledWith(0xbb, second)
  })

  test('is of one file: another one of the VM is not converted', { needs }, ({ kvm }) => {
    using vm = kvm.createVm({ type: 'SW_PROTECTED' })
    using file = vm.createGuestMemfd({ size: pages(2), flags: SHARED_FILE })
    using other = vm.createGuestMemfd({ size: pages(2), flags: SHARED_FILE })

    file.convert(file.whole(), 'private')

    expect(sharingOf(file.mmap())).toBe('PP')
    expect(sharingOf(other.mmap())).toBe('SS')
  })
})
