// SPDX-License-Identifier: Apache-2.0
import { KVM_ENOSYS, KVM_HC_MAP_GPA_RANGE, KVM_MAP_GPA_RANGE_ENCRYPTED } from 'gmem/abi'
import { cap, describe, expect, hypercalls, test } from 'gmem/testing'
import { BASE, errnoOf } from './support/conversion.js'

const MAP_GPA_RANGE_BIT = 1n << KVM_HC_MAP_GPA_RANGE
const TO_PRIVATE = { gpa: BASE, pages: 2n, attributes: KVM_MAP_GPA_RANGE_ENCRYPTED }

const exitable = [cap('EXIT_HYPERCALL'), hypercalls]

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
