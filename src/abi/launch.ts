// SPDX-License-Identifier: Apache-2.0
import { ior, iowr, KVMIO } from './ioc.js'
import { raw, struct, u8, u16, u32, u64, u64s } from './struct.js'

/**
 * How the first memory of a confidential VM gets its contents: the commands of KVM_MEMORY_ENCRYPT_OP behind which kvm_gmem_populate() is
 * (virt/kvm/guest_memfd.c). Source: arch/x86/include/uapi/asm/kvm.h and include/uapi/linux/kvm.h of Linux 7.3.4.
 */

export const KVM_MEMORY_ENCRYPT_OP = iowr(KVMIO, 0xba, 8)
export const KVM_MEMORY_ENCRYPT_REG_REGION = ior(KVMIO, 0xbb, 16)
export const KVM_MEMORY_ENCRYPT_UNREG_REGION = ior(KVMIO, 0xbc, 16)

/** enum sev_cmd_id, as far as SNP guests are started with it. */
export const SEV_COMMAND = {
  INIT2: 22,
  SNP_LAUNCH_START: 100,
  SNP_LAUNCH_UPDATE: 101,
  SNP_LAUNCH_FINISH: 102,
} as const
export type SevCommand = keyof typeof SEV_COMMAND

/** enum kvm_tdx_cmd_id. INIT_VCPU, INIT_MEM_REGION and GET_CPUID go to a vCPU, the others to the VM. */
export const TDX_COMMAND = {
  CAPABILITIES: 0,
  INIT_VM: 1,
  INIT_VCPU: 2,
  INIT_MEM_REGION: 3,
  FINALIZE_VM: 4,
  GET_CPUID: 5,
} as const
export type TdxCommand = keyof typeof TDX_COMMAND

/** KVM_SEV_SNP_PAGE_TYPE_*. */
export const SNP_PAGE_TYPE = { NORMAL: 1, ZERO: 3, UNMEASURED: 4, SECRETS: 5, CPUID: 6 } as const

/** struct kvm_sev_cmd: the argument of KVM_MEMORY_ENCRYPT_OP on a SEV VM. `data` is the address of the command's own struct. */
export const kvm_sev_cmd = struct(24, { id: u32(0), data: u64(8), error: u32(16), sev_fd: u32(20) })

/** struct kvm_sev_init (KVM_SEV_INIT2). */
export const kvm_sev_init = struct(48, { vmsa_features: u64(0), flags: u32(8), ghcb_version: u16(12) })

/** struct kvm_sev_snp_launch_start. */
export const kvm_sev_snp_launch_start = struct(64, {
  policy: u64(0),
  gosvw: raw(8, 16),
  flags: u16(24),
  pad1: u64s(32, 4),
})

/** struct kvm_sev_snp_launch_update: `len` bytes from `uaddr` become the guest's, from `gfn_start` on. Counted on as far as it came. */
export const kvm_sev_snp_launch_update = struct(64, {
  gfn_start: u64(0),
  uaddr: u64(8),
  len: u64(16),
  type: u8(24),
  pad0: u8(25),
  flags: u16(26),
  pad1: u32(28),
  pad2: u64s(32, 4),
})

/** struct kvm_tdx_cmd: the argument of KVM_MEMORY_ENCRYPT_OP on a TDX VM or vCPU. */
export const kvm_tdx_cmd = struct(24, { id: u32(0), flags: u32(4), data: u64(8), hw_error: u64(16) })

/** struct kvm_tdx_init_mem_region. Counted on as far as it came. */
export const kvm_tdx_init_mem_region = struct(24, { source_addr: u64(0), gpa: u64(8), nr_pages: u64(16) })

/** struct kvm_enc_region (KVM_MEMORY_ENCRYPT_REG_REGION). */
export const kvm_enc_region = struct(16, { addr: u64(0), size: u64(8) })
