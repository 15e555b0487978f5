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
import type { Exit, IoExit, MemoryFaultExit, MmioExit } from './exits.js'
import { memorySignal } from './probe.js'

/** What KVM_RUN's result means (api.rst 4.10 and KVM_CAP_MEMORY_FAULT_INFO). */
export function decodeExit(raw: RawExit, deadlineMs: number): Exit {
  if (raw.ret >= 0) return decodeReason(raw)
  if (raw.code === 'EINTR') {
    if (raw.sigbus !== null) {
      const { code, address } = memorySignal(raw.sigbus)
      return { reason: 'SIGBUS', code, address }
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
    data: direction === 'out' ? data : new Uint8Array(0),
  }
}

function decodeMmio(view: DataView, payload: Uint8Array): MmioExit {
  const length = view.getUint32(16, true)
  const gpa = view.getBigUint64(0, true) as Gpa
  const isWrite = view.getUint8(20) !== 0
  return {
    reason: 'MMIO',
    gpa,
    length,
    isWrite,
    data: isWrite ? payload.slice(8, 8 + Math.min(length, 8)) : new Uint8Array(0),
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
