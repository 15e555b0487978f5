// SPDX-License-Identifier: Apache-2.0
import { cap, describe, expect, gpa, not, pages, tdp, test, vmType } from 'gmem/testing'
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

  // SW_PROTECTED VMs exist only on the TDP MMU: kvm_caps.supported_vm_types in arch/x86/kvm/x86.c (7.3.4; since 6.8-rc6).
  test('refuses SW_PROTECTED with EINVAL where KVM shadows page tables', { needs: [not(tdp)] }, ({ kvm }) => {
    expect(() => kvm.createVm({ type: 'SW_PROTECTED' })).toFailWith('EINVAL', 'KVM_CREATE_VM')
  })
})

describe('a SW_PROTECTED VM', () => {
  // SMM is not supported for guests with private memory: kvm_arch_nr_memslot_as_ids() (arch/x86/include/asm/kvm_host.h, 7.3.4).
  test('has one address space: a memslot in the second is refused with EINVAL', {
    needs: [vmType.swProtected],
  }, ({ kvm }) => {
    using vm = kvm.createVm({ type: 'SW_PROTECTED' })
    const memslot = { gpa: gpa(0x1000_0000), size: pages(1) }

    expect(() => vm.setMemslot({ ...memslot, slot: (1 << 16) | 1 })).toFailWith('EINVAL')

    expect(() => vm.setMemslot({ ...memslot, slot: 1 })).not.toThrow()
  })
})
