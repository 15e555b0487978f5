// SPDX-License-Identifier: Apache-2.0

import { setTimeout as sleep } from 'node:timers/promises'
import { MADV_DONTNEED } from 'gmem/abi'
import { type GpaRange, type Outcome, type Spin, scaledMs, unwrap, type Vcpu, type Vm } from 'gmem/kvm'
import { bytes, describe, expect, pages, sharedGuestMemfd, tdp, test } from 'gmem/testing'
import { BASE, convertibleMemory, privateMemory } from './support/conversion.js'

const needs = privateMemory

describe('while a vCPU runs', () => {
  test('a conversion to private ends its writes to the shared copy before it returns', { needs }, async ({
    kvm,
  }) => {
    using vm = kvm.createVm({ type: 'SW_PROTECTED' })
    const memory = convertibleMemory(vm, 1, 0)
    using vcpu = vm.createVcpu()
    const spin = vcpu.spinWrite(memory, { onExit: isOvertaken })
    await spin.progressed()

    vm.setPrivate(memory)
    const left = memory.shared.read64(bytes(0))
    await spin.progressed(1000n)

    expect(left).toBeGreaterThan(0n)
    expect(memory.shared.read64(bytes(0))).toBe(left)
    expect(await spin.stop()).toBe(await vcpu.read64(BASE))
  })

  test('a conversion to shared sends its next writes to the host', { needs }, async ({ kvm }) => {
    using vm = kvm.createVm({ type: 'SW_PROTECTED' })
    const memory = convertibleMemory(vm, 1, 0)
    using vcpu = vm.createVcpu()
    vm.setPrivate(memory)
    const spin = vcpu.spinWrite(memory, { onExit: isOvertaken })
    await spin.progressed()
    const whilePrivate = memory.shared.read64(bytes(0))

    vm.setShared(memory)
    await spin.progressed(2n)

    expect(whilePrivate).toBe(0n)
    expect(await spin.stop()).toBe(memory.shared.read64(bytes(0)))
  })

  test('a hole punched in its private page reads zero to it', { needs }, async ({ kvm }) => {
    using vm = kvm.createVm({ type: 'SW_PROTECTED' })
    const memory = convertibleMemory(vm, 1, 0)
    using vcpu = vm.createVcpu()
    vm.setPrivate(memory)
    await vcpu.write64(BASE, 0xbbn)
    const waiting = vcpu.waitChange(BASE, 0xbbn)

    memory.punchHole()

    expect(await waiting).toBe(0n)
  })
})

test('a hole punched while a vCPU writes ends its writes to the old page before it returns', {
  needs: [sharedGuestMemfd, tdp],
}, async ({ kvm }) => {
  using vm = kvm.createVm()
  const flags = { mmap: true, initShared: true }
  // Were userspace_addr the file's mapping, punching would unmap that, and KVM's MMU notifier would flush in place of the guest_memfd.
  const memory = vm.addMemory({ gpa: BASE, size: pages(1), guestMemfd: flags, userspace: null })
  const mapping = memory.guestMemfd.mmap()
  using vcpu = vm.createVcpu()
  const spin = vcpu.spinWrite(memory)
  await spin.progressed()

  const seen = Array.from({ length: 20 }, () => {
    // A page table entry of this process would be unmapped by the hole, and the interrupt for that is an exit, too.
    mapping.madvise(MADV_DONTNEED)
    passes(spin, 2n)
    memory.punchHole()
    passes(spin, 2n)
    return mapping.read64(bytes(0))
  })

  // Writes through a stale TLB entry would go to the freed page, and the host would read the new one as zero.
  await spin.stop()
  expect(seen.filter((value) => value === 0n)).toEqual([])
})

