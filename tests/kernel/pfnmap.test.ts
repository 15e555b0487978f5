// SPDX-License-Identifier: Apache-2.0
import { KVM_MEM_LOG_DIRTY_PAGES } from 'gmem/abi'
import type { Gpa, Vcpu, Vm } from 'gmem/kvm'
import { cases, describe, expect, pages, preFault, sharedGuestMemfd, test } from 'gmem/testing'
import { BASE, privateMemory } from './support/conversion.js'
import {
  ALLOCATED,
  type PageKind,
  Pfnmap,
  pfnmapModule,
  pfnmapRows,
  SMALL_WAYS,
  slotOf,
  titleOf,
} from './support/pfnmap.js'
import { issueOf, optionsOf, UNCOUNTED_FOR_KVM } from './support/pfnmap-issues.js'
import { VmFolder } from './support/vm-life.js'

const needs = [pfnmapModule]
/** asm/kvm_para.h: MSR_KVM_SYSTEM_TIME_NEW, whose bit 0 enables. */
const SYSTEM_TIME = 0x4b56_4d01
/** linux/kvm.h: a struct kvm_msrs with one entry; struct kvm_clock_data. */
const KVM_SET_MSRS = 0x4008_ae89
const KVM_SET_CLOCK = 0x4030_ae7b
const CLOCK_DATA_BYTES = 48
const CLOCK_KINDS: readonly { kind: PageKind }[] = [{ kind: 'refcounted' }, { kind: 'tails' }]

const STALE = 0xdead_dead_dead_deadn
const EVERY_PAGE = pfnmapRows(ALLOCATED, SMALL_WAYS)

/** Where the guest wants its clock (struct pvclock_vcpu_time_info, which starts with a version that is not 0). */
function setClockPage(vcpu: Vcpu, page: Gpa): void {
  const msrs = new DataView(new ArrayBuffer(24))
  msrs.setUint32(0, 1, true)
  msrs.setUint32(8, SYSTEM_TIME, true)
  msrs.setBigUint64(16, page | 1n, true)
  vcpu.ioctl(KVM_SET_MSRS, new Uint8Array(msrs.buffer))
}

/** Has all vCPUs' clocks written again. */
function setClock(vm: Vm): void {
  vm.ioctl(KVM_SET_CLOCK, new Uint8Array(CLOCK_DATA_BYTES))
}

describe('a memslot over VM_PFNMAP memory', () => {
  cases(
    EVERY_PAGE,
    titleOf('are one memory for guest, host and kernel, without a reference'),
    optionsOf(needs),
    async (context, row) => {
      const set = new Pfnmap(context, row)
      const before = set.refcounts()
      using vm = context.kvm.createVm()
      const memory = slotOf(vm, set)
      using vcpu = vm.createVcpu()

      await vcpu.write64(memory.gpaOf(pages(1)), 0x1111n)
      memory.shared.write64(pages(2), 0x2222n)
      set.write(3, 0x3333n)
      const guest = [await vcpu.read64(memory.gpaOf(pages(2))), await vcpu.read64(memory.gpaOf(pages(3)))]
      const mapped = set.refcounts()
      memory.remove()

      expect(guest).toEqual([0x2222n, 0x3333n])
      expect([set.read(1), memory.shared.read64(pages(1))]).toEqual([0x1111n, 0x1111n])
      expect(mapped).toEqual(before)
      expect(set.refcounts()).toEqual(before)
    },
  )

  cases(EVERY_PAGE, titleOf('are let go of with the VM'), optionsOf(needs), async (context, row) => {
    const set = new Pfnmap(context, row)
    const before = set.refcounts()
    const vm = context.kvm.createVm()
    const memory = slotOf(vm, set)
    await vm.createVcpu().fill(memory, 0x5a)
    const folder = new VmFolder(vm)

    vm.close()

    expect(await folder.vanishes()).toBe(true)
    expect(set.refcounts()).toEqual(before)
    expect(set.mapping).toBeFilledWith(0x5a)
  })

  test('is mapped whole by KVM_PRE_FAULT_MEMORY', {
    needs: [...needs, preFault()],
    ...issueOf('tails', UNCOUNTED_FOR_KVM),
  }, async (context) => {
    const set = new Pfnmap(context, { kind: 'tails', way: 'fault' })
    const before = set.refcounts()
    using vm = context.kvm.createVm()
    const memory = slotOf(vm, set)
    using vcpu = vm.createVcpu()

    const { code, size } = vcpu.preFault(memory)

    expect({ code, size }).toEqual({ code: '', size: 0n })
    expect(set.refcounts()).toEqual(before)
    expect([0, 1, 2, 3].map((page) => set.info(page).faults)).toEqual([1, 1, 1, 1])
  })

  test('refuses KVM_PRE_FAULT_MEMORY where user space has no page', {
    needs: [...needs, preFault()],
    ...issueOf('tails', UNCOUNTED_FOR_KVM),
  }, async (context) => {
    const set = new Pfnmap(context, { kind: 'tails', way: 'remap' })
    using vm = context.kvm.createVm()
    const memory = slotOf(vm, set)
    using vcpu = vm.createVcpu()
    set.zap(2, 1)

    const first = vcpu.preFault(memory)
    const second = vcpu.preFault(memory.range(pages(2), pages(2)))

    expect(first).toMatchObject({ code: '', gpa: memory.gpaOf(pages(2)), size: pages(2) })
    expect(second).toMatchObject({ code: 'EFAULT', size: pages(2) })
  })

  test('logs what the guest writes', { needs, ...issueOf('tails') }, async (context) => {
    const set = new Pfnmap(context, { kind: 'tails', way: 'fault' })
    using vm = context.kvm.createVm()
    const memory = slotOf(vm, set, { flags: KVM_MEM_LOG_DIRTY_PAGES })
    using vcpu = vm.createVcpu()

    await vcpu.write64(memory.gpaOf(pages(1)), 1n)
    const first = vm.dirtyLog(memory.slot, memory.size)[0]
    set.replace(0n, 1, 1)
    await vcpu.write64(memory.gpaOf(pages(3)), 1n)

    expect([first, vm.dirtyLog(memory.slot, memory.size)[0]]).toEqual([0b0010, 0b1000])
  })

  test('is one memory for two VMs', { needs, ...issueOf('tails') }, async (context) => {
    const set = new Pfnmap(context, { kind: 'tails', way: 'fault' })
    using one = context.kvm.createVm()
    using two = context.kvm.createVm()
    const [here, there] = [slotOf(one, set), slotOf(two, set)]

    await one.createVcpu().write64(here.gpaOf(pages(1)), 0x1111n)
    set.write(2, 0x2222n, 'spare')
    const reader = two.createVcpu()
    const before = await reader.read64(there.gpaOf(pages(1)))
    set.replace(0n, 2, 1)

    expect(before).toBe(0x1111n)
    expect(await reader.read64(there.gpaOf(pages(2)))).toBe(0x2222n)
  })
})

