// SPDX-License-Identifier: Apache-2.0
import { describe, expect, gpa, pages, sharedGuestMemfd, test } from 'gmem/testing'
import { onEveryVmType } from './support/vm-types.js'

const LOW = gpa(0x1000_0000)
const HIGH = gpa(0x2000_0000)
const SEED = 0x0ddb_a11_0000n
/** Below a slot's offset in its file: pgoff > base_gfn, which arithmetic in the wrong order gets wrong. */
const NEAR_ZERO = gpa(pages(4))

describe('a memslot at an offset of a guest_memfd', () => {
  test('shows the guest exactly those pages of the file, in both directions', {
    needs: [sharedGuestMemfd],
  }, async ({ kvm }) => {
    using vm = kvm.createVm()
    using file = vm.createGuestMemfd({ size: pages(8), flags: { mmap: true, initShared: true } })
    const whole = file.mmap()
    const memory = vm.addMemory({ gpa: LOW, size: pages(3), guestMemfd: file, offset: pages(4) })
    using vcpu = vm.createVcpu()
    whole.fill(0x11, file.span(pages(3), pages(1)))
    whole.fill(0x22, file.span(pages(4), pages(3)))

    await expect(vcpu).toSeeFilledWith(0x22, memory)
    await vcpu.fill(memory.range(pages(2), pages(1)), 0x33)

    expect(whole).toBeFilledWith(0, file.span(pages(0), pages(3)))
    expect(whole).toBeFilledWith(0x11, file.span(pages(3), pages(1)))
    expect(whole).toBeFilledWith(0x22, file.span(pages(4), pages(2)))
    expect(whole).toBeFilledWith(0x33, file.span(pages(6), pages(1)))
    expect(whole).toBeFilledWith(0, file.span(pages(7), pages(1)))
  })

  onEveryVmType(({ type, bindable, flags, serveFromFile }) => {
    test('loses exactly the pages that are punched in the file, also at a gpa below the offset', {
      needs: bindable,
    }, async ({ kvm }) => {
      using vm = kvm.createVm({ type })
      using file = vm.createGuestMemfd({ size: pages(16), flags })
      const memory = vm.addMemory({ gpa: NEAR_ZERO, size: pages(4), guestMemfd: file, offset: pages(8) })
      serveFromFile(vm, memory)
      using vcpu = vm.createVcpu()
      await vcpu.fillPattern(memory, SEED)

      file.punchHole(file.span(pages(0), pages(8)))
      await expect(vcpu).toSeePattern(SEED, memory)
      file.punchHole(file.span(pages(6), pages(4)))

      await expect(vcpu).toSeeFilledWith(0, memory.range(pages(0), pages(2)))
      await expect(vcpu).toSeePattern(SEED, memory.range(pages(2), pages(2)))
      file.punchHole(file.span(pages(11), pages(5)))
      await expect(vcpu).toSeePattern(SEED, memory.range(pages(2), pages(1)))
      await expect(vcpu).toSeeFilledWith(0, memory.range(pages(3), pages(1)))
    })
  })
})

