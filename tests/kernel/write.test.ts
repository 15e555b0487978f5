// SPDX-License-Identifier: Apache-2.0
import { F_SETFL, O_RDWR, SEEK_CUR, SEEK_SET } from 'gmem/abi'
import { Mapping } from 'gmem/kvm'
import {
  bytes,
  cases,
  describe,
  expect,
  gpaAdd,
  inPlaceConversion,
  not,
  pages,
  SHARED_FLAGS,
  test,
  vmType,
  writeFlag,
} from 'gmem/testing'
import { errnoOf, fillOfPages, soilFreePages } from './support/conversion.js'
import { residence } from './support/inplace.js'
import { sys } from './support/system-calls.js'
import { canWrite, distinctPages, iovecs, writable, writableMemory, writev } from './support/write.js'

// facts/guest-memfd-abi.md, section 2: write() population.
const needs = canWrite

const PAGE = new Uint8Array(4096).fill(0x77)
const O_APPEND = 0o2000

describe('write(2) to a guest_memfd', () => {
  test('populates whole pages that host and guest see', { needs }, async ({ kvm }) => {
    using vm = kvm.createVm()
    const memory = writableMemory(vm, 4)
    using vcpu = vm.createVcpu()

    const written = memory.guestMemfd.write(distinctPages(4))

    expect(written).toBe(4 * 4096)
    for (const [page, byte] of [0x11, 0x12, 0x13, 0x14].entries())
      await expect(vcpu).toSeeFilledWith(byte, memory.range(pages(page), pages(1)))
    expect(fillOfPages(memory.shared)).toEqual([0x11, 0x12, 0x13, 0x14])
  })

  test('goes on where the last one ended; lseek(2) moves it', { needs }, ({ kvm }) => {
    using vm = kvm.createVm()
    using file = vm.createGuestMemfd({ size: pages(4), flags: writable() })

    file.write(distinctPages(1, 0x21))
    file.write(distinctPages(1, 0x22))
    const position = file.lseek(0n, SEEK_CUR)
    file.lseek(pages(3), SEEK_SET)
    file.write(distinctPages(1, 0x23))

    expect(position).toBe(pages(2))
    expect(fillOfPages(file.mmap())).toEqual([0x21, 0x22, 0, 0x23])
  })

  test('at an offset, pwrite(2), allocates the pages it writes and no others', { needs }, ({ kvm }) => {
    using vm = kvm.createVm()
    using file = vm.createGuestMemfd({ size: pages(5), flags: writable() })

    const written = file.pwrite(distinctPages(2), pages(3))

    expect(written).toBe(2 * 4096)
    expect(residence(file.mmap())).toBe('00011')
    expect(file.lseek(0n, SEEK_CUR)).toBe(0n)
  })

  test('takes what it writes from many places: writev(2) with borders inside of pages', { needs }, ({
    kvm,
    defer,
  }) => {
    using vm = kvm.createVm()
    using file = vm.createGuestMemfd({ size: pages(2), flags: writable() })
    const source = Mapping.anonymous(pages(2))
    defer(() => source.close())
    source.fill(0x31, { offset: bytes(0), size: bytes(100) })
    source.fill(0x32, { offset: bytes(100), size: bytes(8092) })
    const parts = iovecs(
      { hva: source.hvaOf(bytes(100)), length: 5000n },
      { hva: source.hva, length: 100n },
      { hva: source.hvaOf(bytes(5100)), length: 3092n },
    )

    const written = writev(file, parts)

    const mapping = file.mmap()
    expect(written).toBe(8192)
    expect(mapping.findMismatch(0x32, { offset: bytes(0), size: bytes(5000) })).toBe(null)
    expect(mapping.findMismatch(0x31, { offset: bytes(5000), size: bytes(100) })).toBe(null)
    expect(mapping.findMismatch(0x32, { offset: bytes(5100), size: bytes(3092) })).toBe(null)
  })

  test('of the last page works, and sets the time of modification, not the size', { needs }, ({ kvm }) => {
    using vm = kvm.createVm()
    using file = vm.createGuestMemfd({ size: pages(4), flags: writable() })
    const before = file.stat()

    file.pwrite(PAGE, pages(3))

    const after = file.stat()
    expect(after.size).toBe(before.size)
    expect(after.mtimeNs).toBeGreaterThanOrEqual(before.mtimeNs)
    expect(fillOfPages(file.mmap())).toEqual([0, 0, 0, 0x77])
  })

  test('of nothing gives 0 and allocates nothing', { needs }, ({ kvm }) => {
    using vm = kvm.createVm()
    using file = vm.createGuestMemfd({ size: pages(1), flags: writable() })

    expect(file.write(new Uint8Array(0))).toBe(0)
    expect(residence(file.mmap())).toBe('0')
  })

  const refused = [
    { what: 'at the end of the file', offset: 4n * 4096n, length: 4096 },
    { what: 'far past the end of the file', offset: 1n << 62n, length: 4096 },
    { what: 'that straddles the end of the file', offset: 3n * 4096n, length: 8192 },
    { what: 'of one byte', offset: 0n, length: 1 },
    { what: 'of one byte less than a page', offset: 0n, length: 4095 },
    { what: 'of one byte more than a page', offset: 0n, length: 4097 },
    { what: 'at offset 1', offset: 1n, length: 4096 },
    { what: 'at one byte before a page', offset: 4095n, length: 4096 },
    { what: 'from the middle of a page to its end', offset: 2048n, length: 2048 },
    { what: 'at a negative offset', offset: BigInt.asUintN(64, -4096n), length: 4096 },
  ]

  cases(
    refused,
    ({ what }) => `${what} is refused with EINVAL, and writes nothing`,
    { needs },
    ({ kvm }, { offset, length }) => {
      using vm = kvm.createVm()
      using file = vm.createGuestMemfd({ size: pages(4), flags: writable() })
      const mapping = file.mmap()
      mapping.fill(0xc3)

      expect(() => file.pwrite(new Uint8Array(length).fill(0x77), offset)).toFailWith('EINVAL')

      expect(mapping).toBeFilledWith(0xc3)
    },
  )

  test('with O_APPEND is past the end of the file: EINVAL', { needs }, ({ kvm }) => {
    using vm = kvm.createVm()
    using file = vm.createGuestMemfd({ size: pages(1), flags: writable() })
    sys('fcntl', file.fd, F_SETFL, O_RDWR | O_APPEND)

    expect(() => file.write(PAGE)).toFailWith('EINVAL')

    expect(fillOfPages(file.mmap())).toEqual([0])
  })

  test('a second time takes the place of the first, for mappings that are there already', { needs }, async ({
    kvm,
  }) => {
    using vm = kvm.createVm()
    const memory = writableMemory(vm, 2)
    using vcpu = vm.createVcpu()
    memory.guestMemfd.write(distinctPages(2))
    await expect(vcpu).toSeeFilledWith(0x12, memory.range(pages(1), pages(1)))
    const seen = fillOfPages(memory.shared)

    memory.guestMemfd.pwrite(distinctPages(2, 0x41), 0n)

    expect(seen).toEqual([0x11, 0x12])
    expect(fillOfPages(memory.shared)).toEqual([0x41, 0x42])
    await expect(vcpu).toSeeFilledWith(0x42, memory.range(pages(1), pages(1)))
  })

  test('replaces what the guest wrote, and the guest may write after it', { needs }, async ({ kvm }) => {
    using vm = kvm.createVm()
    const memory = writableMemory(vm, 2)
    using vcpu = vm.createVcpu()
    await vcpu.fill(memory, 0xbb)

    memory.guestMemfd.pwrite(PAGE, pages(1))
    await vcpu.write64(gpaAdd(memory.gpa, pages(1)), 0x1234n)

    expect(memory.shared.read64(pages(1))).toBe(0x1234n)
    expect(memory.shared.findMismatch(0x77, { offset: bytes(4104), size: bytes(4088) })).toBe(null)
    expect(memory.shared.findMismatch(0xbb, { offset: bytes(0), size: pages(1) })).toBe(null)
  })

  test('writes a hole that was punched, which reads zero if it is not written', { needs }, ({ kvm }) => {
    using vm = kvm.createVm()
    using file = vm.createGuestMemfd({ size: pages(3), flags: writable() })
    file.write(distinctPages(3))
    soilFreePages()

    file.punchHole()
    file.pwrite(PAGE, pages(1))

    expect(fillOfPages(file.mmap())).toEqual([0, 0x77, 0])
  })
})

