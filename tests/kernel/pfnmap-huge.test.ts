// SPDX-License-Identifier: Apache-2.0
import { KVM_MEM_LOG_DIRTY_PAGES } from 'gmem/abi'
import type { Vm } from 'gmem/kvm'
import { cases, describe, expect, type GmemContext, gpaAdd, pages, tdp, test } from 'gmem/testing'
import { BASE } from './support/conversion.js'
import { PciMemory, pciMemory } from './support/pci-memory.js'
import { type PageKind, Pfnmap, pfnmapModule, slotOf } from './support/pfnmap.js'
import { issueOf, optionsOf } from './support/pfnmap-issues.js'

const STALE = 0xdead_dead_dead_deadn
const HUGE = 512

/** How many 2 MiB pages KVM has mapped in the VM; the monitor's own memory may have some. */
function hugePages(vm: Vm): bigint {
  return vm.stat('pages_2m')
}

describe('2 MiB mapped at once by its driver', () => {
  const needs = [...pciMemory, pfnmapModule, tdp]
  const kinds: readonly { kind: PageKind }[] = [{ kind: 'tails' }, { kind: 'compound' }, { kind: 'physical' }]
  const setOf = (context: Pick<GmemContext, 'defer'>, kind: PageKind) =>
    new Pfnmap(context, {
      kind,
      way: 'huge',
      pageCount: HUGE,
      ...(kind === 'physical' && { address: new PciMemory().address }),
    })

  cases(
    kinds,
    ({ kind }) => `are one page for the guest, too: ${kind}`,
    optionsOf(needs),
    async (context, { kind }) => {
      const set = setOf(context, kind)
      using vm = context.kvm.createVm()
      const memory = slotOf(vm, set)
      using vcpu = vm.createVcpu()
      await vcpu.ready()
      const before = hugePages(vm)

      await vcpu.write64(memory.gpaOf(pages(7)), 0x77n)
      set.write(300, 0x300n)

      expect(hugePages(vm) - before).toBe(1n)
      expect(await vcpu.read64(memory.gpaOf(pages(300)))).toBe(0x300n)
      expect(set.read(7)).toBe(0x77n)
      expect(set.info(0).faults).toBe(1)
    },
  )

  cases(
    kinds,
    ({ kind }) => `are gone and back as one when one page of them is zapped: ${kind}`,
    optionsOf(needs),
    async (context, { kind }) => {
      const set = setOf(context, kind)
      using vm = context.kvm.createVm()
      const memory = slotOf(vm, set)
      using vcpu = vm.createVcpu()
      await vcpu.ready()
      const before = hugePages(vm)
      await vcpu.write64(memory.gpaOf(pages(7)), 0x77n)

      set.zap(300, 1)
      const zapped = hugePages(vm) - before
      const seen = await vcpu.read64(memory.gpaOf(pages(7)))

      expect(zapped).toBe(0n)
      expect(seen).toBe(0x77n)
      expect(set.info(0).faults).toBe(2)
      expect(hugePages(vm) - before).toBe(1n)
    },
  )

  cases(
    kinds,
    ({ kind }) => `are the new ones for the guest when they are replaced: ${kind}`,
    optionsOf(needs),
    async (context, { kind }) => {
      const set = setOf(context, kind)
      using vm = context.kvm.createVm()
      const memory = slotOf(vm, set)
      using vcpu = vm.createVcpu()
      await vcpu.ready()
      const before = hugePages(vm)
      await vcpu.write64(memory.gpaOf(pages(7)), 0x77n)
      set.write(7, 0x2222n, 'spare')

      set.replace(STALE)
      const seen = await vcpu.read64(memory.gpaOf(pages(7)))
      await vcpu.write64(memory.gpaOf(pages(8)), 0x88n)

      expect(seen).toBe(0x2222n)
      expect([set.read(8), set.read(7, 'spare'), set.read(8, 'spare')]).toEqual([0x88n, STALE, STALE])
      expect(hugePages(vm) - before).toBe(1n)
    },
  )

  test('are small pages in a memslot that is not aligned as they are', {
    needs,
    ...issueOf('compound'),
  }, async (context) => {
    const set = setOf(context, 'compound')
    using vm = context.kvm.createVm()
    const memory = vm.addMemory({
      gpa: gpaAdd(BASE, pages(1)),
      size: pages(HUGE),
      userspace: set.mapping,
    })
    using vcpu = vm.createVcpu()
    await vcpu.ready()
    const before = hugePages(vm)

    await vcpu.write64(memory.gpaOf(pages(7)), 0x77n)

    expect(hugePages(vm) - before).toBe(0n)
    expect(set.read(7)).toBe(0x77n)
  })

  test('are small pages where one of them is protected', {
    needs,
    ...issueOf('compound'),
  }, async (context) => {
    const set = setOf(context, 'compound')
    set.protect(9, 1)
    using vm = context.kvm.createVm()
    const memory = slotOf(vm, set)
    using vcpu = vm.createVcpu()
    await vcpu.ready()
    const before = hugePages(vm)

    await vcpu.write64(memory.gpaOf(pages(7)), 0x77n)
    await vcpu.read64(memory.gpaOf(pages(9)))
    const write = await vcpu.attempt.write64(memory.gpaOf(pages(9)), 1n)
    vcpu.reset()

    expect(hugePages(vm) - before).toBe(0n)
    expect(write).toBeExit({ reason: 'MMIO', gpa: memory.gpaOf(pages(9)), isWrite: true })
  })

  test('are small pages while the memslot logs dirty pages', {
    needs,
    ...issueOf('compound'),
  }, async (context) => {
    const set = setOf(context, 'compound')
    using vm = context.kvm.createVm()
    const memory = slotOf(vm, set, { flags: KVM_MEM_LOG_DIRTY_PAGES })
    using vcpu = vm.createVcpu()
    await vcpu.ready()
    const before = hugePages(vm)

    await vcpu.write64(memory.gpaOf(pages(7)), 0x77n)

    expect(hugePages(vm) - before).toBe(0n)
    expect([...vm.dirtyLog(memory.slot, memory.size).subarray(0, 2)]).toEqual([0x80, 0])
  })
})
