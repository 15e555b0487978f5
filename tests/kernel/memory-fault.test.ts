// SPDX-License-Identifier: Apache-2.0
import { KVM_MEMORY_EXIT_FLAG_PRIVATE } from 'gmem/abi'
import type { Memory, Outcome, Vcpu } from 'gmem/kvm'
import { bytes, cases, describe, expect, gpaAdd, pages, test } from 'gmem/testing'
import { BASE, fillOfPages, privateMemory } from './support/conversion.js'

const needs = privateMemory

/** `mov eax, 0x6d656d67; ret`: what a fetch test runs. */
const CODE = Uint8Array.of(0xb8, 0x67, 0x6d, 0x65, 0x6d, 0xc3)
const CODE_RESULT = 0x6d65_6d67n

interface Access {
  readonly what: string
  /** Touches the first page of the memory, at its offset 16 unless that is impossible. */
  readonly run: (vcpu: Vcpu, memory: Memory) => Promise<Outcome<unknown>>
  /** What it comes to once the page is shared: it held CODE at offset 0 and zeros. */
  readonly value: unknown
  /** The qword at offset 16 afterwards. */
  readonly left: bigint
}

const at16 = (memory: Memory) => memory.gpaOf(bytes(16))

const accesses: readonly Access[] = [
  { what: 'a read', run: (vcpu, memory) => vcpu.attempt.read64(at16(memory)), value: 0n, left: 0n },
  { what: 'a read of one byte', run: (vcpu, memory) => vcpu.attempt.read8(at16(memory)), value: 0, left: 0n },
  { what: 'a write', run: (vcpu, memory) => vcpu.attempt.write64(at16(memory), 7n), value: null, left: 7n },
  {
    what: 'a write of one byte',
    run: (vcpu, memory) => vcpu.attempt.write8(at16(memory), 7),
    value: null,
    left: 7n,
  },
  {
    what: 'an atomic addition',
    run: (vcpu, memory) => vcpu.attempt.fetchAdd64(at16(memory), 7n),
    value: 0n,
    left: 7n,
  },
  {
    what: 'an atomic exchange',
    run: (vcpu, memory) => vcpu.attempt.compareExchange64(at16(memory), { expected: 0n, desired: 7n }),
    value: { old: 0n, swapped: true },
    left: 7n,
  },
  {
    what: 'an instruction fetch',
    run: (vcpu, memory) => vcpu.attempt.call(memory.gpa),
    value: CODE_RESULT,
    left: 0n,
  },
]

describe('a private page without guest_memfd', () => {
  cases(
    accesses,
    ({ what }) => `stops ${what} with MEMORY_FAULT, and completes it once shared`,
    { needs },
    async ({ kvm }, access) => {
      using vm = kvm.createVm({ type: 'SW_PROTECTED' })
      const memory = vm.addMemory({ gpa: gpaAdd(BASE, pages(1)), size: pages(1) })
      memory.shared.write(bytes(0), CODE)
      using vcpu = vm.createVcpu()
      vm.setPrivate(memory)

      const fault = await access.run(vcpu, memory)
      const untouched = memory.shared.read64(bytes(16))
      vm.setShared(memory)
      const resumed = await vcpu.resume()

      expect(fault).toBeMemoryFault({ gpa: memory.gpa, size: pages(1), private: true, code: 'EFAULT' })
      expect(fault).toBeExit({ reason: 'MEMORY_FAULT', flags: KVM_MEMORY_EXIT_FLAG_PRIVATE })
      expect(untouched).toBe(0n)
      expect(resumed).toBeDone(access.value)
      expect(memory.shared.read64(bytes(16))).toBe(access.left)
    },
  )

  cases(
    [
      { what: 'its first byte', offset: 0n },
      { what: 'its last byte', offset: 4095n },
    ],
    ({ what }) => `is reported by the address of the page for an access to ${what}`,
    { needs },
    async ({ kvm }, { offset }) => {
      using vm = kvm.createVm({ type: 'SW_PROTECTED' })
      const memory = vm.addMemory({ gpa: BASE, size: pages(3) })
      const page = memory.range(pages(1), pages(1))
      using vcpu = vm.createVcpu()
      vm.setPrivate(page)

      const fault = await vcpu.attempt.write8(gpaAdd(page.gpa, offset), 1)

      expect(fault).toBeMemoryFault({ gpa: page.gpa, size: pages(1), private: true, code: 'EFAULT' })
    },
  )

  test('faults in the same way until something is done about it', { needs }, async ({ kvm }) => {
    using vm = kvm.createVm({ type: 'SW_PROTECTED' })
    const memory = vm.addMemory({ gpa: BASE, size: pages(1) })
    using vcpu = vm.createVcpu()
    vm.setPrivate(memory)

    const first = await vcpu.attempt.write64(BASE, 7n)
    const registers = vcpu.getRegs()
    const second = await vcpu.resume()

    expect(first).toBeMemoryFault({ gpa: BASE, private: true })
    expect(second).toEqual(first)
    expect(vcpu.getRegs()).toEqual(registers)
    vm.setShared(memory)
    expect(await vcpu.resume()).toBeDone()
    expect(memory.shared.read64(bytes(0))).toBe(7n)
  })

  test('can be given one: the slot is deleted and added with it', { needs }, async ({ kvm }) => {
    using vm = kvm.createVm({ type: 'SW_PROTECTED' })
    const memory = vm.addMemory({ gpa: BASE, size: pages(1) })
    memory.shared.fill(0xaa)
    using vcpu = vm.createVcpu()
    vm.setPrivate(memory)
    const fault = await vcpu.attempt.fill(memory, 0xbb)

    memory.remove()
    const added = vm.addMemory({ gpa: BASE, size: pages(1), guestMemfd: {}, userspace: memory.shared })
    const resumed = await vcpu.resume()

    expect(fault).toBeMemoryFault({ gpa: BASE, private: true })
    expect(resumed).toBeDone()
    await expect(vcpu).toSeeFilledWith(0xbb, added)
    expect(added).toBeFilledWith(0xaa)
  })
})

