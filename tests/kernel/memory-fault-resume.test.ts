// SPDX-License-Identifier: Apache-2.0
import {
  bytes,
  cases,
  describe,
  expect,
  gpaAdd,
  guestMemfdFlag,
  pages,
  sharedGuestMemfd,
  tdp,
  test,
} from 'gmem/testing'
import { BASE, fillOfPages, privateMemory } from './support/conversion.js'

const needs = privateMemory
/** Four bytes before the second page: a qword there lies half in the first. */
const CROSSING = bytes(pages(1) - 4n)
const VALUE = 0x1122_3344_5566_7788n

describe('an access that crosses two pages', () => {
  test('faults at the second where only that one cannot be reached, and has written nothing', {
    needs,
  }, async ({ kvm }) => {
    using vm = kvm.createVm({ type: 'SW_PROTECTED' })
    const memory = vm.addMemory({ gpa: BASE, size: pages(2) })
    const second = memory.range(pages(1), pages(1))
    using vcpu = vm.createVcpu()
    vm.setPrivate(second)

    const fault = await vcpu.attempt.write64(memory.gpaOf(CROSSING), VALUE)
    const before = memory.shared.read64(CROSSING)
    vm.setShared(second)
    const resumed = await vcpu.resume()

    expect(fault).toBeMemoryFault({ gpa: second.gpa, size: pages(1), private: true, code: 'EFAULT' })
    expect(before).toBe(0n)
    expect(resumed).toBeDone()
    expect(memory.shared.read64(CROSSING)).toBe(VALUE)
  })

  test('faults at the first where only that one cannot be reached', { needs }, async ({ kvm }) => {
    using vm = kvm.createVm({ type: 'SW_PROTECTED' })
    const memory = vm.addMemory({ gpa: BASE, size: pages(2) })
    const first = memory.range(pages(0), pages(1))
    memory.shared.write64(CROSSING, VALUE)
    using vcpu = vm.createVcpu()
    vm.setPrivate(first)

    const fault = await vcpu.attempt.read64(memory.gpaOf(CROSSING))
    vm.setShared(first)

    expect(fault).toBeMemoryFault({ gpa: first.gpa, size: pages(1), private: true, code: 'EFAULT' })
    expect(await vcpu.resume()).toBeDone(VALUE)
  })

  test('faults at one after the other where neither can be reached', { needs }, async ({ kvm }) => {
    using vm = kvm.createVm({ type: 'SW_PROTECTED' })
    const memory = vm.addMemory({ gpa: BASE, size: pages(2) })
    using vcpu = vm.createVcpu()
    vm.setPrivate(memory)

    const first = await vcpu.attempt.write64(memory.gpaOf(CROSSING), VALUE)
    vm.setShared(memory.range(pages(0), pages(1)))
    const second = await vcpu.resume()
    vm.setShared(memory)
    const resumed = await vcpu.resume()

    expect(first).toBeMemoryFault({ gpa: memory.gpa, private: true })
    expect(second).toBeMemoryFault({ gpa: memory.gpaOf(pages(1)), private: true })
    expect(resumed).toBeDone()
    expect(memory.shared.read64(CROSSING)).toBe(VALUE)
  })

  test('is written half to the private and half to the shared copy', { needs }, async ({ kvm }) => {
    using vm = kvm.createVm({ type: 'SW_PROTECTED' })
    const memory = vm.addMemory({ gpa: BASE, size: pages(2), guestMemfd: {} })
    using vcpu = vm.createVcpu()
    vm.setPrivate(memory.range(pages(1), pages(1)))

    await vcpu.write64(memory.gpaOf(CROSSING), VALUE)

    expect(await vcpu.read64(memory.gpaOf(CROSSING))).toBe(VALUE)
    expect(memory.shared.read64(CROSSING)).toBe(VALUE & 0xffff_ffffn)
  })
})

describe('a string instruction', () => {
  test('stops at the page that cannot be reached, and goes on from there', { needs }, async ({ kvm }) => {
    using vm = kvm.createVm({ type: 'SW_PROTECTED' })
    const memory = vm.addMemory({ gpa: BASE, size: pages(3) })
    const middle = memory.range(pages(1), pages(1))
    using vcpu = vm.createVcpu()
    vm.setPrivate(middle)

    const fault = await vcpu.attempt.fill(memory, 0xbb)
    const { rdi, rcx } = vcpu.getRegs()
    const filled = fillOfPages(memory.shared)
    vm.setShared(middle)
    const resumed = await vcpu.resume()

    expect(fault).toBeMemoryFault({ gpa: middle.gpa, size: pages(1), private: true, code: 'EFAULT' })
    expect(rdi).toEqualGpa(middle.gpa)
    expect(rcx).toBe(pages(2))
    expect(filled).toEqual([0xbb, 0, 0])
    expect(resumed).toBeDone()
    expect(memory).toBeFilledWith(0xbb)
  })

  test('that copies stops at source and destination, and copies every byte once', { needs }, async ({
    kvm,
  }) => {
    using vm = kvm.createVm({ type: 'SW_PROTECTED' })
    const source = vm.addMemory({ gpa: BASE, size: pages(2) })
    const target = vm.addMemory({ gpa: gpaAdd(BASE, pages(16)), size: pages(2) })
    source.fillPattern(0x5eedn)
    using vcpu = vm.createVcpu()
    vm.setPrivate(source.range(pages(1), pages(1)))
    vm.setPrivate(target.range(pages(0), pages(1)))

    const atTarget = await vcpu.attempt.copy({ from: source.gpa, to: target.gpa, size: source.size })
    vm.setShared(target)
    const atSource = await vcpu.resume()
    vm.setShared(source)
    const resumed = await vcpu.resume()

    expect(atTarget).toBeMemoryFault({ gpa: target.gpa, private: true })
    expect(atSource).toBeMemoryFault({ gpa: source.gpaOf(pages(1)), private: true })
    expect(resumed).toBeDone()
    expect(target.shared.compare(bytes(0), source.shared.read(bytes(0), 8192))).toBeNull()
  })
})

