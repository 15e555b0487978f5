// SPDX-License-Identifier: Apache-2.0
import {
  exitReasonName,
  KVM_EXIT,
  KVM_INTERNAL_ERROR,
  KVM_MEMORY_EXIT_FLAG_PRIVATE,
  KVM_SYSTEM_EVENT,
} from '../abi/index.js'
import type { RawExit } from '../binding/addon.js'
import type { Bytes, Gpa } from '../units.js'
import { siCodeName } from './probe.js'

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

/** The guest accessed a gpa without memslot, or wrote a read-only one. For a read, supply it with `vcpu.resume({ data })`. */
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

/** What KVM_RUN's result means (api.rst 4.10 and KVM_CAP_MEMORY_FAULT_INFO). */
export function decodeExit(raw: RawExit, deadlineMs: number): Exit {
  if (raw.ret >= 0) return decodeReason(raw)
  if (raw.code === 'EINTR') {
    if (raw.sigbus !== null) {
      const { code, address } = raw.sigbus
      return { reason: 'SIGBUS', code: siCodeName('SIGBUS', code), address }
    }
    return raw.deadlineExpired ? { reason: 'DEADLINE', deadlineMs } : { reason: 'INTR', kicked: raw.kicked }
  }
  const explained = raw.code === 'EFAULT' || raw.code === 'EHWPOISON'
  if (explained && raw.exitReason === KVM_EXIT.MEMORY_FAULT)
    return memoryFault(raw, raw.code as MemoryFaultExit['code'])
  return { reason: 'ERROR', code: raw.code, exitReason: raw.exitReason }
}

function viewOf(raw: RawExit): DataView {
  return new DataView(raw.payload.buffer, raw.payload.byteOffset, raw.payload.byteLength)
}

function memoryFault(raw: RawExit, code: MemoryFaultExit['code']): MemoryFaultExit {
  const view = viewOf(raw)
  const flags = view.getBigUint64(0, true)
  const isPrivate = (flags & KVM_MEMORY_EXIT_FLAG_PRIVATE) !== 0n
  const gpa = view.getBigUint64(8, true) as Gpa
  const size = view.getBigUint64(16, true) as Bytes
  return { reason: 'MEMORY_FAULT', gpa, size, flags, private: isPrivate, code }
}

function decodeReason(raw: RawExit): Exit {
  const view = viewOf(raw)
  switch (exitReasonName(raw.exitReason)) {
    case 'IO':
      return decodeIo(view, raw.ioData)
    case 'MMIO':
      return decodeMmio(view, raw.payload)
    case 'HYPERCALL':
      return {
        reason: 'HYPERCALL',
        nr: view.getBigUint64(0, true),
        args: u64s(view, 8, 6),
        flags: view.getBigUint64(64, true),
      }
    case 'INTERNAL_ERROR':
      return {
        reason: 'INTERNAL_ERROR',
        suberror: nameIn(KVM_INTERNAL_ERROR, view.getUint32(0, true)),
        data: counted(view),
      }
    case 'SYSTEM_EVENT':
      return {
        reason: 'SYSTEM_EVENT',
        type: nameIn(KVM_SYSTEM_EVENT, view.getUint32(0, true)),
        data: counted(view),
      }
    case 'FAIL_ENTRY':
      return {
        reason: 'FAIL_ENTRY',
        hardwareReason: view.getBigUint64(0, true),
        cpu: view.getUint32(8, true),
      }
    case 'X86_RDMSR':
      return { reason: 'X86_RDMSR', index: view.getUint32(12, true), data: view.getBigUint64(16, true) }
    case 'X86_WRMSR':
      return { reason: 'X86_WRMSR', index: view.getUint32(12, true), data: view.getBigUint64(16, true) }
    default:
      return decodePlain(raw, view)
  }
}

function decodePlain(raw: RawExit, view: DataView): Exit {
  const name = exitReasonName(raw.exitReason)
  switch (name) {
    case 'HLT':
    case 'SHUTDOWN':
    case 'IRQ_WINDOW_OPEN':
    case 'DEBUG':
    case 'NMI':
    case 'X86_BUS_LOCK':
    case 'DIRTY_RING_FULL':
      return { reason: name }
    case 'INTR':
      return { reason: 'INTR', kicked: raw.kicked }
    default:
      return {
        reason: 'UNKNOWN',
        exitReason: raw.exitReason,
        name: name ?? '',
        hardwareExitReason: view.getBigUint64(0, true),
      }
  }
}

function decodeIo(view: DataView, data: Uint8Array): IoExit {
  const direction = view.getUint8(0) === 0 ? 'in' : 'out'
  return {
    reason: 'IO',
    direction,
    size: view.getUint8(1),
    port: view.getUint16(2, true),
    count: view.getUint32(4, true),
    data,
  }
}

function decodeMmio(view: DataView, payload: Uint8Array): MmioExit {
  const length = view.getUint32(16, true)
  const gpa = view.getBigUint64(0, true) as Gpa
  return {
    reason: 'MMIO',
    gpa,
    length,
    isWrite: view.getUint8(20) !== 0,
    data: payload.slice(8, 8 + Math.min(length, 8)),
  }
}

function u64s(view: DataView, offset: number, count: number): bigint[] {
  return Array.from({ length: count }, (_, index) => view.getBigUint64(offset + 8 * index, true))
}

// Both users have u32 kind, u32 ndata, u64 data[16].
function counted(view: DataView): bigint[] {
  return u64s(view, 8, Math.min(view.getUint32(4, true), 16))
}

function nameIn(table: Readonly<Record<string, number>>, value: number): string {
  return Object.keys(table).find((name) => table[name] === value) ?? String(value)
}