describe('the flag that allows write(2)', () => {
  test('is reported for a DEFAULT VM', { needs }, ({ kvm }) => {
    using vm = kvm.createVm()

    expect(BigInt(vm.capability('GUEST_MEMFD_FLAGS')) & writeFlag.bit()).toBe(writeFlag.bit())
  })

  // The host may write only what it may access: the flag is offered where INIT_SHARED is.
  test('is refused on a VM whose private memory the file does not track', {
    needs: [...needs, vmType.swProtected, not(inPlaceConversion)],
  }, ({ kvm }) => {
    using vm = kvm.createVm({ type: 'SW_PROTECTED' })

    expect(() => vm.createGuestMemfd({ size: pages(1), flags: writeFlag.bit() })).toFailWith('EINVAL')

    expect(BigInt(vm.capability('GUEST_MEMFD_FLAGS')) & writeFlag.bit()).toBe(0n)
  })

  test('is needed: without it write(2) and pwrite(2) give ENODEV, and write nothing', { needs }, ({
    kvm,
  }) => {
    using vm = kvm.createVm()
    using file = vm.createGuestMemfd({ size: pages(1), flags: SHARED_FLAGS })
    const mapping = file.mmap()
    mapping.fill(0xc3)

    expect(() => file.write(PAGE)).toFailWith('ENODEV')
    expect(() => file.pwrite(PAGE, 0n)).toFailWith('ENODEV')

    expect(mapping).toBeFilledWith(0xc3)
  })

  test('allows no reading', { needs }, ({ kvm }) => {
    using vm = kvm.createVm()
    using file = vm.createGuestMemfd({ size: pages(1), flags: writable() })

    expect(() => file.read(4096)).toFailWith('EINVAL')
    // EINVAL where the file has FMODE_PREAD but no way to read, ESPIPE where it has not.
    expect(['EINVAL', 'ESPIPE']).toContain(errnoOf(() => file.pread(4096, 0n)))
  })
})
