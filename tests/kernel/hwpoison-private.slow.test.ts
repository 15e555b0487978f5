// SPDX-License-Identifier: Apache-2.0
import type { Memory, Vm } from 'gmem/kvm'
import { describe, expect, pages, test } from 'gmem/testing'
import { BASE, privateMemory } from './support/conversion.js'
import { canPoison, poisonNewPage } from './support/poison.js'

const needs = [...privateMemory, ...canPoison]

/** One page, private, with 0x5a in its shared copy. */
function onePrivatePage(vm: Vm): Memory {
  const memory = vm.addMemory({ gpa: BASE, size: pages(1), guestMemfd: {} })
  memory.shared.fill(0x5a)
  vm.setPrivate(memory)
  return memory
}

// Slow: to find a page that nobody has mapped, every page of the machine is looked at.
describe('a poisoned private page', () => {
  test('exits the guest with MEMORY_FAULT, PRIVATE and EHWPOISON, until a hole replaces it', {
    needs,
  }, async (context) => {
    using vm = context.kvm.createVm({ type: 'SW_PROTECTED' })
    const memory = onePrivatePage(vm)
    using vcpu = vm.createVcpu()
    await poisonNewPage(context, () => vcpu.write64(BASE, 0x77n))

    const read = await vcpu.attempt.read64(BASE)
    const resumed = await vcpu.resume()
    memory.punchHole()

    const fault = { gpa: BASE, size: pages(1), private: true, code: 'EHWPOISON' } as const
    expect(read).toBeMemoryFault(fault)
    expect(resumed).toBeMemoryFault(fault)
    expect(await vcpu.resume()).toBeDone(0n)
  })

  test('stays poisoned through conversions, while the shared copy is as it was', {
    needs,
  }, async (context) => {
    using vm = context.kvm.createVm({ type: 'SW_PROTECTED' })
    const memory = onePrivatePage(vm)
    using vcpu = vm.createVcpu()
    await poisonNewPage(context, () => vcpu.write64(BASE, 0x77n))

    vm.setShared(memory)
    await expect(vcpu).toSeeFilledWith(0x5a, memory)
    vm.setPrivate(memory)

    expect(await vcpu.attempt.read64(BASE)).toBeMemoryFault({ gpa: BASE, private: true, code: 'EHWPOISON' })
    expect(memory).toBeFilledWith(0x5a)
  })
})
