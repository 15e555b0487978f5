// SPDX-License-Identifier: Apache-2.0
import { cap, describe, expect, kernelAtLeast, tdp, test, vmType } from 'gmem/testing'
import { errnoOf } from './support/conversion.js'

/** KVM_CAP_VM_TYPES is a bitmap of 32 types; the second half would be offered by a kernel that shifts without a check. */
const TYPES = Array.from({ length: 64 }, (_, type) => type)

describe('KVM_CREATE_VM', () => {
  test('makes the VM types of KVM_CAP_VM_TYPES and refuses every other with EINVAL', {
    needs: [cap('VM_TYPES')],
  }, ({ kvm }) => {
    const offered = BigInt(kvm.capability('VM_TYPES'))

    const outcomes = TYPES.map((type) => errnoOf(() => kvm.createVm({ type }).close()))

    expect(outcomes).toEqual(TYPES.map((type) => (((offered >> BigInt(type)) & 1n) === 1n ? '' : 'EINVAL')))
  })

  test('does not take a type for its low half', { needs: [cap('VM_TYPES')] }, ({ kvm }) => {
    expect(() => kvm.createVm({ type: 2 ** 32 })).toFailWith('EINVAL', 'KVM_CREATE_VM')
    expect(() => kvm.createVm({ type: 2 ** 32 + 1 })).toFailWith('EINVAL', 'KVM_CREATE_VM')
  })

  // kvm_x86_ops says so before hardware is asked: SW_PROTECTED needs the TDP MMU (arch/x86/kvm/x86.c, since 6.8).
  test('offers SW_PROTECTED only with two-dimensional paging', { needs: [vmType.swProtected] }, async ({
    target,
  }) => {
    expect(await tdp.unmet(target)).toBeNull()
  })
})

describe('an address space of memslots', () => {
  // SMM is not supported for guests with private memory: kvm_arch_nr_memslot_as_ids() (7.3.4; since 6.11 or so).
  test('is the only one of a SW_PROTECTED VM', { needs: [vmType.swProtected, kernelAtLeast('6.12')] }, ({
    kvm,
  }) => {
    using vm = kvm.createVm({ type: 'SW_PROTECTED' })

    expect(vm.capability('MULTI_ADDRESS_SPACE')).toBeLessThanOrEqual(1)
  })
})
