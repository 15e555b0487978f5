// SPDX-License-Identifier: Apache-2.0
import { raw, type StructValues, struct, u8, u16, u32, u64, u64s } from './struct.js'

/**
 * Argument structs of KVM's ioctls, with the kernel's field names. Sources, Linux 7.3.4: include/uapi/linux/kvm.h and, for
 * registers, arch/x86/include/uapi/asm/kvm.h. Reserved parts are fields too: a test may fill them.
 */

/** struct kvm_userspace_memory_region (KVM_SET_USER_MEMORY_REGION). */
export const kvm_userspace_memory_region = struct(32, {
  slot: u32(0),
  flags: u32(4),
  guest_phys_addr: u64(8),
  memory_size: u64(16),
  userspace_addr: u64(24),
})

/** struct kvm_userspace_memory_region2 (KVM_SET_USER_MEMORY_REGION2). */
export const kvm_userspace_memory_region2 = struct(160, {
  slot: u32(0),
  flags: u32(4),
  guest_phys_addr: u64(8),
  memory_size: u64(16),
  userspace_addr: u64(24),
  guest_memfd_offset: u64(32),
  guest_memfd: u32(40),
  pad1: u32(44),
  pad2: u64s(48, 14),
})

/** struct kvm_memory_attributes (KVM_SET_MEMORY_ATTRIBUTES). */
export const kvm_memory_attributes = struct(32, {
  address: u64(0),
  size: u64(8),
  attributes: u64(16),
  flags: u64(24),
})

/**
 * struct kvm_memory_attributes2 (KVM_SET_MEMORY_ATTRIBUTES2 on a guest_memfd). Source: in-place conversion series, v8 13, 14 and 17/46,
 * the same in v13. The kernel writes error_offset where the conversion itself fails, and nothing otherwise.
 */
export const kvm_memory_attributes2 = struct(128, {
  offset: u64(0),
  size: u64(8),
  attributes: u64(16),
  flags: u64(24),
  error_offset: u64(32),
  reserved: u64s(40, 11),
})

/** struct kvm_gmem_convert (KVM_GMEM_CONVERT_SHARED and _PRIVATE on a guest_memfd). Source: in-place conversion, RFC v2, 04/51. */
export const kvm_gmem_convert = struct(64, {
  offset: u64(0),
  size: u64(8),
  error_offset: u64(16),
  reserved: u64s(24, 5),
})

/** struct kvm_create_guest_memfd (KVM_CREATE_GUEST_MEMFD). */
export const kvm_create_guest_memfd = struct(64, { size: u64(0), flags: u64(8), reserved: u64s(16, 6) })

/** struct kvm_pre_fault_memory (KVM_PRE_FAULT_MEMORY). */
export const kvm_pre_fault_memory = struct(64, {
  gpa: u64(0),
  size: u64(8),
  flags: u64(16),
  padding: u64s(24, 5),
})

/** struct kvm_enable_cap (KVM_ENABLE_CAP). */
export const kvm_enable_cap = struct(104, { cap: u32(0), flags: u32(4), args: u64s(8, 4), pad: raw(40, 64) })

/** struct kvm_dirty_log (KVM_GET_DIRTY_LOG); dirty_bitmap is a pointer. */
export const kvm_dirty_log = struct(16, { slot: u32(0), padding1: u32(4), dirty_bitmap: u64(8) })

/** struct kvm_clear_dirty_log (KVM_CLEAR_DIRTY_LOG); dirty_bitmap is a pointer. */
export const kvm_clear_dirty_log = struct(24, {
  slot: u32(0),
  num_pages: u32(4),
  first_page: u64(8),
  dirty_bitmap: u64(16),
})

/** struct kvm_regs (KVM_GET_REGS, KVM_SET_REGS). */
export const kvm_regs = struct(144, {
  rax: u64(0),
  rbx: u64(8),
  rcx: u64(16),
  rdx: u64(24),
  rsi: u64(32),
  rdi: u64(40),
  rsp: u64(48),
  rbp: u64(56),
  r8: u64(64),
  r9: u64(72),
  r10: u64(80),
  r11: u64(88),
  r12: u64(96),
  r13: u64(104),
  r14: u64(112),
  r15: u64(120),
  rip: u64(128),
  rflags: u64(136),
})

/** Registers of a vCPU (struct kvm_regs). */
export type Regs = StructValues<typeof kvm_regs>

/** struct kvm_segment: one segment register with its hidden part. */
export const kvm_segment = struct(24, {
  base: u64(0),
  limit: u32(8),
  selector: u16(12),
  type: u8(14),
  present: u8(15),
  dpl: u8(16),
  db: u8(17),
  s: u8(18),
  l: u8(19),
  g: u8(20),
  avl: u8(21),
  unusable: u8(22),
})

/** struct kvm_dtable: GDTR or IDTR. */
export const kvm_dtable = struct(16, { base: u64(0), limit: u16(8) })

/** struct kvm_sregs (KVM_GET_SREGS, KVM_SET_SREGS). Segments and tables are raw: see kvm_segment and kvm_dtable. */
export const kvm_sregs = struct(312, {
  cs: raw(0, 24),
  ds: raw(24, 24),
  es: raw(48, 24),
  fs: raw(72, 24),
  gs: raw(96, 24),
  ss: raw(120, 24),
  tr: raw(144, 24),
  ldt: raw(168, 24),
  gdt: raw(192, 16),
  idt: raw(208, 16),
  cr0: u64(224),
  cr2: u64(232),
  cr3: u64(240),
  cr4: u64(248),
  cr8: u64(256),
  efer: u64(264),
  apic_base: u64(272),
  interrupt_bitmap: u64s(280, 4),
})

/** Special registers of a vCPU (struct kvm_sregs). */
export type Sregs = StructValues<typeof kvm_sregs>