// A gfn_to_pfn_cache needs no pin: MMU notifiers invalidate it (virt/kvm/pfncache.c, 7.3.4).
describe('the clock that KVM itself writes into guest memory', () => {
  cases(
    CLOCK_KINDS,
    ({ kind }) =>
      `is in VM_PFNMAP memory without a reference, and in the new page after a replacement: ${kind} pages`,
    optionsOf(needs, UNCOUNTED_FOR_KVM),
    async (context, { kind }) => {
      const set = new Pfnmap(context, { kind, way: 'fault' })
      const before = set.refcounts()
      using vm = context.kvm.createVm()
      const memory = slotOf(vm, set)
      using vcpu = vm.createVcpu()
      await vcpu.ready()
      setClockPage(vcpu, memory.gpaOf(pages(1)))
      await vcpu.read64(memory.gpa)
      const first = set.read(1)
      const whileUsed = set.refcounts()

      set.replace(STALE, 1, 1)
      setClock(vm)
      await vcpu.read64(memory.gpa)

      expect(first).not.toBe(0n)
      expect(whileUsed).toEqual(before)
      expect(set.read(1)).not.toBe(0n)
      expect(set.read(1, 'spare')).toBe(STALE)
    },
  )
})

describe('VM_PFNMAP memory beside guest_memfd', () => {
  test('is left alone by what happens to the file, and the other way round', {
    needs: [...needs, sharedGuestMemfd],
    ...issueOf('tails'),
  }, async (context) => {
    const set = new Pfnmap(context, { kind: 'tails', way: 'fault' })
    using vm = context.kvm.createVm()
    const memory = slotOf(vm, set)
    const flags = { mmap: true, initShared: true }
    const file = vm.addMemory({ gpa: memory.gpaOf(memory.size), size: pages(4), guestMemfd: flags })
    using vcpu = vm.createVcpu()
    await vcpu.fill(memory, 0x5a)
    await vcpu.fill(file, 0x77)

    file.punchHole(file.range(pages(0), pages(1)))
    set.replace(STALE, 3, 1)

    await expect(vcpu).toSeeFilledWith(0x5a, memory.range(pages(0), pages(3)))
    await expect(vcpu).toSeeFilledWith(0, memory.range(pages(3), pages(1)))
    await expect(vcpu).toSeeFilledWith(0, file.range(pages(0), pages(1)))
    await expect(vcpu).toSeeFilledWith(0x77, file.range(pages(1), pages(3)))
  })

  test('is the shared half of a memslot whose private half is a guest_memfd', {
    needs: [...needs, ...privateMemory],
    ...issueOf('tails'),
  }, async (context) => {
    const set = new Pfnmap(context, { kind: 'tails', way: 'fault' })
    const before = set.refcounts()
    using vm = context.kvm.createVm({ type: 'SW_PROTECTED' })
    const memory = vm.addMemory({ gpa: BASE, size: set.mapping.size, guestMemfd: {}, userspace: set.mapping })
    using vcpu = vm.createVcpu()
    await vcpu.fill(memory, 0x5a)

    vm.setPrivate(memory.range(pages(1), pages(1)))
    const whilePrivate = await vcpu.read64(memory.gpaOf(pages(1)))
    await vcpu.write64(memory.gpaOf(pages(1)), 0x77n)
    set.replace(STALE, 1, 1)
    const afterReplacement = await vcpu.read64(memory.gpaOf(pages(1)))
    vm.setShared(memory.range(pages(1), pages(1)))

    expect([whilePrivate, afterReplacement]).toEqual([0n, 0x77n])
    expect(await vcpu.read64(memory.gpaOf(pages(1)))).toBe(0n)
    expect(set.read(1, 'spare')).toBe(STALE)
    expect(set.refcounts()).toEqual(before)
  })
})