describe('a guest_memfd whose last fd is closed', () => {
  const onDefault = [sharedGuestMemfd, tdp]

  cases(
    [
      { what: 'a read', access: 'verify' },
      { what: 'a write', access: 'fill' },
    ] as const,
    ({ what }) => `stops ${what} of a DEFAULT VM with MEMORY_FAULT that is not private`,
    { needs: onDefault },
    async ({ kvm }, { access }) => {
      using vm = kvm.createVm()
      const memory = vm.addMemory({
        gpa: BASE,
        size: pages(4),
        guestMemfd: { mmap: true },
        userspace: 'backing',
      })
      const page = memory.range(pages(2), pages(1))
      using vcpu = vm.createVcpu()
      await vcpu.fill(memory, 0xbb)

      memory.guestMemfd.close()
      const fault = await vcpu.attempt[access](page, 0xbb)

      expect(fault).toBeExit({
        reason: 'MEMORY_FAULT',
        gpa: page.gpa,
        size: pages(1),
        flags: 0n,
        code: 'EFAULT',
      })
      expect(memory).toBeFilledWith(0)
    },
  )

  test('stops private accesses of a SW_PROTECTED VM, and no shared one', { needs }, async ({ kvm }) => {
    using vm = kvm.createVm({ type: 'SW_PROTECTED' })
    const memory = vm.addMemory({ gpa: BASE, size: pages(2), guestMemfd: {} })
    memory.shared.fill(0xaa)
    const priv = memory.range(pages(0), pages(1))
    using vcpu = vm.createVcpu()
    vm.setPrivate(priv)
    await vcpu.fill(priv, 0xbb)

    memory.guestMemfd.close()
    const fault = await vcpu.attempt.read64(BASE)
    vm.setShared(priv)
    const resumed = await vcpu.resume()

    expect(fault).toBeMemoryFault({ gpa: BASE, size: pages(1), private: true, code: 'EFAULT' })
    expect(resumed).toBeDone(0xaaaa_aaaa_aaaa_aaaan)
    await expect(vcpu).toSeeFilledWith(0xaa, memory.range(pages(1), pages(1)))
  })

  test('leaves a memslot that can be replaced, after which the guest goes on', { needs: onDefault }, async ({
    kvm,
  }) => {
    using vm = kvm.createVm()
    const memory = vm.addMemory({
      gpa: BASE,
      size: pages(2),
      guestMemfd: { mmap: true },
      userspace: 'backing',
    })
    using vcpu = vm.createVcpu()
    memory.guestMemfd.close()
    const fault = await vcpu.attempt.write64(BASE, VALUE)

    memory.remove()
    const flags = { mmap: true, initShared: true }
    const replaced = vm.addMemory({ gpa: BASE, size: pages(2), guestMemfd: flags })
    const resumed = await vcpu.resume()

    expect(fault).toBeMemoryFault({ gpa: BASE, private: false })
    expect(resumed).toBeDone()
    expect(replaced.shared.read64(bytes(0))).toBe(VALUE)
  })

  cases(
    [
      { what: 'a duplicate of it', keep: 'dup' },
      { what: 'a mapping of it', keep: 'mmap' },
    ] as const,
    ({ what }) => `is not closed for the guest while there is ${what}`,
    { needs: [guestMemfdFlag.mmap(), tdp] },
    async ({ kvm }, { keep }) => {
      using vm = kvm.createVm()
      const memory = vm.addMemory({
        gpa: BASE,
        size: pages(1),
        guestMemfd: { mmap: true },
        userspace: 'backing',
      })
      using vcpu = vm.createVcpu()
      await vcpu.fill(memory, 0xbb)

      const kept = memory.guestMemfd[keep]()
      memory.guestMemfd.close()

      await expect(vcpu).toSeeFilledWith(0xbb, memory)
      kept.close()
      expect(await vcpu.attempt.read64(BASE)).toBeMemoryFault({ gpa: BASE, private: false })
    },
  )
})
