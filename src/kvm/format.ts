// SPDX-License-Identifier: Apache-2.0
import { hex } from '../units.js'

const BYTES_SHOWN_MAX = 16

/** A value as a person reads it in a message: bigints (addresses, sizes, registers) in hexadecimal, bytes as hex pairs. */
export function format(value: unknown): string {
  if (typeof value === 'bigint') return hex(value)
  if (typeof value === 'string') return value === '' ? "''" : value
  if (value instanceof Uint8Array) return formatBytes(value)
  if (value instanceof Error) return `${value.name}: ${value.message}`
  if (Array.isArray(value)) return `[${value.map(format).join(', ')}]`
  if (typeof value === 'object' && value !== null) return formatFields(value)
  return String(value)
}

function formatFields(value: object): string {
  const fields = Object.entries(value).map(([key, field]) => `${key}: ${format(field)}`)
  return fields.length === 0 ? '{}' : `{ ${fields.join(', ')} }`
}

function formatBytes(value: Uint8Array): string {
  const shown = [...value.subarray(0, BYTES_SHOWN_MAX)]
    .map((byte) => byte.toString(16).padStart(2, '0'))
    .join(' ')
  return value.length > BYTES_SHOWN_MAX ? `<${shown} … ${value.length} bytes>` : `<${shown}>`
}

/** Something with a `reason`, as `MEMORY_FAULT { gpa: 0x1000, size: 0x1000, private: true }`. */
export function formatReason(value: { readonly reason: string }): string {
  const { reason, ...fields } = value
  const rest = formatFields(fields)
  return rest === '{}' ? reason : `${reason} ${rest}`
}
