// SPDX-License-Identifier: Apache-2.0
import {
  KVM_MEMORY_ENCRYPT_OP,
  KVM_MEMORY_ENCRYPT_REG_REGION,
  KVM_MEMORY_ENCRYPT_UNREG_REGION,
  kvm_enc_region,
  kvm_sev_snp_launch_start,
  kvm_sev_snp_launch_update,
  kvm_tdx_init_mem_region,
  SNP_PAGE_TYPE,
} from 'gmem/abi'
import { Mapping, sevCommand, tdxCommand } from 'gmem/kvm'
import { cases, describe, expect, gpa, guestMemfdMemslot, need, pages, test, vmType } from 'gmem/testing'

const BASE = gpa(0x1_0000_0000)
const FIRST_GFN = BASE / 4096n
const PAGE = 4096n

/** KVM has neither SEV nor TDX: on this processor, or because it was not asked to (kvm_amd.sev, kvm_intel.tdx). */
const withoutHardware = need('a KVM without confidential VMs', ({ vmTypes }) => {
  const confidential = vmTypes.filter(
    ({ type, error }) => !/^(DEFAULT|SW_PROTECTED)$/.test(type) && error === '',
  )
  return confidential.length === 0 ? null : `it offers ${confidential.map(({ type }) => type).join(', ')}`
})

const update = (fields: Partial<Parameters<typeof kvm_sev_snp_launch_update.encode>[0]> = {}): Uint8Array =>
  kvm_sev_snp_launch_update.encode({
    gfn_start: FIRST_GFN,
    len: PAGE,
    type: SNP_PAGE_TYPE.ZERO,
    ...fields,
  })

const region = kvm_tdx_init_mem_region.encode({ source_addr: PAGE, gpa: BASE, nr_pages: 1n })

// arch/x86/kvm/x86.c, KVM_MEMORY_ENCRYPT_OP; arch/x86/kvm/svm/sev.c, sev_mem_enc_ioctl (7.3.4): ENOTTY without the hardware.
describe('launch commands, without confidential VMs', () => {
  cases(
    [
      { command: 'SNP_LAUNCH_START', data: kvm_sev_snp_launch_start.encode({ policy: 0x30000n }) },
      { command: 'SNP_LAUNCH_UPDATE', data: update() },
      { command: 'SNP_LAUNCH_FINISH', data: new Uint8Array(88) },
    ] as const,
    ({ command }) => `KVM_SEV_${command} is ENOTTY, and leaves its struct alone`,
    { needs: [withoutHardware, guestMemfdMemslot()] },
    ({ kvm }, { command, data }) => {
      using vm = kvm.createVm()
      vm.addMemory({ gpa: BASE, size: pages(1), guestMemfd: {} })

      const result = sevCommand(vm, command, data)

      expect(result).toEqual({ code: 'ENOTTY', firmwareError: 0n, data })
    },
  )

  cases(
    ['CAPABILITIES', 'INIT_VM', 'FINALIZE_VM'] as const,
    (command) => `KVM_TDX_${command} on a VM is ENOTTY`,
    { needs: [withoutHardware] },
    ({ kvm }, command) => {
      using vm = kvm.createVm()

      expect(tdxCommand(vm, command, new Uint8Array(64))).toMatchObject({ code: 'ENOTTY', firmwareError: 0n })
    },
  )

  test('KVM_TDX_INIT_MEM_REGION on a vCPU is ENOTTY, and counts nothing', {
    needs: [withoutHardware, guestMemfdMemslot()],
  }, ({ kvm }) => {
    using vm = kvm.createVm()
    vm.addMemory({ gpa: BASE, size: pages(1), guestMemfd: {} })
    using vcpu = vm.createVcpu()

    expect(tdxCommand(vcpu, 'INIT_MEM_REGION', region)).toEqual({
      code: 'ENOTTY',
      firmwareError: 0n,
      data: region,
    })
  })

  test('a SW_PROTECTED VM is none of them: ENOTTY for both', {
    needs: [withoutHardware, vmType.swProtected],
  }, ({ kvm }) => {
    using vm = kvm.createVm({ type: 'SW_PROTECTED' })

    expect(sevCommand(vm, 'SNP_LAUNCH_UPDATE', update()).code).toBe('ENOTTY')
    expect(tdxCommand(vm, 'INIT_VM', new Uint8Array(64)).code).toBe('ENOTTY')
  })

  test('the argument is not looked at: ENOTTY also for address 0 and for memory that is not there', {
    needs: [withoutHardware],
  }, ({ kvm }) => {
    using vm = kvm.createVm()

    expect(() => vm.ioctl(KVM_MEMORY_ENCRYPT_OP, 0n)).toFailWith('ENOTTY')
    expect(() => vm.ioctl(KVM_MEMORY_ENCRYPT_OP, 1n)).toFailWith('ENOTTY')
  })

  cases(
    [
      { name: 'REG', request: KVM_MEMORY_ENCRYPT_REG_REGION },
      { name: 'UNREG', request: KVM_MEMORY_ENCRYPT_UNREG_REGION },
    ],
    ({ name }) => `KVM_MEMORY_ENCRYPT_${name}_REGION is ENOTTY`,
    { needs: [withoutHardware] },
    ({ kvm }, { request }) => {
      using vm = kvm.createVm()
      using memory = Mapping.anonymous(pages(1))
      const argument = kvm_enc_region.encode({ addr: memory.hva, size: memory.size })

      expect(() => vm.ioctl(request, argument)).toFailWith('ENOTTY')
    },
  )
})

// arch/x86/kvm/svm/sev.c, snp_launch_update (7.3.4): what is checked before the firmware is asked. Never run here: no such hardware.
describe('KVM_SEV_SNP_LAUNCH_UPDATE, with the hardware', () => {
  test('before KVM_SEV_SNP_LAUNCH_START is EINVAL', { needs: [vmType.snp] }, ({ kvm }) => {
    using vm = kvm.createVm({ type: 'SNP' })
    vm.addMemory({ gpa: BASE, size: pages(1), guestMemfd: {} })

    expect(sevCommand(vm, 'SNP_LAUNCH_UPDATE', update())).toMatchObject({ code: 'EINVAL', firmwareError: 0n })
  })
})

// arch/x86/kvm/vmx/tdx.c, tdx_vcpu_init_mem_region (7.3.4). Never run here: no such hardware.
describe('KVM_TDX_INIT_MEM_REGION, with the hardware', () => {
  test('before KVM_TDX_INIT_VM is EINVAL', { needs: [vmType.tdx] }, ({ kvm }) => {
    using vm = kvm.createVm({ type: 'TDX' })
    vm.addMemory({ gpa: BASE, size: pages(1), guestMemfd: {} })
    using vcpu = vm.createVcpu()

    expect(tdxCommand(vcpu, 'INIT_MEM_REGION', region)).toMatchObject({ code: 'EINVAL' })
  })
})
