// SPDX-License-Identifier: Apache-2.0
import { PROT_READ } from 'gmem/abi'
import { cases, describe, expect, type GmemContext, pages, test } from 'gmem/testing'
import { BASE } from './support/conversion.js'
import { PciMemory, pciMemory } from './support/pci-memory.js'
import { FAULT_WAYS, type MapWay, Pfnmap, pfnmapModule, SMALL_WAYS, slotOf } from './support/pfnmap.js'
import { udmabuf, udmabufDevice } from './support/udmabuf.js'

const STALE = 0xdead_dead_dead_deadn
describe('memory of a PCI device under a memslot', () => {
  const needs = pciMemory

  test('is one memory for guest and host', { needs }, async (context) => {
    const mapping = new PciMemory().map(context, pages(4))
    mapping.fill(0)
    using vm = context.kvm.createVm()
    const memory = vm.addMemory({ gpa: BASE, size: pages(4), userspace: mapping })
    using vcpu = vm.createVcpu()

    await vcpu.write64(memory.gpaOf(pages(1)), 0x1111n)
    mapping.write64(pages(2), 0x2222n)

    expect(mapping.read64(pages(1))).toBe(0x1111n)
    expect(await vcpu.read64(memory.gpaOf(pages(2)))).toBe(0x2222n)
  })

  test('is read through a read-only mapping; a write is MMIO, and changes nothing', {
    needs,
  }, async (context) => {
    const card = new PciMemory()
    card.map(context, pages(4)).fill(0x77)
    const mapping = card.map(context, pages(4), PROT_READ)
    using vm = context.kvm.createVm()
    const memory = vm.addMemory({ gpa: BASE, size: pages(4), userspace: mapping })
    using vcpu = vm.createVcpu()

    const write = await vcpu.attempt.write64(memory.gpaOf(pages(1)), 1n)
    vcpu.reset()

    expect(write).toBeExit({ reason: 'MMIO', gpa: memory.gpaOf(pages(1)), isWrite: true })
    await expect(vcpu).toSeeFilledWith(0x77, memory)
    expect(mapping).toBeFilledWith(0x77)
  })

  test('is gone for the guest when it is unmapped', { needs }, async (context) => {
    const mapping = new PciMemory().map(context, pages(4))
    using vm = context.kvm.createVm()
    const memory = vm.addMemory({ gpa: BASE, size: pages(4), userspace: mapping })
    using vcpu = vm.createVcpu()
    await vcpu.fill(memory, 0x5a)

    mapping.munmap({ offset: pages(1), size: pages(1) })
    const read = await vcpu.attempt.read64(memory.gpaOf(pages(1)))
    vcpu.reset()

    expect(read).toBeExit({ reason: 'ERROR', code: 'EFAULT' })
    await expect(vcpu).toSeeFilledWith(0x5a, memory.range(pages(2), pages(2)))
  })
})

describe('memory without a struct page', () => {
  const needs = [...pciMemory, pfnmapModule]
  const rows = (ways: readonly MapWay[]) => ways.map((way) => ({ way }))
  const setOf = (context: Pick<GmemContext, 'defer'>, way: MapWay) =>
    new Pfnmap(context, { kind: 'physical', way, address: new PciMemory().address })

  cases(
    rows(SMALL_WAYS),
    ({ way }) => `mapped by ${way}, is one memory for guest, host and kernel`,
    { needs },
    async (context, { way }) => {
      const set = setOf(context, way)
      using vm = context.kvm.createVm()
      const memory = slotOf(vm, set)
      using vcpu = vm.createVcpu()

      await vcpu.write64(memory.gpaOf(pages(1)), 0x1111n)
      memory.shared.write64(pages(2), 0x2222n)
      set.write(3, 0x3333n)

      expect(set.info(1).hasStructPage).toBe(false)
      expect([set.read(1), memory.shared.read64(pages(1))]).toEqual([0x1111n, 0x1111n])
      expect([await vcpu.read64(memory.gpaOf(pages(2))), await vcpu.read64(memory.gpaOf(pages(3)))]).toEqual([
        0x2222n,
        0x3333n,
      ])
    },
  )

  cases(
    rows(FAULT_WAYS),
    ({ way }) => `mapped by ${way}, is the new one for the guest when it is replaced`,
    { needs },
    async (context, { way }) => {
      const set = setOf(context, way)
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
    },
  )
})

describe('a dma-buf of a memfd (udmabuf) under a memslot', () => {
  const needs = [udmabufDevice]

  test('is one memory for guest, host and the memfd', { needs }, async (context) => {
    const { memfd, dmabuf } = udmabuf(context, pages(4))
    using vm = context.kvm.createVm()
    const memory = vm.addMemory({ gpa: BASE, size: pages(4), userspace: dmabuf })
    using vcpu = vm.createVcpu()

    await vcpu.write64(memory.gpaOf(pages(1)), 0x1111n)
    memfd.write64(pages(2), 0x2222n)

    expect([memfd.read64(pages(1)), dmabuf.read64(pages(1))]).toEqual([0x1111n, 0x1111n])
    expect(await vcpu.read64(memory.gpaOf(pages(2)))).toBe(0x2222n)
  })

  test('is gone for the guest when it is unmapped, and the memfd keeps what was written', {
    needs,
  }, async (context) => {
    const { memfd, dmabuf } = udmabuf(context, pages(4))
    using vm = context.kvm.createVm()
    const memory = vm.addMemory({ gpa: BASE, size: pages(4), userspace: dmabuf })
    using vcpu = vm.createVcpu()
    await vcpu.fill(memory, 0x5a)

    dmabuf.munmap({ offset: pages(1), size: pages(1) })
    const write = await vcpu.attempt.write64(memory.gpaOf(pages(1)), 1n)
    vcpu.reset()

    expect(write).toBeExit({ reason: 'ERROR', code: 'EFAULT' })
    expect(memfd).toBeFilledWith(0x5a)
    await expect(vcpu).toSeeFilledWith(0x5a, memory.range(pages(2), pages(2)))
  })
})
