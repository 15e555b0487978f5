// SPDX-License-Identifier: Apache-2.0
import type { Bytes, Gpa } from '../units.js'

/** The guest accessed an I/O port. `data` is what it wrote; for `in`, supply it with `vcpu.resume({ data })`. */
export interface IoExit {
  readonly reason: 'IO'
  readonly direction: 'in' | 'out'
  readonly port: number
  /** Bytes an access: 1, 2 or 4. */
  readonly size: number
  readonly count: number
  readonly data: Uint8Array
}

/** The guest accessed a gpa without memslot, or wrote a read-only one. `data` is what it wrote; for a read, supply it with `vcpu.resume({ data })`. */
export interface MmioExit {
  readonly reason: 'MMIO'
  readonly gpa: Gpa
  readonly length: number
  readonly isWrite: boolean
  readonly data: Uint8Array
}

/** The guest made a hypercall that userspace enabled (KVM_CAP_EXIT_HYPERCALL). Answer with `vcpu.resume({ ret })`. */
export interface HypercallExit {
  readonly reason: 'HYPERCALL'
  readonly nr: bigint
  readonly args: readonly bigint[]
  readonly flags: bigint
}

/** KVM could not resolve a guest fault: KVM_RUN failed with EFAULT or EHWPOISON and said where (KVM_CAP_MEMORY_FAULT_INFO). */
export interface MemoryFaultExit {
  readonly reason: 'MEMORY_FAULT'
  /** Page aligned. */
  readonly gpa: Gpa
  readonly size: Bytes
  /** Bit 3 is KVM_MEMORY_EXIT_FLAG_PRIVATE. */
  readonly flags: bigint
  /** The access was to private memory. */
  readonly private: boolean
  readonly code: 'EFAULT' | 'EHWPOISON'
}

/** KVM could not go on, for example an instruction it does not emulate. */
export interface InternalErrorExit {
  readonly reason: 'INTERNAL_ERROR'
  /** `EMULATION`, `DELIVERY_EV`, ... or the number. */
  readonly suberror: string
  readonly data: readonly bigint[]
}

/** The hardware refused to enter the guest. */
export interface FailEntryExit {
  readonly reason: 'FAIL_ENTRY'
  readonly hardwareReason: bigint
  readonly cpu: number
}

/** The guest asked for a system-wide event. */
export interface SystemEventExit {
  readonly reason: 'SYSTEM_EVENT'
  /** `SHUTDOWN`, `RESET`, ... or the number. */
  readonly type: string
  readonly data: readonly bigint[]
}

/** An MSR access that userspace asked to see (KVM_CAP_X86_USER_SPACE_MSR). */
export interface MsrExit {
  readonly reason: 'X86_RDMSR' | 'X86_WRMSR'
  readonly index: number
  readonly data: bigint
}

/** Exits that carry nothing. */
export interface PlainExit {
  readonly reason:
    | 'HLT'
    | 'SHUTDOWN'
    | 'IRQ_WINDOW_OPEN'
    | 'DEBUG'
    | 'NMI'
    | 'X86_BUS_LOCK'
    | 'DIRTY_RING_FULL'
}

/** KVM_RUN was interrupted by a signal: by `vcpu.kick()` where `kicked`. */
export interface IntrExit {
  readonly reason: 'INTR'
  readonly kicked: boolean
}

/** KVM sent the vCPU's thread a SIGBUS for poisoned memory (KVM_RUN failed with EINTR). */
export interface SigbusExit {
  readonly reason: 'SIGBUS'
  /** si_code by name: `BUS_MCEERR_AR`. */
  readonly code: string
  /** si_addr: an hva. */
  readonly address: bigint
}

/** The operation took longer than its deadline, and the vCPU was kicked. It can be resumed. */
export interface DeadlineExit {
  readonly reason: 'DEADLINE'
  readonly deadlineMs: number
}

/** An exit reason without a type here, KVM_EXIT_UNKNOWN (0) among them. */
export interface UnknownExit {
  readonly reason: 'UNKNOWN'
  readonly exitReason: number
  /** The kernel's name for it, where there is one. */
  readonly name: string
  readonly hardwareExitReason: bigint
}

/**
 * KVM_RUN failed and there is no exit that explains it. `exitReason` is what kvm_run said: it means something only with
 * EFAULT and EHWPOISON, and then it was not MEMORY_FAULT.
 */
export interface ErrorExit {
  readonly reason: 'ERROR'
  readonly code: string
  readonly exitReason: number
}

/** Why KVM_RUN returned: a value, never an exception. The discriminator is the kernel's name without `KVM_EXIT_`. */
export type Exit =
  | IoExit
  | MmioExit
  | HypercallExit
  | MemoryFaultExit
  | InternalErrorExit
  | FailEntryExit
  | SystemEventExit
  | MsrExit
  | PlainExit
  | IntrExit
  | SigbusExit
  | DeadlineExit
  | UnknownExit
  | ErrorExit

/** An Exit's discriminator. */
export type ExitReason = Exit['reason']