describe('a private gfn without memslot', () => {
  test('stops an access with MEMORY_FAULT, and completes it once there is a slot', { needs }, async ({
    kvm,
  }) => {
    using vm = kvm.createVm({ type: 'SW_PROTECTED' })
    using vcpu = vm.createVcpu()
    vm.setPrivate({ gpa: BASE, size: pages(1) })

    const fault = await vcpu.attempt.write64(gpaAdd(BASE, 8n), 7n)
    const memory = vm.addMemory({ gpa: BASE, size: pages(1), guestMemfd: {} })
    const resumed = await vcpu.resume()

    expect(fault).toBeMemoryFault({ gpa: BASE, size: pages(1), private: true, code: 'EFAULT' })
    expect(resumed).toBeDone()
    expect(await vcpu.read64(memory.gpaOf(bytes(8)))).toBe(7n)
    expect(memory).toBeFilledWith(0)
  })

  test('becomes MMIO when it is made shared', { needs }, async ({ kvm }) => {
    using vm = kvm.createVm({ type: 'SW_PROTECTED' })
    using vcpu = vm.createVcpu()
    vm.setPrivate({ gpa: BASE, size: pages(1) })

    const fault = await vcpu.attempt.read64(BASE)
    vm.setShared({ gpa: BASE, size: pages(1) })
    const mmio = await vcpu.resume()

    expect(fault).toBeMemoryFault({ gpa: BASE, private: true })
    expect(mmio).toBeExit({ reason: 'MMIO', gpa: BASE, isWrite: false, length: 8 })
    expect(await vcpu.resume({ data: 0x1234n })).toBeDone(0x1234n)
  })

  test('whose memslot is deleted faults, and has its bytes when the slot is back', { needs }, async ({
    kvm,
  }) => {
    using vm = kvm.createVm({ type: 'SW_PROTECTED' })
    const memory = vm.addMemory({ gpa: BASE, size: pages(2), guestMemfd: {} })
    using vcpu = vm.createVcpu()
    vm.setPrivate(memory)
    await vcpu.fill(memory, 0xbb)

    memory.remove()
    const fault = await vcpu.attempt.read64(memory.gpaOf(pages(1)))
    vm.addMemory({ gpa: BASE, size: pages(2), guestMemfd: memory.guestMemfd, userspace: memory.shared })
    const resumed = await vcpu.resume()

    expect(fault).toBeMemoryFault({
      gpa: memory.gpaOf(pages(1)),
      size: pages(1),
      private: true,
      code: 'EFAULT',
    })
    expect(resumed).toBeDone(0xbbbb_bbbb_bbbb_bbbbn)
  })
})

test('a fault can be left unresolved, and the vCPU used for something else', { needs }, async ({ kvm }) => {
  using vm = kvm.createVm({ type: 'SW_PROTECTED' })
  const memory = vm.addMemory({ gpa: BASE, size: pages(2) })
  memory.shared.fill(0xaa)
  using vcpu = vm.createVcpu()
  vm.setPrivate(memory.range(pages(0), pages(1)))

  const fault = await vcpu.attempt.fill(memory.range(pages(0), pages(1)), 0xbb)
  vcpu.reset()

  expect(fault).toBeMemoryFault({ gpa: BASE, private: true })
  expect(await vcpu.read64(memory.gpaOf(pages(1)))).toBe(0xaaaa_aaaa_aaaa_aaaan)
  expect(fillOfPages(memory.shared)).toEqual([0xaa, 0xaa])
})
