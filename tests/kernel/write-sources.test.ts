// SPDX-License-Identifier: Apache-2.0
import {
  FALLOC_FL_KEEP_SIZE,
  FALLOC_FL_PUNCH_HOLE,
  MADV_POPULATE_READ,
  MADV_POPULATE_WRITE,
  SEEK_CUR,
} from 'gmem/abi'
import { bytes, cases, describe, expect, pages, test } from 'gmem/testing'
import { fillOfPages, soilFreePages } from './support/conversion.js'
import { residence } from './support/inplace.js'
import { call, race } from './support/races.js'
import { sysNumber } from './support/system-calls.js'
import {
  beforeHole,
  canWrite,
  distinctPages,
  iovecs,
  strayBytes,
  writable,
  writableMemory,
  writev,
} from './support/write.js'

// facts/guest-memfd-abi.md, section 2: faulting sources and short copies; the races are those of any write into a page cache.
const needs = canWrite

const ROUNDS = 200
const PUNCH = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE
const NO_ERROR = new Set([''])

describe('write(2) to a guest_memfd from a source that faults', () => {
  test('at its first byte is EFAULT, and the page reads zero to host and guest', {
    needs,
  }, async (context) => {
    using vm = context.kvm.createVm()
    const memory = writableMemory(vm, 1)
    using vcpu = vm.createVcpu()
    await vcpu.ready()
    const hole = beforeHole(context, 0, 0x77)
    soilFreePages()

    expect(() => sysNumber('pwrite64', memory.guestMemfd.fd, hole, pages(1), 0n)).toFailWith('EFAULT')

    await expect(vcpu).toSeeFilledWith(0, memory)
    expect(memory).toBeFilledWith(0)
  })

  test('at its first byte is EFAULT, and the page keeps what it held', { needs }, (context) => {
    using vm = context.kvm.createVm()
    using file = vm.createGuestMemfd({ size: pages(1), flags: writable() })
    file.write(distinctPages(1))
    const hole = beforeHole(context, 0, 0x77)

    expect(() => sysNumber('pwrite64', file.fd, hole, pages(1), 0n)).toFailWith('EFAULT')

    expect(fillOfPages(file.mmap())).toEqual([0x11])
  })

  cases(
    [1, 100, 4095].map((length) => ({ length })),
    ({ length }) => `after ${length} bytes of a new page is short: they are there, and the rest reads zero`,
    { needs },
    (context, { length }) => {
      using vm = context.kvm.createVm()
      using file = vm.createGuestMemfd({ size: pages(1), flags: writable() })
      const source = beforeHole(context, length, 0x77)
      soilFreePages()

      const written = sysNumber('pwrite64', file.fd, source, pages(1), 0n)

      const mapping = file.mmap()
      expect(written).toBe(length)
      expect(mapping.findMismatch(0x77, { offset: bytes(0), size: bytes(length) })).toBe(null)
      expect(mapping.findMismatch(0, { offset: bytes(length), size: bytes(4096 - length) })).toBe(null)
    },
  )

  test('in its second page is short: the first is whole, the second’s rest reads zero to the guest', {
    needs,
  }, async (context) => {
    using vm = context.kvm.createVm()
    const memory = writableMemory(vm, 3)
    using vcpu = vm.createVcpu()
    await vcpu.ready()
    const parts = iovecs(
      { hva: beforeHole(context, 4096, 0x66), length: 4096n },
      { hva: beforeHole(context, 2048, 0x77), length: 4096n },
    )
    soilFreePages()

    const written = writev(memory.guestMemfd, parts)

    expect(written).toBe(4096 + 2048)
    expect(memory.guestMemfd.lseek(0n, SEEK_CUR)).toBe(6144n)
    await expect(vcpu).toSeeFilledWith(0x66, memory.range(pages(0), pages(1)))
    await expect(vcpu).toSeeFilledWith(0x77, memory.range(pages(1), bytes(2048)))
    await expect(vcpu).toSeeFilledWith(0, memory.range(bytes(6144), bytes(2048)))
    expect(residence(memory.guestMemfd.mmap())).toBe('110')
  })

  // Whether the rest of the page is zeroed then is open (the sheet says it of all short copies): old bytes or zeros, nothing else.
  test('over a page with contents leaves its rest, or zeroes it', { needs }, (context) => {
    using vm = context.kvm.createVm()
    using file = vm.createGuestMemfd({ size: pages(1), flags: writable() })
    file.write(distinctPages(1))
    const source = beforeHole(context, 100, 0x77)

    const written = sysNumber('pwrite64', file.fd, source, pages(1), 0n)

    const mapping = file.mmap()
    expect(written).toBe(100)
    expect(mapping.findMismatch(0x77, { offset: bytes(0), size: bytes(100) })).toBe(null)
    expect([[0], [0x11]]).toContainEqual(strayBytes(mapping, bytes(100), []))
  })
})

