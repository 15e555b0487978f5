// SPDX-License-Identifier: Apache-2.0
import {
  KVM_EINVAL,
  KVM_ENOSYS,
  KVM_EXIT_HYPERCALL_LONG_MODE,
  KVM_HC_MAP_GPA_RANGE,
  KVM_MAP_GPA_RANGE_DECRYPTED,
  KVM_MAP_GPA_RANGE_ENCRYPTED,
  KVM_MAP_GPA_RANGE_PAGE_SZ_2M,
  KVM_RUN_OFFSET,
} from 'gmem/abi'
import type { Kvm, Vm } from 'gmem/kvm'
import {
  bytes,
  cap,
  cases,
  describe,
  expect,
  gpa,
  hypercalls,
  kernelAtLeast,
  pages,
  test,
} from 'gmem/testing'
import { BASE, convertibleMemory, errnoOf, privateMemory } from './support/conversion.js'

const MAP_GPA_RANGE_BIT = 1n << KVM_HC_MAP_GPA_RANGE
const BASE_GFN = BASE / pages(1)
const TO_PRIVATE = { gpa: BASE, pages: 2n, attributes: KVM_MAP_GPA_RANGE_ENCRYPTED }
const TO_SHARED = { ...TO_PRIVATE, attributes: KVM_MAP_GPA_RANGE_DECRYPTED }
const EAGAIN = 11n

const exitable = [cap('EXIT_HYPERCALL'), hypercalls]

/** A DEFAULT VM whose KVM_HC_MAP_GPA_RANGE comes to userspace: the exit does not depend on private memory. */
function vmWithExit(kvm: Kvm): Vm {
  const vm = kvm.createVm()
  vm.enableCapability('EXIT_HYPERCALL', [MAP_GPA_RANGE_BIT])
  return vm
}

describe('KVM_CAP_EXIT_HYPERCALL', () => {
  test('offers exactly the bits that KVM_ENABLE_CAP takes', { needs: [cap('EXIT_HYPERCALL')] }, ({ kvm }) => {
    using vm = kvm.createVm()
    const bits = Array.from({ length: 64 }, (_, bit) => 1n << BigInt(bit))

    const accepted = bits.filter((bit) => errnoOf(() => vm.enableCapability('EXIT_HYPERCALL', [bit])) === '')
    const refused = bits.filter(
      (bit) => errnoOf(() => vm.enableCapability('EXIT_HYPERCALL', [bit])) === 'EINVAL',
    )

    expect(accepted).toEqual([MAP_GPA_RANGE_BIT])
    expect(refused).toHaveLength(63)
    expect(vm.capability('EXIT_HYPERCALL')).toBe(Number(MAP_GPA_RANGE_BIT))
  })

  test('refuses a good bit beside an unknown one, and flags, with EINVAL', { needs: exitable }, async ({
    kvm,
  }) => {
    using vm = kvm.createVm()
    using vcpu = vm.createVcpu()

    expect(() => vm.enableCapability('EXIT_HYPERCALL', [MAP_GPA_RANGE_BIT | 1n])).toFailWith('EINVAL')
    expect(() => vm.enableCapability('EXIT_HYPERCALL', [MAP_GPA_RANGE_BIT], 1)).toFailWith('EINVAL')

    expect(await vcpu.mapGpaRange(TO_PRIVATE)).toBe(-KVM_ENOSYS)
  })

  test('is off until it is enabled, and can be turned off again', { needs: exitable }, async ({ kvm }) => {
    using vm = kvm.createVm()
    using vcpu = vm.createVcpu()

    const before = await vcpu.attempt.mapGpaRange(TO_PRIVATE)
    vm.enableCapability('EXIT_HYPERCALL', [MAP_GPA_RANGE_BIT])
    const enabled = await vcpu.attempt.mapGpaRange(TO_PRIVATE)
    await vcpu.resume()
    vm.enableCapability('EXIT_HYPERCALL', [0n])
    const after = await vcpu.attempt.mapGpaRange(TO_PRIVATE)

    expect(before).toBeDone(-KVM_ENOSYS)
    expect(enabled).toBeExit({ reason: 'HYPERCALL' })
    expect(after).toBeDone(-KVM_ENOSYS)
  })
})

