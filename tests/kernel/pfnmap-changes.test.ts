// SPDX-License-Identifier: Apache-2.0
import { KVM_MEM_READONLY, MAP_FIXED, MAP_SHARED, PROT_READ, PROT_WRITE } from 'gmem/abi'
import { cases, describe, expect, pages, test } from 'gmem/testing'
import { ALLOCATED, FAULT_WAYS, Pfnmap, pfnmapModule, pfnmapRows, slotOf, titleOf } from './support/pfnmap.js'
import { issueOf, optionsOf } from './support/pfnmap-issues.js'
import { hammerReplaced } from './support/pfnmap-races.js'
import { sys } from './support/system-calls.js'

const needs = [pfnmapModule]
const FAULTED = pfnmapRows(ALLOCATED, FAULT_WAYS)
const STALE = 0xdead_dead_dead_deadn
/** How KVM_RUN fails where user space has no page for the guest: hva_to_pfn(), then kvm_handle_error_pfn() (7.3.4). */
const NO_PAGE = { reason: 'ERROR', code: 'EFAULT' } as const

describe('pages that are replaced under a memslot', () => {
  cases(
    FAULTED,
    titleOf('are the new ones for the guest at once'),
    optionsOf(needs),
    async (context, row) => {
      const set = new Pfnmap(context, row)
      using vm = context.kvm.createVm()
      const memory = slotOf(vm, set)
      using vcpu = vm.createVcpu()
      await vcpu.fill(memory, 0x01)
      set.write(1, 0x2222n, 'spare')

      set.replace(STALE, 1, 1)
      const seen = await vcpu.read64(memory.gpaOf(pages(1)))
      await vcpu.write64(memory.gpaOf(pages(1)), 0x3333n)

      expect(seen).toBe(0x2222n)
      expect([set.read(1), set.read(1, 'spare')]).toEqual([0x3333n, STALE])
      await expect(vcpu).toSeeFilledWith(0x01, memory.range(pages(2), pages(2)))
    },
  )
})

describe('pages that are zapped under a memslot', () => {
  cases(FAULTED, titleOf('come back with what they held'), optionsOf(needs), async (context, row) => {
    const set = new Pfnmap(context, row)
    using vm = context.kvm.createVm()
    const memory = slotOf(vm, set)
    using vcpu = vm.createVcpu()
    await vcpu.fill(memory, 0x5a)

    set.zap(2, 1)

    await expect(vcpu).toSeeFilledWith(0x5a, memory)
    expect([set.info(2).faults, set.info(3).faults]).toEqual([2, 1])
  })

  test('are gone for the guest, too, where nothing maps them again', { needs }, async (context) => {
    const set = new Pfnmap(context, { kind: 'refcounted', way: 'remap' })
    using vm = context.kvm.createVm()
    const memory = slotOf(vm, set)
    using vcpu = vm.createVcpu()
    await vcpu.fill(memory, 0x5a)

    set.zap(2, 1)
    const read = await vcpu.attempt.read64(memory.gpaOf(pages(2)))
    vcpu.reset()
    const write = await vcpu.attempt.write64(memory.gpaOf(pages(2)), 1n)
    vcpu.reset()

    expect(memory.shared.probe(pages(2))).toBeSignal('SIGBUS')
    expect(read).toBeExit(NO_PAGE)
    expect(write).toBeExit(NO_PAGE)
    await expect(vcpu).toSeeFilledWith(0x5a, memory.range(pages(3), pages(1)))
    expect(set.read(2)).toBe(0x5a5a_5a5a_5a5a_5a5an)
  })
})

describe('a mapping of VM_PFNMAP memory under a memslot', () => {
  test('that is replaced by one of other pages is those for the guest', {
    needs,
    ...issueOf('tails'),
  }, async (context) => {
    const old = new Pfnmap(context, { kind: 'tails', way: 'remap' })
    const other = new Pfnmap(context, { kind: 'refcounted', way: 'fault' })
    other.write(1, 0x2222n)
    using vm = context.kvm.createVm()
    const memory = slotOf(vm, old)
    using vcpu = vm.createVcpu()
    await vcpu.fill(memory, 0x01)

    const prot = PROT_READ | PROT_WRITE
    sys('mmap', memory.shared.hva, memory.size, prot, MAP_SHARED | MAP_FIXED, other.fd, 0n)
    const seen = await vcpu.read64(memory.gpaOf(pages(1)))
    await vcpu.write64(memory.gpaOf(pages(1)), 0x3333n)

    expect(seen).toBe(0x2222n)
    expect([other.read(1), old.read(1)]).toEqual([0x3333n, 0x0101_0101_0101_0101n])
  })

  test('that has a hole has one for the guest', { needs }, async (context) => {
    const set = new Pfnmap(context, { kind: 'refcounted', way: 'fault' })
    using vm = context.kvm.createVm()
    const memory = slotOf(vm, set)
    using vcpu = vm.createVcpu()
    await vcpu.fill(memory, 0x5a)

    memory.shared.munmap({ offset: pages(2), size: pages(1) })
    const inHole = await vcpu.attempt.read64(memory.gpaOf(pages(2)))
    vcpu.reset()

    expect(inHole).toBeExit(NO_PAGE)
    await expect(vcpu).toSeeFilledWith(0x5a, memory.range(pages(3), pages(1)))
  })

  test('that becomes read-only is so for the guest, until it is writable again', {
    needs,
  }, async (context) => {
    const set = new Pfnmap(context, { kind: 'refcounted', way: 'fault' })
    using vm = context.kvm.createVm()
    const memory = slotOf(vm, set)
    using vcpu = vm.createVcpu()
    const page = memory.gpaOf(pages(1))
    await vcpu.write64(page, 1n)

    memory.shared.mprotect(PROT_READ)
    const refused = await vcpu.attempt.write64(page, 2n)
    const meanwhile = set.read(1)
    vcpu.reset()
    memory.shared.mprotect(PROT_READ | PROT_WRITE)
    await vcpu.write64(page, 3n)

    expect(refused).toBeExit({ reason: 'MMIO', gpa: page, isWrite: true, length: 8 })
    expect(meanwhile).toBe(1n)
    expect(set.read(1)).toBe(3n)
  })
})