describe('several memslots on one guest_memfd', () => {
  onEveryVmType(({ type, bindable, flags, serveFromFile }) => {
    test('show each its own part of it', { needs: bindable }, async ({ kvm }) => {
      using vm = kvm.createVm({ type })
      using file = vm.createGuestMemfd({ size: pages(8), flags })
      // In the file: first, then second; in guest memory the other way round.
      const first = vm.addMemory({ gpa: HIGH, size: pages(3), guestMemfd: file })
      const second = vm.addMemory({ gpa: LOW, size: pages(5), guestMemfd: file, offset: pages(3) })
      serveFromFile(vm, first)
      serveFromFile(vm, second)
      using vcpu = vm.createVcpu()

      await vcpu.fill(first, 0xa1)
      await vcpu.fill(second, 0xb2)

      await expect(vcpu).toSeeFilledWith(0xa1, first)
      await expect(vcpu).toSeeFilledWith(0xb2, second)
    })

    test('read zero exactly where one punch crosses them, and nowhere else', { needs: bindable }, async ({
      kvm,
    }) => {
      using vm = kvm.createVm({ type })
      using file = vm.createGuestMemfd({ size: pages(16), flags })
      // In the file: pages 0..3, a gap of four pages that no slot has, pages 8..11, pages 12..15.
      const before = vm.addMemory({ gpa: HIGH, size: pages(4), guestMemfd: file, offset: pages(0) })
      const middle = vm.addMemory({ gpa: LOW, size: pages(4), guestMemfd: file, offset: pages(8) })
      const after = vm.addMemory({ gpa: NEAR_ZERO, size: pages(4), guestMemfd: file, offset: pages(12) })
      serveFromFile(vm, before)
      serveFromFile(vm, middle)
      serveFromFile(vm, after)
      using vcpu = vm.createVcpu()
      await vcpu.fillPattern(before, SEED)
      await vcpu.fillPattern(middle, SEED)
      await vcpu.fillPattern(after, SEED)

      file.punchHole(file.span(pages(3), pages(11)))

      await expect(vcpu).toSeePattern(SEED, before.range(pages(0), pages(3)))
      await expect(vcpu).toSeeFilledWith(0, before.range(pages(3), pages(1)))
      await expect(vcpu).toSeeFilledWith(0, middle)
      await expect(vcpu).toSeeFilledWith(0, after.range(pages(0), pages(2)))
      await expect(vcpu).toSeePattern(SEED, after.range(pages(2), pages(2)))
    })

    test('go one by one: deleting one leaves the others alone', { needs: bindable }, async ({ kvm }) => {
      using vm = kvm.createVm({ type })
      using file = vm.createGuestMemfd({ size: pages(8), flags })
      const kept = vm.addMemory({ gpa: HIGH, size: pages(4), guestMemfd: file })
      const removed = vm.addMemory({ gpa: LOW, size: pages(4), guestMemfd: file, offset: pages(4) })
      serveFromFile(vm, kept)
      serveFromFile(vm, removed)
      using vcpu = vm.createVcpu()
      await vcpu.fillPattern(kept, SEED)

      removed.remove()
      file.punchHole(file.span(pages(4), pages(4)))

      await expect(vcpu).toSeePattern(SEED, kept)
    })
  })
})

describe('a guest_memfd whose memslot is deleted', () => {
  onEveryVmType(({ type, bindable, flags, serveFromFile }) => {
    test('keeps its contents, for a memslot at another gpa and offset', { needs: bindable }, async ({
      kvm,
    }) => {
      using vm = kvm.createVm({ type })
      using file = vm.createGuestMemfd({ size: pages(4), flags })
      const first = vm.addMemory({ gpa: LOW, size: pages(4), guestMemfd: file })
      serveFromFile(vm, first)
      using vcpu = vm.createVcpu()
      await vcpu.fill(first.range(pages(0), pages(1)), 0xa0)
      await vcpu.fill(first.range(pages(1), pages(3)), 0xa1)

      first.remove()
      const second = vm.addMemory({ gpa: HIGH, size: pages(3), guestMemfd: file, offset: pages(1) })
      const third = vm.addMemory({ gpa: LOW, size: pages(1), guestMemfd: file })
      serveFromFile(vm, second)
      serveFromFile(vm, third)

      await expect(vcpu).toSeeFilledWith(0xa1, second)
      await expect(vcpu).toSeeFilledWith(0xa0, third)
    })

    test('can be punched before it is bound again, and reads zero then', { needs: bindable }, async ({
      kvm,
    }) => {
      using vm = kvm.createVm({ type })
      using file = vm.createGuestMemfd({ size: pages(2), flags })
      const first = vm.addMemory({ gpa: LOW, size: pages(2), guestMemfd: file })
      serveFromFile(vm, first)
      using vcpu = vm.createVcpu()
      await vcpu.fillPattern(first, SEED)

      first.remove()
      file.punchHole(file.span(pages(0), pages(1)))
      const again = vm.addMemory({ gpa: LOW, size: pages(2), guestMemfd: file })
      serveFromFile(vm, again)

      await expect(vcpu).toSeeFilledWith(0, again.range(pages(0), pages(1)))
      await expect(vcpu).toSeePattern(SEED, again.range(pages(1), pages(1)))
    })
  })

  test('is gone for the guest: its access is an MMIO exit', { needs: [sharedGuestMemfd] }, async ({
    kvm,
  }) => {
    using vm = kvm.createVm()
    const memory = vm.addMemory({ gpa: LOW, size: pages(2), guestMemfd: { mmap: true, initShared: true } })
    using vcpu = vm.createVcpu()
    await vcpu.write64(memory.gpa, 1n)

    memory.remove()

    expect(await vcpu.attempt.read32(memory.gpa)).toBeExit({ reason: 'MMIO', gpa: LOW, isWrite: false })
  })
})