describe('write(2) to a guest_memfd from its own mapping', () => {
  test('copies pages of the file', { needs }, ({ kvm }) => {
    using vm = kvm.createVm()
    using file = vm.createGuestMemfd({ size: pages(4), flags: writable() })
    const mapping = file.mmap()
    file.write(distinctPages(2))

    const written = sysNumber('pwrite64', file.fd, mapping.hva, pages(2), pages(2))

    expect(written).toBe(8192)
    expect(fillOfPages(mapping)).toEqual([0x11, 0x12, 0x11, 0x12])
  })

  test('comes to an end where a page is its own source, mapped or not', { needs }, ({ kvm }) => {
    using vm = kvm.createVm()
    using file = vm.createGuestMemfd({ size: pages(2), flags: writable() })
    const mapping = file.mmap()
    mapping.fill(0x55, { offset: bytes(0), size: pages(1) })
    soilFreePages()

    const written = sysNumber('pwrite64', file.fd, mapping.hva, pages(2), 0n)

    expect(written).toBe(8192)
    expect(fillOfPages(mapping)).toEqual([0x55, 0])
  })
})

describe('write(2) to a guest_memfd that races', () => {
  test('another one never fails, and each page is one writer’s as a whole', { needs }, async ({ kvm }) => {
    using vm = kvm.createVm()
    using file = vm.createGuestMemfd({ size: pages(4), flags: writable() })
    const writer = (byte: number) => [
      call('pwrite64', file.fd, new Uint8Array(4 * 4096).fill(byte), pages(4), 0n),
    ]

    const errnos = await race(ROUNDS, [writer(0x61), writer(0x62)])

    expect(errnos).toEqual([NO_ERROR, NO_ERROR])
    expect([0x61, 0x62]).toEqual(expect.arrayContaining(fillOfPages(file.mmap())))
  })

  test('punched holes and the host’s faults never fails, and pages hold what was written or zero', {
    needs,
  }, async ({ kvm }) => {
    using vm = kvm.createVm()
    using file = vm.createGuestMemfd({ size: pages(4), flags: writable() })
    const mapping = file.mmap()
    soilFreePages()

    const errnos = await race(ROUNDS, [
      [call('pwrite64', file.fd, distinctPages(4), pages(4), 0n)],
      [call('fallocate', file.fd, PUNCH, pages(1), pages(2))],
      [
        call('madvise', mapping.hva, mapping.size, MADV_POPULATE_READ),
        call('madvise', mapping.hva, mapping.size, MADV_POPULATE_WRITE),
      ],
    ])

    const [first, second = 0, third = 0, fourth] = fillOfPages(mapping)
    expect(errnos).toEqual([NO_ERROR, NO_ERROR, NO_ERROR])
    expect([first, fourth]).toEqual([0x11, 0x14])
    expect([0, 0x12]).toContain(second)
    expect([0, 0x13]).toContain(third)
  })

  test('short copies into new pages never lets the guest see what the memory held before', {
    needs,
  }, async (context) => {
    using vm = context.kvm.createVm()
    const memory = writableMemory(vm, 1)
    using vcpu = vm.createVcpu()
    await vcpu.ready()
    const { fd } = memory.guestMemfd
    const source = beforeHole(context, 100, 0x77)
    soilFreePages()

    const errnos = await race(ROUNDS, [
      [call('fallocate', fd, PUNCH, 0n, pages(1)), call('pwrite64', fd, source, pages(1), 0n)],
      [call('madvise', memory.shared.hva, memory.shared.size, MADV_POPULATE_READ)],
    ])

    expect(errnos).toEqual([NO_ERROR, NO_ERROR])
    await expect(vcpu).toSeeFilledWith(0x77, memory.range(bytes(0), bytes(96)))
    expect(strayBytes(memory.shared, bytes(100), [0])).toEqual([])
  })

  test('the guest’s reads and a punched hole leaves the guest what the file holds', { needs }, async ({
    kvm,
  }) => {
    using vm = kvm.createVm()
    const memory = writableMemory(vm, 2)
    const { fd } = memory.guestMemfd
    using vcpu = vm.createVcpu()
    const spin = vcpu.spinRead(memory)
    await spin.progressed()

    const errnos = await race(ROUNDS, [
      [call('fallocate', fd, PUNCH, 0n, pages(2)), call('pwrite64', fd, distinctPages(2), pages(2), 0n)],
    ])
    await spin.stop()

    expect(errnos).toEqual([NO_ERROR])
    await expect(vcpu).toSeeFilledWith(0x11, memory.range(pages(0), pages(1)))
    await expect(vcpu).toSeeFilledWith(0x12, memory.range(pages(1), pages(1)))
  })
})