describe('a page that cannot be written', () => {
  const readOnly = [
    { what: 'mapped with PROT_READ', prot: PROT_READ, flags: 0 },
    { what: 'in a KVM_MEM_READONLY memslot', prot: PROT_READ | PROT_WRITE, flags: KVM_MEM_READONLY },
  ]
  cases(
    readOnly,
    ({ what }) => `${what}, is read; a write is MMIO, and changes nothing`,
    { needs },
    async (context, { prot, flags }) => {
      const set = new Pfnmap(context, { kind: 'refcounted', way: 'fault' })
      set.write(1, 0x77n)
      const mapping = set.map(prot)
      context.defer(() => mapping.close())
      using vm = context.kvm.createVm()
      const memory = slotOf(vm, set, { mapping, flags })
      using vcpu = vm.createVcpu()
      const page = memory.gpaOf(pages(1))

      const before = await vcpu.read64(page)
      const write = await vcpu.attempt.write64(page, 1n)
      vcpu.reset()

      expect(before).toBe(0x77n)
      expect(write).toBeExit({
        reason: 'MMIO',
        gpa: page,
        isWrite: true,
        data: Uint8Array.of(1, 0, 0, 0, 0, 0, 0, 0),
      })
      expect([set.read(1), await vcpu.read64(page)]).toEqual([0x77n, 0x77n])
    },
  )

  // fixup_user_fault() refuses to write to such a mapping; a page table entry that is there already says KVM_PFN_ERR_RO_FAULT (7.3.4).
  test('mapped with PROT_READ is EFAULT where the write is the first access of all', {
    needs,
  }, async (context) => {
    const set = new Pfnmap(context, { kind: 'refcounted', way: 'fault' })
    const mapping = set.map(PROT_READ)
    context.defer(() => mapping.close())
    using vm = context.kvm.createVm()
    const memory = slotOf(vm, set, { mapping })
    using vcpu = vm.createVcpu()

    const write = await vcpu.attempt.write64(memory.gpaOf(pages(1)), 1n)
    vcpu.reset()

    expect(write).toBeExit(NO_PAGE)
    expect(set.info(1).faults).toBe(0)
    expect(await vcpu.read64(memory.gpaOf(pages(1)))).toBe(0n)
  })

  cases(
    FAULT_WAYS.map((way) => ({ way })),
    ({ way }) => `mapped by ${way}, is protected and released by its driver`,
    { needs },
    async (context, { way }) => {
      const set = new Pfnmap(context, { kind: 'refcounted', way })
      using vm = context.kvm.createVm()
      const memory = slotOf(vm, set)
      using vcpu = vm.createVcpu()
      const page = memory.gpaOf(pages(1))
      await vcpu.write64(page, 1n)

      set.protect(1, 1)
      const write = await vcpu.attempt.write64(page, 2n)
      vcpu.reset()
      const meanwhile = await vcpu.read64(page)
      set.unprotect(1, 1)
      await vcpu.write64(page, 3n)

      expect(write).toBeExit({ reason: 'MMIO', gpa: page, isWrite: true })
      expect(meanwhile).toBe(1n)
      expect(set.read(1)).toBe(3n)
    },
  )

  test('until its driver is asked is written by the guest without an exit', { needs }, async (context) => {
    const set = new Pfnmap(context, { kind: 'refcounted', way: 'notify' })
    using vm = context.kvm.createVm()
    const memory = slotOf(vm, set)
    using vcpu = vm.createVcpu()

    await vcpu.read64(memory.gpaOf(pages(1)))
    const write = await vcpu.attempt.write64(memory.gpaOf(pages(1)), 0x77n)

    expect(write).toBeDone()
    expect(set.read(1)).toBe(0x77n)
  })
})

describe('a vCPU that writes all the time', () => {
  test('never writes to a page that was replaced', { needs, ...issueOf('tails') }, async (context) => {
    const { stale, current, passes } = await hammerReplaced(context, { kind: 'tails', way: 'fault' }, 8)

    expect(stale).toEqual([])
    expect(current).toEqual(current.map(() => passes))
  })
})
