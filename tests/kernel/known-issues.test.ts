// SPDX-License-Identifier: Apache-2.0
import { setTimeout as sleep } from 'node:timers/promises'
import { KVM_MEM_LOG_DIRTY_PAGES, KVM_MEMORY_ATTRIBUTE_PRIVATE, VM_TYPE } from 'gmem/abi'
import { describe, expect, mib, pages, preFault, tdp, test, thp } from 'gmem/testing'
import { BASE, privateMemory } from './support/conversion.js'
import { startChild } from './support/conversion-child.js'

/** What the change of attributes takes that a signal has to end, and when it must have ended: both in ms. */
const CLEARING_MS = 1200
const PROMPT_MS = CLEARING_MS / 3

/**
 * Clears the attributes of a range that keeps this CPU busy for CLEARING_MS or more; it says `clearing` just before. One gfn of the
 * range is private, or the kernel would see that there is nothing to do.
 */
const CLEARING = `
  const vm = addon.openKvm('/dev/kvm').createVm(${VM_TYPE.SW_PROTECTED}n)
  const clear = (size) => {
    vm.setMemoryAttributes(0n, 4096n, ${KVM_MEMORY_ATTRIBUTE_PRIVATE}n, 0n)
    const startedAt = performance.now()
    vm.setMemoryAttributes(0n, size, 0n, 0n)
    return performance.now() - startedAt
  }
  const sample = 1n << 30n
  const factor = BigInt(Math.ceil(${CLEARING_MS} / Math.min(clear(sample), clear(sample), clear(sample))))
  process.stdout.write('clearing\\n', () => clear(sample * factor))
`

describe('known issues', () => {
  test('a fatal signal ends a change of attributes, however long its range', {
    needs: privateMemory,
    knownIssue: {
      id: 'F1',
      symptom:
        'SIGKILL waits until KVM_SET_MEMORY_ATTRIBUTES has cleared the whole range: days for 2^52 bytes',
      expected: 'the process ends at once: kvm_vm_set_mem_attributes() looks for a fatal signal',
    },
  }, async () => {
    const child = startChild(CLEARING)
    await child.says('clearing')
    const startedAt = performance.now()

    await sleep(50)
    await child.kill()

    expect(performance.now() - startedAt).toBeLessThan(PROMPT_MS)
  })

  test('turning dirty logging off over memory that became private warns of nothing', {
    needs: [...privateMemory, thp],
    knownIssue: {
      id: 'F2',
      symptom:
        'WARN in kvm_mmu_max_mapping_level() below kvm_mmu_recover_huge_pages(): "Get pfn+order from guest_memfd"',
      expected: 'no warning: userspace can do this at any time',
      shows: 'splat',
      // __kvm_mmu_max_mapping_level() of 6.12 does not ask guest_memfd for a private gfn's level.
      notOn: ['6.12'],
    },
  }, async ({ kvm }) => {
    using vm = kvm.createVm({ type: 'SW_PROTECTED' })
    const memory = vm.addMemory({ gpa: BASE, size: mib(2), backing: 'thp', flags: KVM_MEM_LOG_DIRTY_PAGES })
    memory.shared.fill(0xaa)
    using vcpu = vm.createVcpu()
    await vcpu.write8(BASE, 1)
    vm.setPrivate(memory)

    vm.setMemslot({ slot: memory.slot, gpa: BASE, size: mib(2), hva: memory.shared, flags: 0 })

    expect(await vcpu.attempt.read8(BASE)).toBeMemoryFault({ gpa: BASE, private: true })
  })

  test('a read of a memslot without host memory behind it exits with MEMORY_FAULT', {
    needs: [tdp],
    knownIssue: {
      id: 'F3',
      symptom: 'KVM_RUN fails with EFAULT and exit reason UNKNOWN',
      expected:
        'MEMORY_FAULT: "a valid memslot but no backing VMA" is the example in Documentation/virt/kvm/api.rst',
    },
  }, async ({ kvm }) => {
    using vm = kvm.createVm()
    const memory = vm.addMemory({ gpa: BASE, size: pages(2) })
    memory.shared.munmap(memory.range(pages(1), pages(1)))
    using vcpu = vm.createVcpu()

    const fault = await vcpu.attempt.read64(memory.gpaOf(pages(1)))

    expect(fault).toBeMemoryFault({
      gpa: memory.gpaOf(pages(1)),
      size: pages(1),
      private: false,
      code: 'EFAULT',
    })
  })

  test('prefaulting a private gfn without memslot fails with ENOENT', {
    needs: [...privateMemory, preFault('SW_PROTECTED')],
    knownIssue: {
      id: 'F4',
      symptom: 'KVM_PRE_FAULT_MEMORY fails with EFAULT',
      expected: 'ENOENT, documented for a gpa without memslot',
    },
  }, async ({ kvm }) => {
    using vm = kvm.createVm({ type: 'SW_PROTECTED' })
    using vcpu = vm.createVcpu()
    await vcpu.ready()
    vm.setPrivate({ gpa: BASE, size: pages(1) })

    const result = vcpu.preFault({ gpa: BASE, size: pages(1) })

    expect(result).toFailWith('ENOENT')
  })

  test('a gfn that was MMIO before it was made private exits as one that was not', {
    needs: privateMemory,
    knownIssue: {
      id: 'F5',
      symptom: 'the gfn stays MMIO for the guest',
      expected: 'MEMORY_FAULT with PRIVATE, as where the first access comes after the conversion',
    },
  }, async ({ kvm }) => {
    using vm = kvm.createVm({ type: 'SW_PROTECTED' })
    using vcpu = vm.createVcpu()
    await vcpu.attempt.write64(BASE, 1n)
    await vcpu.resume()
    vm.setPrivate({ gpa: BASE, size: pages(1) })

    const outcome = await vcpu.attempt.write64(BASE, 2n)

    expect(outcome).toBeMemoryFault({ gpa: BASE, size: pages(1), private: true, code: 'EFAULT' })
  })

  test('a private page whose gfn was MMIO before its memslot was made is reached', {
    needs: privateMemory,
    knownIssue: {
      id: 'F6',
      symptom:
        'MEMORY_FAULT with flags 0, again at each resume: the stale MMIO entry is taken for a shared access',
      expected: 'the access reaches the private page, as where the gfn was not accessed before',
    },
  }, async ({ kvm }) => {
    using vm = kvm.createVm({ type: 'SW_PROTECTED' })
    using vcpu = vm.createVcpu()
    await vcpu.attempt.read64(BASE)
    await vcpu.resume({ data: 0x77n })
    const memory = vm.addMemory({ gpa: BASE, size: pages(1), guestMemfd: {} })
    vm.setPrivate(memory)

    const outcome = await vcpu.attempt.read64(BASE)

    expect(outcome).toBeDone(0n)
  })
})
