// SPDX-License-Identifier: Apache-2.0
import {
  KVM_MEM_LOG_DIRTY_PAGES,
  KVM_MEM_READONLY,
  MAP_PRIVATE,
  MAP_SHARED,
  PROT_READ,
  PROT_WRITE,
} from 'gmem/abi'
import { binding, type Gpa, type GpaRange, Mapping } from 'gmem/kvm'
import { bytes, cases, describe, expect, gpaAdd, mib, pages, preFault, test, thp } from 'gmem/testing'
import { BASE } from './support/conversion.js'
import { faultsIn, PREFAULT_KINDS, privateKind, remainder, sharedKind } from './support/prefault.js'
import { memfd } from './support/system-calls.js'

const byKind = ({ needs }: { readonly needs: (typeof PREFAULT_KINDS)[number]['needs'] }) => ({ needs })

/** What is left of a range when all of it is done: nothing, at its end. */
function done({ gpa, size }: GpaRange): object {
  return remainder('', { gpa: gpaAdd(gpa as Gpa, bytes(size)), size: bytes(0) })
}

describe('KVM_PRE_FAULT_MEMORY', () => {
  cases(
    PREFAULT_KINDS,
    ({ what }) => `maps ${what}, page by page, so that the guest takes no fault there`,
    byKind,
    async ({ kvm }, { type, make }) => {
      using vm = kvm.createVm({ type })
      const memory = make(vm, 16)
      using vcpu = vm.createVcpu()
      await vcpu.ready()
      const mapped = vm.stat('pages_4k')
      const taken = vcpu.stat('pf_taken')

      const result = vcpu.preFault(memory)

      expect(result).toEqual(done(memory))
      expect(vm.stat('pages_4k')).toBe(mapped + 16n)
      expect(vcpu.stat('pf_taken')).toBe(taken)
      expect(await faultsIn(vcpu, () => expect(vcpu).toSeeFilledWith(0, memory))).toBe(0n)
    },
  )

  cases(
    PREFAULT_KINDS,
    ({ what }) => `maps just the pages that it is given of ${what}`,
    byKind,
    async ({ kvm }, { type, make }) => {
      using vm = kvm.createVm({ type })
      const memory = make(vm, 4)
      using vcpu = vm.createVcpu()
      await vcpu.ready()
      const middle = memory.range(pages(1), pages(2))

      expect(vcpu.preFault(middle)).toEqual(done(middle))

      expect(await faultsIn(vcpu, () => vcpu.read64(memory.gpa))).toBe(1n)
      expect(await faultsIn(vcpu, () => expect(vcpu).toSeeFilledWith(0, middle))).toBe(0n)
      expect(await faultsIn(vcpu, () => vcpu.read64(memory.gpaOf(pages(3))))).toBe(1n)
    },
  )

  cases(
    PREFAULT_KINDS,
    ({ what }) => `has nothing to do in ${what} that is mapped, and says it is done`,
    byKind,
    async ({ kvm }, { type, make }) => {
      using vm = kvm.createVm({ type })
      const memory = make(vm, 4)
      using vcpu = vm.createVcpu()
      await vcpu.fill(memory, 0x3c)
      const mapped = vm.stat('pages_4k')

      expect(vcpu.preFault(memory)).toEqual(done(memory))
      expect(vcpu.preFault(memory)).toEqual(done(memory))

      expect(vm.stat('pages_4k')).toBe(mapped)
      await expect(vcpu).toSeeFilledWith(0x3c, memory)
    },
  )

  cases(
    PREFAULT_KINDS,
    ({ what }) => `does the part of a range that is in ${what}, says what is left, and ENOENT for that`,
    byKind,
    async ({ kvm }, { type, make }) => {
      using vm = kvm.createVm({ type })
      const memory = make(vm, 4)
      const left = { gpa: memory.gpaOf(pages(4)), size: pages(2) }
      using vcpu = vm.createVcpu()
      await vcpu.ready()

      expect(vcpu.preFault({ gpa: memory.gpaOf(pages(1)), size: pages(5) })).toEqual(remainder('', left))

      expect(vcpu.preFault(left)).toEqual(remainder('ENOENT', left))
      expect(
        await faultsIn(vcpu, () => expect(vcpu).toSeeFilledWith(0, memory.range(pages(1), pages(3)))),
      ).toBe(0n)
    },
  )

  test('does two memslots in one call, and stops at the gap behind them', {
    needs: privateKind.needs,
  }, async ({ kvm }) => {
    using vm = kvm.createVm({ type: 'SW_PROTECTED' })
    const first = vm.addMemory({ gpa: BASE, size: pages(2), guestMemfd: {} })
    const second = vm.addMemory({ gpa: first.gpaOf(pages(2)), size: pages(2) })
    vm.setPrivate(first)
    const gap = { gpa: second.gpaOf(pages(2)), size: pages(1) }
    using vcpu = vm.createVcpu()
    await vcpu.ready()

    expect(vcpu.preFault({ gpa: BASE, size: pages(5) })).toEqual(remainder('', gap))

    expect(await faultsIn(vcpu, () => expect(vcpu).toSeeFilledWith(0, { gpa: BASE, size: pages(4) }))).toBe(
      0n,
    )
  })

  test('works on a vCPU that has never run', { needs: sharedKind.needs }, ({ kvm }) => {
    using vm = kvm.createVm()
    const memory = sharedKind.make(vm, 3)
    using vcpu = vm.createVcpu()

    expect(vcpu.preFault(memory)).toEqual(done(memory))

    expect(vm.stat('pages_4k')).toBe(3n)
  })

  test('maps for every vCPU of the VM', { needs: privateKind.needs }, async ({ kvm }) => {
    using vm = kvm.createVm({ type: 'SW_PROTECTED' })
    const memory = privateKind.make(vm, 4)
    using first = vm.createVcpu()
    using second = vm.createVcpu()
    await second.ready()

    first.preFault(memory)

    expect(await faultsIn(second, () => second.fill(memory, 0x3c))).toBe(0n)
  })

  test('allocates the pages of a guest_memfd, which read zero', { needs: sharedKind.needs }, ({ kvm }) => {
    using vm = kvm.createVm()
    const memory = sharedKind.make(vm, 4)
    using vcpu = vm.createVcpu()

    vcpu.preFault(memory.range(pages(1), pages(2)))

    expect([...memory.shared.mincore()]).toEqual([0, 1, 1, 0])
    expect(memory).toBeFilledWith(0)
  })

  test('maps a guest_memfd for writing, too', { needs: privateKind.needs }, async ({ kvm }) => {
    using vm = kvm.createVm({ type: 'SW_PROTECTED' })
    const memory = privateKind.make(vm, 4)
    using vcpu = vm.createVcpu()
    await vcpu.ready()

    vcpu.preFault(memory)

    expect(await faultsIn(vcpu, () => vcpu.fill(memory, 0x3c))).toBe(0n)
    await expect(vcpu).toSeeFilledWith(0x3c, memory)
  })

  test('is a read: it ends no copy-on-write', { needs: [preFault()] }, async (context) => {
    using vm = context.kvm.createVm()
    const fd = memfd(context, pages(1))
    const original = new Mapping(binding.addon.mmap(pages(1), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0n, 0n))
    context.defer(() => original.close())
    const native = binding.addon.mmap(pages(1), PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0n, 0n)
    const memory = vm.addMemory({ gpa: BASE, size: pages(1), userspace: vm.adopt(new Mapping(native)) })
    using vcpu = vm.createVcpu()
    await vcpu.ready()

    expect(vcpu.preFault(memory)).toEqual(done(memory))
    original.fill(0x3c)

    // The guest still sees the file. Its own first write is what makes the copy.
    await expect(vcpu).toSeeFilledWith(0x3c, memory)
    expect(await faultsIn(vcpu, () => vcpu.fill(memory, 0x77))).toBeGreaterThan(0n)
    expect(original).toBeFilledWith(0x3c)
  })

  // Both map a page for writing where the host could write it already, and what is mapped for writing counts as dirty (make_spte()).
  test('is a read: it leaves the dirty log as one by the guest does', { needs: [preFault()] }, async ({
    kvm,
  }) => {
    using vm = kvm.createVm()
    const size = pages(8)
    const touched = { offset: bytes(0), size: pages(4) }
    const prefaulted = vm.addMemory({ gpa: BASE, size, flags: KVM_MEM_LOG_DIRTY_PAGES })
    const read = vm.addMemory({ gpa: gpaAdd(BASE, mib(2)), size, flags: KVM_MEM_LOG_DIRTY_PAGES })
    prefaulted.shared.fill(0x3c, touched)
    read.shared.fill(0x3c, touched)
    using vcpu = vm.createVcpu()

    expect(vcpu.preFault(prefaulted)).toEqual(done(prefaulted))
    await expect(vcpu).toSeeFilledWith(0x3c, read.range(pages(0), pages(4)))
    await expect(vcpu).toSeeFilledWith(0, read.range(pages(4), pages(4)))

    expect(vm.dirtyLog(prefaulted.slot, size)).toEqual(vm.dirtyLog(read.slot, size))
  })

  test('maps a read-only memslot, whose writes stay MMIO', { needs: [preFault()] }, async ({ kvm }) => {
    using vm = kvm.createVm()
    const memory = vm.addMemory({ gpa: BASE, size: pages(2), flags: KVM_MEM_READONLY })
    memory.shared.fill(0x3c)
    using vcpu = vm.createVcpu()
    await vcpu.ready()

    expect(vcpu.preFault(memory)).toEqual(done(memory))

    expect(await faultsIn(vcpu, () => expect(vcpu).toSeeFilledWith(0x3c, memory))).toBe(0n)
    expect(await vcpu.attempt.write64(BASE, 1n)).toBeExit({ reason: 'MMIO', gpa: BASE, isWrite: true })
  })

  test('maps a huge page as a whole, though it was asked for one page in it', {
    needs: [preFault(), thp],
  }, async ({ kvm }) => {
    using vm = kvm.createVm()
    const memory = vm.addMemory({ gpa: BASE, size: mib(4), backing: 'thp' })
    memory.shared.fill(0x3c)
    const page = memory.range(pages(7), pages(1))
    using vcpu = vm.createVcpu()
    await vcpu.ready()

    expect(vcpu.preFault(page)).toEqual(done(page))

    expect(vm.stat('pages_2m')).toBe(1n)
    expect(
      await faultsIn(vcpu, () => expect(vcpu).toSeeFilledWith(0x3c, memory.range(pages(0), mib(2)))),
    ).toBe(0n)
  })

  test('goes on with the next huge page at its start, wherever in the first it began', {
    needs: [preFault(), thp],
  }, async ({ kvm }) => {
    using vm = kvm.createVm()
    const memory = vm.addMemory({ gpa: BASE, size: mib(4), backing: 'thp' })
    memory.shared.fill(0x3c)
    using vcpu = vm.createVcpu()
    await vcpu.ready()
    const part = memory.range(pages(511), pages(2))

    expect(vcpu.preFault(part)).toEqual(done(part))

    expect(vm.stat('pages_2m')).toBe(2n)
  })
})
