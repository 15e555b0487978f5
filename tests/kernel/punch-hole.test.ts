// SPDX-License-Identifier: Apache-2.0
import { cases, describe, expect, gpa, pages, sharedGuestMemfd, test } from 'gmem/testing'
import { onEveryVmType } from './support/vm-types.js'

const BASE = gpa(0x1000_0000)
const SHARED = { mmap: true, initShared: true }
const SEED = 0x5eed_5eedn

describe('a hole in a guest_memfd', () => {
  cases(
    [
      { what: 'the first page', first: 0, count: 1 },
      { what: 'a page in the middle', first: 3, count: 1 },
      { what: 'the last page', first: 7, count: 1 },
      { what: 'all but the first and last page', first: 1, count: 6 },
      { what: 'the first half', first: 0, count: 4 },
      { what: 'all pages', first: 0, count: 8 },
    ],
    ({ what }) => `of ${what} reads zero through a mapping, and its neighbours keep their bytes`,
    { needs: [sharedGuestMemfd] },
    ({ kvm }, { first, count }) => {
      using vm = kvm.createVm()
      using file = vm.createGuestMemfd({ size: pages(8), flags: SHARED })
      const mapping = file.mmap()
      mapping.fill(0x77)

      file.punchHole(file.span(pages(first), pages(count)))

      expect(mapping).toBeFilledWith(0x77, file.span(pages(0), pages(first)))
      expect(mapping).toBeFilledWith(0, file.span(pages(first), pages(count)))
      expect(mapping).toBeFilledWith(0x77, file.span(pages(first + count), pages(8 - first - count)))
    },
  )

  test('that reaches beyond the end of the file ends there', { needs: [sharedGuestMemfd] }, ({ kvm }) => {
    using vm = kvm.createVm()
    using file = vm.createGuestMemfd({ size: pages(4), flags: SHARED })
    const mapping = file.mmap()
    mapping.fill(0x77)

    file.punchHole(file.span(pages(3), pages(1000)))

    expect(mapping).toBeFilledWith(0x77, file.span(pages(0), pages(3)))
    expect(mapping).toBeFilledWith(0, file.span(pages(3), pages(1)))
  })

  test('beyond the end of the file touches nothing', { needs: [sharedGuestMemfd] }, ({ kvm }) => {
    using vm = kvm.createVm()
    using file = vm.createGuestMemfd({ size: pages(4), flags: SHARED })
    const mapping = file.mmap()
    mapping.fill(0x77)

    file.punchHole(file.span(pages(4), pages(4)))

    expect(mapping).toBeFilledWith(0x77)
  })

  test('takes its pages out of every mapping, and gives them back at the next touch', {
    needs: [sharedGuestMemfd],
  }, ({ kvm }) => {
    using vm = kvm.createVm()
    using file = vm.createGuestMemfd({ size: pages(4), flags: SHARED })
    const [one, other] = [file.mmap(), file.mmap()]
    one.fill(0x77)
    other.read8(pages(1))

    file.punchHole(file.span(pages(1), pages(2)))

    expect([...one.mincore()]).toEqual([1, 0, 0, 1])
    expect([...other.mincore()]).toEqual([1, 0, 0, 1])
    other.write8(pages(1), 0x88)
    expect(one.read8(pages(1))).toBe(0x88)
    expect([...one.mincore()]).toEqual([1, 1, 0, 1])
  })

  test('that is allocated again still reads zero, as one that is punched twice', {
    needs: [sharedGuestMemfd],
  }, ({ kvm }) => {
    using vm = kvm.createVm()
    using file = vm.createGuestMemfd({ size: pages(3), flags: SHARED })
    const mapping = file.mmap()
    mapping.fill(0x77)

    file.punchHole(file.span(pages(1), pages(1)))
    file.punchHole(file.span(pages(1), pages(1)))
    file.allocate()

    expect(mapping).toBeFilledWith(0x77, file.span(pages(0), pages(1)))
    expect(mapping).toBeFilledWith(0, file.span(pages(1), pages(1)))
    expect(mapping).toBeFilledWith(0x77, file.span(pages(2), pages(1)))
  })

  test('releases a locked page too', { needs: [sharedGuestMemfd] }, ({ kvm }) => {
    using vm = kvm.createVm()
    using file = vm.createGuestMemfd({ size: pages(2), flags: SHARED })
    const mapping = file.mmap()
    mapping.fill(0x77)
    mapping.mlock()

    file.punchHole(file.span(pages(0), pages(1)))

    expect(mapping).toBeFilledWith(0, file.span(pages(0), pages(1)))
    expect(mapping).toBeFilledWith(0x77, file.span(pages(1), pages(1)))
  })
})

describe('allocating pages of a guest_memfd', () => {
  test('keeps what they hold', { needs: [sharedGuestMemfd] }, ({ kvm }) => {
    using vm = kvm.createVm()
    using file = vm.createGuestMemfd({ size: pages(4), flags: SHARED })
    const mapping = file.mmap()
    mapping.fill(0x77, file.span(pages(1), pages(2)))

    file.allocate()

    expect(mapping).toBeFilledWith(0, file.span(pages(0), pages(1)))
    expect(mapping).toBeFilledWith(0x77, file.span(pages(1), pages(2)))
    expect(mapping).toBeFilledWith(0, file.span(pages(3), pages(1)))
  })
})

describe('a hole in a guest_memfd that guests use', () => {
  onEveryVmType(({ type, bindable, flags, serveFromFile }) => {
    test('reads zero in the guest, whose other pages keep their bytes', { needs: bindable }, async ({
      kvm,
    }) => {
      using vm = kvm.createVm({ type })
      const memory = vm.addMemory({ gpa: BASE, size: pages(8), guestMemfd: flags })
      serveFromFile(vm, memory)
      using vcpu = vm.createVcpu()
      await vcpu.fillPattern(memory, SEED)

      memory.punchHole(memory.range(pages(3), pages(2)))

      await expect(vcpu).toSeePattern(SEED, memory.range(pages(0), pages(3)))
      await expect(vcpu).toSeeFilledWith(0, memory.range(pages(3), pages(2)))
      await expect(vcpu).toSeePattern(SEED, memory.range(pages(5), pages(3)))
    })

    test('can be filled again by the guest, alone', { needs: bindable }, async ({ kvm }) => {
      using vm = kvm.createVm({ type })
      const memory = vm.addMemory({ gpa: BASE, size: pages(3), guestMemfd: flags })
      serveFromFile(vm, memory)
      using vcpu = vm.createVcpu()
      await vcpu.fill(memory, 0x77)

      memory.punchHole(memory.range(pages(1), pages(1)))
      await vcpu.write64(memory.gpaOf(pages(1)), 0x1234n)

      expect(await vcpu.read64(memory.gpaOf(pages(1)))).toBe(0x1234n)
      const untouched = {
        gpa: (memory.gpaOf(pages(1)) + 8n) as typeof memory.gpa,
        size: (pages(1) - 8n) as typeof memory.size,
      }
      await expect(vcpu).toSeeFilledWith(0, untouched)
      await expect(vcpu).toSeeFilledWith(0x77, memory.range(pages(2), pages(1)))
    })

    test('starts as zero in the guest where the file was only allocated', { needs: bindable }, async ({
      kvm,
    }) => {
      using vm = kvm.createVm({ type })
      const memory = vm.addMemory({ gpa: BASE, size: pages(4), guestMemfd: flags })
      serveFromFile(vm, memory)
      using vcpu = vm.createVcpu()

      memory.allocate(memory.range(pages(0), pages(2)))

      await expect(vcpu).toSeeFilledWith(0, memory)
    })
  })
})
