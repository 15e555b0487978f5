// SPDX-License-Identifier: Apache-2.0
/**
 * Flags, VM types and hypercall numbers. Sources, all Linux 7.3.4: include/uapi/linux/kvm.h, include/uapi/linux/kvm_para.h,
 * arch/x86/include/uapi/asm/kvm.h. u64 fields are bigints, u32 fields numbers.
 */

/** KVM_CREATE_VM types of x86 (KVM_X86_*_VM). */
export const VM_TYPE = { DEFAULT: 0, SW_PROTECTED: 1, SEV: 2, SEV_ES: 3, SNP: 4, TDX: 5 } as const

/** A VM type's name: `'SW_PROTECTED'`. */
export type VmTypeName = keyof typeof VM_TYPE

/** A VM type by name, or any number. */
export type VmType = VmTypeName | number

// kvm_userspace_memory_region{,2}.flags
export const KVM_MEM_LOG_DIRTY_PAGES = 1 << 0
export const KVM_MEM_READONLY = 1 << 1
export const KVM_MEM_GUEST_MEMFD = 1 << 2

// kvm_create_guest_memfd.flags; the last is of patches that are not merged in 7.3, where it has another meaning in
// another series (WRITE, NO_DIRECT_MAP): tell them apart by behaviour.
export const GUEST_MEMFD_FLAG_MMAP = 1n << 0n
export const GUEST_MEMFD_FLAG_INIT_SHARED = 1n << 1n

/** kvm_memory_attributes.attributes: the gfn is private. */
export const KVM_MEMORY_ATTRIBUTE_PRIVATE = 1n << 3n
/** kvm_run.memory_fault.flags: the access was private. */
export const KVM_MEMORY_EXIT_FLAG_PRIVATE = 1n << 3n
/** kvm_run.hypercall.flags: the guest was in long mode. */
export const KVM_EXIT_HYPERCALL_LONG_MODE = 1n << 0n

// Hypercall numbers (rax).
export const KVM_HC_VAPIC_POLL_IRQ = 1n
export const KVM_HC_KICK_CPU = 5n
export const KVM_HC_CLOCK_PAIRING = 9n
export const KVM_HC_SEND_IPI = 10n
export const KVM_HC_SCHED_YIELD = 11n
export const KVM_HC_MAP_GPA_RANGE = 12n

/** Attributes argument of KVM_HC_MAP_GPA_RANGE: page size in bits 0..3, encrypted (private) in bit 4 (kvm_para.h). */
export const KVM_MAP_GPA_RANGE_PAGE_SZ_4K = 0n
export const KVM_MAP_GPA_RANGE_PAGE_SZ_2M = 1n
export const KVM_MAP_GPA_RANGE_PAGE_SZ_1G = 2n
export const KVM_MAP_GPA_RANGE_ENCRYPTED = 1n << 4n
export const KVM_MAP_GPA_RANGE_DECRYPTED = 0n

/** What KVM puts into rax for a refused hypercall, negated (kvm_para.h). */
export const KVM_ENOSYS = 1000n
export const KVM_EFAULT = 14n
export const KVM_EINVAL = 22n
export const KVM_EPERM = 1n
export const KVM_EOPNOTSUPP = 95n

/** kvm_cpuid2: bytes before the entries, bytes of one entry. */
export const CPUID2_HEADER_BYTES = 8
export const CPUID_ENTRY_BYTES = 40

/** KVM_CHECK_EXTENSION(KVM_CAP_X86_DISABLE_EXITS) bits. */
export const KVM_X86_DISABLE_EXITS_HLT = 1n << 1n

/** KVM_CAP_DISABLE_QUIRKS2 bit: do not rewrite vmcall to vmmcall in guest memory. */
export const KVM_X86_QUIRK_FIX_HYPERCALL_INSN = 1n << 5n
