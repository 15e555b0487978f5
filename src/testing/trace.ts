// SPDX-License-Identifier: Apache-2.0
import { binding, type TraceEntry, type TraceValue } from '../binding/index.js'
import { hex } from '../units.js'

/** Lines of a failed test's trace that are kept: the last ones. */
export const TRACE_LINES_MAX = 200

const BYTES_SHOWN_MAX = 16

/** Forgets the native calls so far: a test begins. */
export function startTrace(): void {
  binding.trace.start()
}

/** The native calls since startTrace (or since the last take), one a line, oldest first, at most TRACE_LINES_MAX. */
export function takeTrace(): string[] {
  return binding.trace.take().slice(-TRACE_LINES_MAX).map(traceLine)
}

/** `#17 +12.3ms vm#1.createGuestMemfd(0x1001, 0x0) failed: EINVAL`. */
export function traceLine(entry: TraceEntry): string {
  const target = entry.object === null ? entry.call : `${entry.object}.${entry.call}`
  const call = `#${entry.seq} +${entry.atMs.toFixed(1)}ms ${target}(${entry.args.map(traceValue).join(', ')})`
  if (entry.error !== undefined) return `${call} failed: ${entry.error.code ?? entry.error.message}`
  if (!('result' in entry)) return `${call} did not come back`
  return entry.result === undefined ? call : `${call} = ${traceValue(entry.result)}`
}

function traceValue(value: TraceValue): string {
  if (typeof value === 'bigint') return hex(value)
  if (typeof value === 'string') return JSON.stringify(value)
  if (typeof value !== 'object' || value === null) return String(value)
  if (isList(value)) return `[${value.map(traceValue).join(', ')}]`
  if ('head' in value && value.head instanceof Uint8Array) return traceBytes(value.head, Number(value.length))
  if ('object' in value && typeof value.object === 'string') return value.object
  return `{ ${Object.entries(value)
    .map(([key, item]) => `${key}: ${traceValue(item)}`)
    .join(', ')} }`
}

function isList(value: object): value is readonly TraceValue[] {
  return Array.isArray(value)
}

function traceBytes(head: Uint8Array, length: number): string {
  const shown = Buffer.from(head.subarray(0, BYTES_SHOWN_MAX)).toString('hex')
  return `<${shown}${length > BYTES_SHOWN_MAX ? `… ${length} bytes` : ''}>`
}
