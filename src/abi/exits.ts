// SPDX-License-Identifier: Apache-2.0
/** kvm_run.exit_reason by the kernel's name without `KVM_EXIT_` (include/uapi/linux/kvm.h of Linux 7.3.4). */
export const KVM_EXIT = {
  UNKNOWN: 0,
  EXCEPTION: 1,
  IO: 2,
  HYPERCALL: 3,
  DEBUG: 4,
  HLT: 5,
  MMIO: 6,
  IRQ_WINDOW_OPEN: 7,
  SHUTDOWN: 8,
  FAIL_ENTRY: 9,
  INTR: 10,
  SET_TPR: 11,
  TPR_ACCESS: 12,
  NMI: 16,
  INTERNAL_ERROR: 17,
  SYSTEM_EVENT: 24,
  IOAPIC_EOI: 26,
  HYPERV: 27,
  X86_RDMSR: 29,
  X86_WRMSR: 30,
  DIRTY_RING_FULL: 31,
  AP_RESET_HOLD: 32,
  X86_BUS_LOCK: 33,
  XEN: 34,
  NOTIFY: 37,
  MEMORY_FAULT: 39,
  TDX: 40,
  SNP_REQ_CERTS: 43,
} as const

/** An exit reason's name: `'MEMORY_FAULT'`. */
export type ExitReasonName = keyof typeof KVM_EXIT

const names = new Map<number, ExitReasonName>(
  Object.entries(KVM_EXIT).map(([name, number]) => [number, name as ExitReasonName]),
)

/** The name of an exit reason, or null for a number without one here. */
export function exitReasonName(reason: number): ExitReasonName | null {
  return names.get(reason) ?? null
}

/** kvm_run.internal.suberror (KVM_INTERNAL_ERROR_*). */
export const KVM_INTERNAL_ERROR = {
  EMULATION: 1,
  SIMUL_EX: 2,
  DELIVERY_EV: 3,
  UNEXPECTED_EXIT_REASON: 4,
} as const

/** kvm_run.system_event.type (KVM_SYSTEM_EVENT_*). */
export const KVM_SYSTEM_EVENT = {
  SHUTDOWN: 1,
  RESET: 2,
  CRASH: 3,
  WAKEUP: 4,
  SUSPEND: 5,
  SEV_TERM: 6,
  TDX_FATAL: 7,
} as const

/** Byte offsets in struct kvm_run (include/uapi/linux/kvm.h). The exit's union is `payload` of a raw exit. */
export const KVM_RUN_OFFSET = {
  immediate_exit: 1,
  exit_reason: 8,
  cr8: 16,
  apic_base: 24,
  payload: 32,
  mmio_data: 32 + 8,
  hypercall_ret: 32 + 56,
  msr_error: 32,
  msr_data: 32 + 16,
} as const
