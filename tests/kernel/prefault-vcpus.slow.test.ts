// SPDX-License-Identifier: Apache-2.0
import { setTimeout as sleep } from 'node:timers/promises'
import {
  KVM_PRE_FAULT_MEMORY,
  KVM_SET_USER_MEMORY_REGION2,
  kvm_pre_fault_memory,
  kvm_userspace_memory_region2,
} from 'gmem/abi'
import { binding, type Memory, type Vcpu } from 'gmem/kvm'
import { describe, expect, mib, pages, test } from 'gmem/testing'
import { BASE } from './support/conversion.js'
import { privateKind, remainder, sharedKind } from './support/prefault.js'
import { startPrefaulting } from './support/prefault-thread.js'
import { call } from './support/races.js'

const needs = privateKind.needs
/** Pages: so many that mapping them takes longer than a thread needs to start. */
const MANY = 16_384

/** KVM_PRE_FAULT_MEMORY on a thread of its own. */
function prefaultOnThread(
  vcpu: Vcpu,
  { gpa, size }: Memory,
): ReturnType<typeof binding.addon.syscallsOnThread> {
  const argument = kvm_pre_fault_memory.encode({ gpa, size })
  return binding.addon.syscallsOnThread([call('ioctl', vcpu.fd, KVM_PRE_FAULT_MEMORY, argument)], 1)
}

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

describe('KVM_PRE_FAULT_MEMORY of a memslot that is', () => {
  // kvm_set_memslot(), 7.3.4: the memslot is marked as going, and is gone only when no reader of memslots from before is left: here a prefault.
  test('being deleted fails with EAGAIN, and with ENOENT once it is gone', {
    needs: sharedKind.needs,
  }, async ({ kvm }) => {
    using vm = kvm.createVm()
    const memory = sharedKind.make(vm, 2)
    const big = vm.addMemory({
      gpa: memory.gpaOf(mib(2)),
      size: pages(MANY),
      guestMemfd: { mmap: true, initShared: true },
    })
    using busy = vm.createVcpu()
    using vcpu = vm.createVcpu()
    await busy.ready()
    await vcpu.ready()
    const before = vm.stat('pages_4k')
    const reading = prefaultOnThread(busy, big)
    while (vm.stat('pages_4k') === before) await sleep(1)
    const request = kvm_userspace_memory_region2.encode({ slot: memory.slot })
    const deletion = [call('ioctl', vm.fd, KVM_SET_USER_MEMORY_REGION2, request)]
    const deleting = binding.addon.syscallsOnThread(deletion, 1)

    let during = vcpu.preFault(memory)
    while (during.code === '') during = vcpu.preFault(memory)
    const results = await Promise.all([reading, deleting])

    expect(during).toEqual(remainder('EAGAIN', memory))
    expect(results.map(([made]) => made?.value)).toEqual([0n, 0n])
    expect(vcpu.preFault(memory)).toEqual(remainder('ENOENT', memory))
  })

  test('deleted and added again and again maps it, finds none, or fails with EAGAIN', {
    needs: sharedKind.needs,
  }, async ({ kvm }) => {
    using vm = kvm.createVm()
    using file = vm.createGuestMemfd({ size: pages(64), flags: { mmap: true, initShared: true } })
    const slot = { slot: 7, gpa: BASE, size: file.size, guestMemfd: file }
    vm.setMemslot(slot)
    using vcpu = vm.createVcpu()
    const other = await startPrefaulting(vcpu, slot)

    for (let round = 0; round < 50; round += 1) {
      vm.deleteMemslot(slot.slot)
      vm.setMemslot(slot)
    }

    // Where some pages were done, the rest is left: fewer than all of them.
    const outcomes = await other.stop()
    const all = String(file.size)
    expect(outcomes.filter((outcome) => !/^ \d+$|^(ENOENT|EAGAIN) /.test(outcome))).toEqual([])
    expect(outcomes).not.toContain(` ${all}`)
    expect(outcomes.filter((outcome) => /^E/.test(outcome) && !outcome.endsWith(` ${all}`))).toEqual([])
    expect(vcpu.preFault(slot)).toMatchObject({ code: '', size: 0n })
  })
})
