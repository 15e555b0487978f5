// SPDX-License-Identifier: Apache-2.0
import { setTimeout as sleep } from 'node:timers/promises'
import { describe, expect, pages, test } from 'gmem/testing'
import { BASE } from './support/conversion.js'
import { privateKind, sharedKind } from './support/prefault.js'
import { startPrefaulting } from './support/prefault-thread.js'

const needs = privateKind.needs

// Slow: a second thread of Node's takes a second to start on an emulated processor.
describe('KVM_PRE_FAULT_MEMORY on two vCPUs at once', () => {
  test('maps each page once', { needs: sharedKind.needs }, async ({ kvm }) => {
    using vm = kvm.createVm()
    const memory = sharedKind.make(vm, 256)
    using first = vm.createVcpu()
    using second = vm.createVcpu()
    const other = await startPrefaulting(second, memory)

    const results = Array.from({ length: 5 }, () => {
      const { code, size } = first.preFault(memory)
      const mapped = vm.stat('pages_4k')
      memory.punchHole()
      return { code, size, mapped }
    })

    expect(await other.stop()).toEqual([' 0'])
    expect(results).toEqual(Array.from({ length: 5 }, () => ({ code: '', size: 0n, mapped: 256n })))
  })

  test('sees a page private or shared, while it is converted', { needs }, async ({ kvm }) => {
    using vm = kvm.createVm({ type: 'SW_PROTECTED' })
    const memory = vm.addMemory({ gpa: BASE, size: pages(64), guestMemfd: {} })
    memory.shared.fill(0xaa)
    using first = vm.createVcpu()
    using second = vm.createVcpu()
    await first.fill({ gpa: memory.gpa, size: pages(1) }, 0xaa)
    const other = await startPrefaulting(second, memory)

    for (let round = 0; round < 10; round += 1) {
      vm.setPrivate(memory)
      expect(first.preFault(memory).code).toBe('')
      vm.setShared(memory)
      await sleep(1)
    }

    // A call that a conversion overtakes finds a page that is not what it was (EFAULT), or says how far it came.
    expect((await other.stop()).filter((outcome) => !/^(EFAULT)? /.test(outcome))).toEqual([])
    expect(first.preFault(memory).code).toBe('')
    await expect(first).toSeeFilledWith(0xaa, memory)
  })

  test('while a vCPU runs there: the guest sees its bytes', { needs }, async ({ kvm }) => {
    using vm = kvm.createVm({ type: 'SW_PROTECTED' })
    const memory = privateKind.make(vm, 64)
    using running = vm.createVcpu()
    using prefaulting = vm.createVcpu()
    const spin = running.spinWrite(memory)
    await spin.progressed()

    const results = Array.from({ length: 20 }, () => {
      memory.punchHole()
      return prefaulting.preFault(memory)
    })
    await spin.progressed()

    await spin.stop()
    expect(results.map(({ code, size }) => `${code} ${size}`)).toEqual(results.map(() => ' 0'))
    expect(await running.read64(memory.gpa)).toBeGreaterThan(0n)
  })
})
