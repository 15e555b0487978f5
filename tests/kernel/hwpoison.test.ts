// SPDX-License-Identifier: Apache-2.0
import { MADV_DONTNEED } from 'gmem/abi'
import type { Memory, Vm } from 'gmem/kvm'
import { bytes, describe, expect, pages, sharedGuestMemfd, tdp, test } from 'gmem/testing'
import { BASE } from './support/conversion.js'
import { canPoison, poison } from './support/poison.js'
import { remainder } from './support/prefault.js'
import { pipe, sys } from './support/system-calls.js'

const needs = [sharedGuestMemfd, tdp, ...canPoison]
const FOUR = pages(4)
/** The page that is poisoned. */
const BAD = pages(1)

/** Four pages that host and guest share. */
function sharedMemory(vm: Vm): Memory {
  return vm.addMemory({
    gpa: BASE,
    size: FOUR,
    guestMemfd: { mmap: true, initShared: true },
    userspace: null,
  })
}

// kvm_gmem_error_folio() takes the page from the guests, and leaves it in the file (virt/kvm/guest_memfd.c, 7.3.4).
describe('a poisoned page of a guest_memfd', () => {
  test('is reported as poisoned: MADV_HWPOISON succeeds', {
    needs,
    knownIssue: {
      id: 'F7',
      symptom:
        'MADV_HWPOISON fails with EBUSY though the page is poisoned, and the log says "Failed to punch page: 2"',
      expected: 'success: MF_DELAYED of kvm_gmem_error_folio() is no failure',
    },
  }, (context) => {
    using vm = context.kvm.createVm()
    const mapping = sharedMemory(vm).guestMemfd.mmap()
    mapping.fill(0xaa)

    expect(poison(context, mapping, BAD)).toBe(null)
  })

  test('raises SIGBUS BUS_MCEERR_AR in the host at the exact byte, in each mapping, and no other page does', {
    needs,
  }, (context) => {
    using vm = context.kvm.createVm()
    const { guestMemfd } = sharedMemory(vm)
    const mapping = guestMemfd.mmap()
    mapping.fill(0xaa)

    poison(context, mapping, BAD)
    const again = guestMemfd.mmap()
    const byte = bytes(BAD + 17n)

    const fault = (address: bigint) => ({ code: 'BUS_MCEERR_AR', address })
    expect(mapping.probe(byte, 1)).toBeSignal('SIGBUS', fault(mapping.hvaOf(byte)))
    expect(mapping.probeWrite(byte, 1n, 1)).toBeSignal('SIGBUS', fault(mapping.hvaOf(byte)))
    expect(mapping.forkProbe(byte, { width: 1 })).toBeSignal('SIGBUS', fault(mapping.hvaOf(byte)))
    expect(again.probe(byte, 1)).toBeSignal('SIGBUS', { code: 'BUS_MCEERR_AR' })
    expect(again).toBeFilledWith(0xaa, { offset: bytes(0), size: pages(1) })
    expect(again).toBeFilledWith(0xaa, { offset: pages(2), size: pages(2) })
  })

  test('gives its bytes to no system call: EFAULT', { needs }, (context) => {
    using vm = context.kvm.createVm()
    const mapping = sharedMemory(vm).guestMemfd.mmap()
    mapping.fill(0xaa)
    const { writeEnd } = pipe(context)

    poison(context, mapping, BAD)

    expect(() => sys('write', writeEnd, mapping.hvaOf(BAD), 1n)).toFailWith('EFAULT')
    expect(sys('write', writeEnd, mapping.hva, 1n)).toBe(1n)
  })

  test('exits the guest that reads or writes it with MEMORY_FAULT and EHWPOISON, again and again', {
    needs,
  }, async (context) => {
    using vm = context.kvm.createVm()
    const memory = sharedMemory(vm)
    const mapping = memory.guestMemfd.mmap()
    mapping.fill(0xaa)
    using vcpu = vm.createVcpu()
    // The guest has it mapped already: poison takes it away.
    await expect(vcpu).toSeeFilledWith(0xaa, memory)

    poison(context, mapping, BAD)
    const read = await vcpu.attempt.read64(memory.gpaOf(bytes(BAD + 8n)))
    const resumed = await vcpu.resume()
    vcpu.reset()
    const written = await vcpu.attempt.write64(memory.gpaOf(BAD), 1n)
    vcpu.reset()

    const fault = { gpa: memory.gpaOf(BAD), size: pages(1), private: false, code: 'EHWPOISON' } as const
    expect(read).toBeMemoryFault(fault)
    expect(resumed).toBeMemoryFault(fault)
    expect(written).toBeMemoryFault(fault)
    await expect(vcpu).toSeeFilledWith(0xaa, memory.range(pages(2), pages(2)))
  })

  test('stops a vCPU that is writing it', { needs }, async (context) => {
    using vm = context.kvm.createVm()
    const memory = sharedMemory(vm)
    const mapping = memory.guestMemfd.mmap()
    mapping.fill(0)
    using vcpu = vm.createVcpu()
    const spin = vcpu.spinWrite(memory.range(BAD, pages(1)))
    await spin.progressed()

    poison(context, mapping, BAD)

    expect(await spin.exited()).toBeMemoryFault({ gpa: memory.gpaOf(BAD), code: 'EHWPOISON' })
  })

  test('ends KVM_PRE_FAULT_MEMORY before it, and then with EHWPOISON', { needs }, async (context) => {
    using vm = context.kvm.createVm()
    const memory = sharedMemory(vm)
    const mapping = memory.guestMemfd.mmap()
    mapping.fill(0xaa)
    using vcpu = vm.createVcpu()
    poison(context, mapping, BAD)
    const left = { gpa: memory.gpaOf(BAD), size: pages(3) }

    expect(vcpu.preFault(memory)).toEqual(remainder('', left))

    expect(vcpu.preFault(left)).toEqual(remainder('EHWPOISON', left))
  })

  test('stays in the file: allocating it again changes nothing', { needs }, (context) => {
    using vm = context.kvm.createVm()
    const { guestMemfd } = sharedMemory(vm)
    const mapping = guestMemfd.mmap()
    mapping.fill(0xaa)

    poison(context, mapping, BAD)
    guestMemfd.allocate()

    expect([...mapping.mincore()]).toEqual([1, 1, 1, 1])
    expect(guestMemfd.mmap().probe(BAD)).toBeSignal('SIGBUS', { code: 'BUS_MCEERR_AR' })
  })

  test('is replaced by a hole: the guest goes on, and reads zero', { needs }, async (context) => {
    using vm = context.kvm.createVm()
    const memory = sharedMemory(vm)
    const mapping = memory.guestMemfd.mmap()
    mapping.fill(0xaa)
    using vcpu = vm.createVcpu()
    poison(context, mapping, BAD)
    await vcpu.attempt.read64(memory.gpaOf(BAD))

    memory.punchHole(memory.range(BAD, pages(1)))

    expect(await vcpu.resume()).toBeDone(0n)
    await vcpu.fill(memory.range(BAD, pages(1)), 0x77)
    expect(memory.guestMemfd.mmap()).toBeFilledWith(0x77, { offset: BAD, size: pages(1) })
  })

  // A hole unmaps pages, and the poisoned one is mapped nowhere: what stands in its place in the page table is not looked for.
  test('is replaced by a hole, but an old mapping sees that only after MADV_DONTNEED', {
    needs,
  }, (context) => {
    using vm = context.kvm.createVm()
    const { guestMemfd } = sharedMemory(vm)
    const mapping = guestMemfd.mmap()
    mapping.fill(0xaa)
    const page = { offset: BAD, size: pages(1) }
    poison(context, mapping, BAD)

    guestMemfd.punchHole(page)
    const before = mapping.probe(BAD)
    mapping.madvise(MADV_DONTNEED, page)

    expect(before).toBeSignal('SIGBUS', { code: 'BUS_MCEERR_AR', address: mapping.hvaOf(BAD) })
    expect(mapping).toBeFilledWith(0, page)
    expect(mapping).toBeFilledWith(0xaa, { offset: pages(2), size: pages(2) })
  })

  test('leaves its memslot and its file fit to be deleted, and bound again', { needs }, async (context) => {
    using vm = context.kvm.createVm()
    const memory = sharedMemory(vm)
    const mapping = memory.guestMemfd.mmap()
    mapping.fill(0xaa)
    using vcpu = vm.createVcpu()
    await vcpu.read64(memory.gpa)
    poison(context, mapping, BAD)

    memory.remove()
    vm.addMemslot({ gpa: BASE, size: pages(2), guestMemfd: memory.guestMemfd, guestMemfdOffset: pages(1) })

    expect(await vcpu.attempt.read64(BASE)).toBeMemoryFault({ gpa: BASE, code: 'EHWPOISON' })
    vcpu.reset()
    expect(await vcpu.read64(memory.gpaOf(pages(1)))).toBe(0xaaaa_aaaa_aaaa_aaaan)
  })
})
