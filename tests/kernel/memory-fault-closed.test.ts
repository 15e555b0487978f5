// SPDX-License-Identifier: Apache-2.0
import {
  bytes,
  cases,
  describe,
  expect,
  guestMemfdFlag,
  pages,
  sharedGuestMemfd,
  tdp,
  test,
} from 'gmem/testing'
import { BASE, privateMemory } from './support/conversion.js'

const needs = privateMemory
const VALUE = 0x1122_3344_5566_7788n

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