describe('KVM_HC_MAP_GPA_RANGE', () => {
  test('exits with its number, its arguments and the long mode flag', {
    needs: exitable,
  }, async ({ kvm }) => {
    using vm = vmWithExit(kvm)
    using vcpu = vm.createVcpu()

    const exit = await vcpu.attempt.mapGpaRange({
      gpa: BASE,
      pages: 3n,
      attributes: KVM_MAP_GPA_RANGE_ENCRYPTED,
    })

    expect(exit).toBeExit({
      reason: 'HYPERCALL',
      nr: KVM_HC_MAP_GPA_RANGE,
      args: [BASE, 3n, KVM_MAP_GPA_RANGE_ENCRYPTED, 0n, 0n, 0n],
      flags: KVM_EXIT_HYPERCALL_LONG_MODE,
    })
  })

  // 9a1dfeff4414 (6.14), for userspace that never sets it.
  test('exits with 0 to return, not with what userspace answered the last time', {
    needs: [...exitable, kernelAtLeast('6.14')],
  }, async ({ kvm }) => {
    using vm = vmWithExit(kvm)
    using vcpu = vm.createVcpu()
    await vcpu.attempt.mapGpaRange(TO_PRIVATE)
    await vcpu.resume({ ret: -EAGAIN })

    await vcpu.attempt.mapGpaRange(TO_PRIVATE)

    expect(vcpu.readRun(KVM_RUN_OFFSET.hypercall_ret, 8)).toBeFilledWith(0)
  })

  cases(
    [
      { what: '0, success', ret: 0n },
      { what: '-EINVAL, a refusal', ret: -KVM_EINVAL },
      { what: '-EAGAIN, to try again', ret: -EAGAIN },
      { what: 'any 64 bits', ret: 0x1234_5678_9abc_def0n },
    ],
    ({ what }) => `returns to the guest what userspace answers: ${what}`,
    { needs: exitable },
    async ({ kvm }, { ret }) => {
      using vm = vmWithExit(kvm)
      using vcpu = vm.createVcpu()

      await vcpu.attempt.mapGpaRange(TO_PRIVATE)
      const answered = await vcpu.resume({ ret })

      expect(answered).toBeDone(ret)
    },
  )

  cases(
    [
      { what: 'a gpa one byte into a page', request: { ...TO_PRIVATE, gpa: BASE + 1n } },
      { what: 'a gpa one byte before a page', request: { ...TO_PRIVATE, gpa: BASE - 1n } },
      { what: '0 pages', request: { ...TO_PRIVATE, pages: 0n } },
      {
        what: 'so many pages that the gfn wraps to 0',
        request: { ...TO_PRIVATE, pages: (1n << 64n) - BASE_GFN },
      },
      {
        what: 'so many pages that the gfn wraps to itself less one',
        request: { ...TO_PRIVATE, pages: (1n << 64n) - 1n },
      },
    ],
    ({ what }) => `gives the guest -EINVAL for ${what}, without an exit`,
    { needs: exitable },
    async ({ kvm }, { request }) => {
      using vm = vmWithExit(kvm)
      using vcpu = vm.createVcpu()

      expect(await vcpu.attempt.mapGpaRange(request)).toBeDone(-KVM_EINVAL)
    },
  )

  cases(
    [
      // KVM counts in gfns here, and only their sum must not wrap: the rest is for userspace to refuse.
      {
        what: 'the most pages that do not wrap',
        request: { ...TO_PRIVATE, pages: (1n << 64n) - 1n - BASE_GFN },
      },
      { what: 'a page size', request: { ...TO_PRIVATE, attributes: KVM_MAP_GPA_RANGE_PAGE_SZ_2M } },
      { what: 'attributes that KVM does not know', request: { ...TO_PRIVATE, attributes: (1n << 64n) - 1n } },
    ],
    ({ what }) => `comes to userspace with ${what}`,
    { needs: exitable },
    async ({ kvm }, { request }) => {
      using vm = vmWithExit(kvm)
      using vcpu = vm.createVcpu()

      const exit = await vcpu.attempt.mapGpaRange(request)

      expect(exit).toBeExit({
        reason: 'HYPERCALL',
        args: [request.gpa, request.pages, request.attributes, 0n, 0n, 0n],
      })
    },
  )

  test('has 32-bit arguments and no long mode flag from a guest in real mode', { needs: exitable }, async ({
    kvm,
  }) => {
    using vm = vmWithExit(kvm)
    const code = vm.addMemory({ gpa: gpa(0x1000), size: pages(1) })
    using vcpu = vm.createVcpu()
    // vmcall on Intel, vmmcall on AMD: the monitor's own hypercall tells which; here KVM rewrites a wrong one.
    code.shared.write(bytes(0), Uint8Array.of(0x0f, 0x01, 0xd9))
    vcpu.setSregs({ cs: realModeSegment(vcpu.getSregs().cs) })
    const wide = 0xdead_beef_0000_0000n
    vcpu.setRegs({
      rip: 0x1000n,
      rflags: 2n,
      rax: KVM_HC_MAP_GPA_RANGE,
      rbx: wide | BASE,
      rcx: wide | 2n,
      rdx: wide,
    })

    const exit = await vcpu.run()

    expect(exit).toBeExit({ reason: 'HYPERCALL', args: [BASE, 2n, 0n, 0n, 0n, 0n], flags: 0n })
  })

  test('changes no attribute by itself', { needs: [...privateMemory, hypercalls] }, async ({ kvm }) => {
    using vm = kvm.createVm({ type: 'SW_PROTECTED' })
    vm.enableCapability('EXIT_HYPERCALL', [MAP_GPA_RANGE_BIT])
    const memory = convertibleMemory(vm, 2, 0xaa)
    using vcpu = vm.createVcpu()

    await vcpu.attempt.mapGpaRange(TO_PRIVATE)
    await vcpu.resume({ ret: 0n })

    await expect(vcpu).toSeeFilledWith(0xaa, memory)
  })

  test('carries a page to private and back, by the whole protocol', {
    needs: [...privateMemory, hypercalls],
  }, async ({ kvm }) => {
    using vm = kvm.createVm({ type: 'SW_PROTECTED' })
    vm.enableCapability('EXIT_HYPERCALL', [MAP_GPA_RANGE_BIT])
    const memory = convertibleMemory(vm, 3, 0xaa)
    const [asked, neighbour] = [memory.range(pages(0), pages(2)), memory.range(pages(2), pages(1))]
    using vcpu = vm.createVcpu()

    await vcpu.attempt.mapGpaRange(TO_PRIVATE)
    vm.setPrivate(asked)
    expect(await vcpu.resume({ ret: 0n })).toBeDone(0n)
    await expect(vcpu).toSeeFilledWith(0, asked)
    await vcpu.fill(memory, 0xbb)
    await vcpu.attempt.mapGpaRange(TO_SHARED)
    vm.setShared(asked)
    expect(await vcpu.resume({ ret: 0n })).toBeDone(0n)

    await expect(vcpu).toSeeFilledWith(0xaa, asked)
    expect(memory).toBeFilledWith(0xaa, asked)
    expect(memory).toBeFilledWith(0xbb, neighbour)
  })

  test('of two vCPUs waits for an answer on each', { needs: exitable }, async ({ kvm }) => {
    using vm = vmWithExit(kvm)
    using first = vm.createVcpu()
    using second = vm.createVcpu()

    await first.attempt.mapGpaRange(TO_PRIVATE)
    await second.attempt.mapGpaRange(TO_SHARED)

    expect(await second.resume({ ret: -KVM_EINVAL })).toBeDone(-KVM_EINVAL)
    expect(await first.resume()).toBeDone(0n)
  })
})

/** A code segment as real mode has it, from the one of a vCPU after reset: base 0 instead of 0xffff0000. */
function realModeSegment(reset: Uint8Array): Uint8Array {
  const segment = reset.slice()
  // struct kvm_segment: base in bytes 0 to 7, selector in 12 and 13.
  segment.fill(0, 0, 8)
  segment.fill(0, 12, 14)
  return segment
}