describe('two vCPUs', () => {
  test('share the private page of a gpa', { needs }, async ({ kvm }) => {
    using vm = kvm.createVm({ type: 'SW_PROTECTED' })
    const memory = convertibleMemory(vm, 1, 0xaa)
    using reader = vm.createVcpu()
    using writer = vm.createVcpu()
    await writer.ready()
    vm.setPrivate(memory)

    const waiting = reader.waitChange(BASE, 0n)
    await writer.write64(BASE, 0xbbn)

    expect(await waiting).toBe(0xbbn)
    expect(memory).toBeFilledWith(0xaa)
  })

  test('both leave the shared copy of a page that is made private', { needs }, async ({ kvm }) => {
    using vm = kvm.createVm({ type: 'SW_PROTECTED' })
    const memory = convertibleMemory(vm, 1, 0)
    using first = vm.createVcpu()
    using second = vm.createVcpu()
    await first.ready()
    await second.ready()
    // Qwords of their own in one page.
    const firstSpin = first.spinWrite({ gpa: BASE, size: bytes(8) }, { onExit: isOvertaken })
    const secondSpin = second.spinWrite(
      { gpa: memory.gpaOf(bytes(64)), size: bytes(8) },
      { onExit: isOvertaken },
    )
    await firstSpin.progressed()
    await secondSpin.progressed()

    vm.setPrivate(memory)
    const left = memory.shared.read(bytes(0), 128)
    await firstSpin.progressed(100n)
    await secondSpin.progressed(100n)

    expect(memory.shared.read(bytes(0), 128)).toEqual(left)
    expect(await firstSpin.stop()).toBe(await first.read64(BASE))
    expect(await secondSpin.stop()).toBe(await first.read64(memory.gpaOf(bytes(64))))
  })

  test('lose no atomic increment to conversions in between', { needs }, async ({ kvm }) => {
    using vm = kvm.createVm({ type: 'SW_PROTECTED' })
    const memory = convertibleMemory(vm, 1, 0)
    using first = vm.createVcpu()
    using second = vm.createVcpu()
    const stop = new AbortController()

    const counting = [countUntil(first, stop.signal), countUntil(second, stop.signal)]
    await convertBackAndForth(vm, memory, 10)
    stop.abort()
    const increments = (await Promise.all(counting)).reduce((sum, count) => sum + count)

    // Each increment went to one of the two copies, and none to both or to neither.
    const shared = memory.shared.read64(bytes(0))
    vm.setPrivate(memory)
    const unseen = await first.read64(BASE)
    expect(unseen).toBeGreaterThan(0n)
    expect(shared + unseen).toBe(increments)
  })
})

/** Increments the qword at BASE until told to stop: how often. */
async function countUntil(vcpu: Vcpu, stop: AbortSignal): Promise<bigint> {
  // Some milliseconds of a guest: results that come as fast as they are taken would keep timers, and so the conversions, waiting.
  const batch = 20_000n
  let count = 0n
  while (!stop.aborted) {
    let outcome: Outcome<unknown> = await vcpu.attempt.increment64(BASE, batch)
    while (isOvertaken(outcome)) outcome = await vcpu.resume()
    unwrap('increment64', outcome)
    count += batch
  }
  return count
}

/** A fault that a conversion overtakes exits where it could not be resolved as it began, and is to be tried again (api.rst). */
function isOvertaken(outcome: Outcome<unknown>): boolean {
  return outcome.reason === 'MEMORY_FAULT'
}

/** Waits for so many passes without leaving the guest the time for an exit that has nothing to do with the test. */
function passes(spin: Spin, count: bigint): void {
  const goal = spin.progress() + count
  const end = performance.now() + scaledMs(1000)
  while (spin.progress() < goal) {
    if (performance.now() > end) throw new Error(`the guest made fewer than ${count} passes in a second`)
  }
}

/** Leaves the guest a few milliseconds on either side. */
async function convertBackAndForth(vm: Vm, range: GpaRange, times: number): Promise<void> {
  for (let i = 0; i < times; i++) {
    vm.setPrivate(range)
    await sleep(5)
    vm.setShared(range)
    await sleep(5)
  }
}
