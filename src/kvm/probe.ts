// SPDX-License-Identifier: Apache-2.0
import { SI_CODE } from '../abi/index.js'
import type { NativeProbe, NativeSignal } from '../binding/addon.js'

/** Bytes in one access. */
export type Width = 1 | 2 | 4 | 8

/** An access that worked. */
export interface ProbeValue {
  readonly ok: true
  /** What was loaded, or stored. */
  readonly value: bigint
}

/** A signal that the kernel sent for memory. */
export interface MemorySignal {
  readonly signal: 'SIGBUS' | 'SIGSEGV'
  /** si_code by name: `BUS_ADRERR`, `BUS_MCEERR_AR`, `SEGV_MAPERR`, `SEGV_ACCERR`, or its number. */
  readonly code: string
  /** si_addr: an hva. */
  readonly address: bigint
}

/** An access that raised a signal. */
export interface ProbeFault extends MemorySignal {
  readonly ok: false
}

/** What one access to host memory did. A fault is data, not an exception. */
export type Probe = ProbeValue | ProbeFault

/** Names what the addon saw. */
export function probeOf(native: NativeProbe): Probe {
  return native.ok ? native : { ok: false, ...memorySignal(native) }
}

/** A signal with its si_code by name. */
export function memorySignal({ signal, code, address }: NativeSignal): MemorySignal {
  return { signal, code: siCodeName(signal, code), address }
}

/** `BUS_ADRERR` for SIGBUS 2; the number as text where it has no name here. */
function siCodeName(signal: 'SIGBUS' | 'SIGSEGV', code: number): string {
  const names: Readonly<Record<string, number>> = SI_CODE[signal]
  return Object.keys(names).find((name) => names[name] === code) ?? String(code)
}
