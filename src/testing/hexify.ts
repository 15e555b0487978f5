// SPDX-License-Identifier: Apache-2.0
import { hex } from '../units.js'

const DEPTH_MAX = 8

/**
 * Turns the bigints of a failed expectation into hexadecimal: in its message, and in the two sides of its diff. vitest prints
 * bigints in decimal, which nobody can compare with a gpa.
 */
export function hexifyError<T>(error: T): T {
  if (!(error instanceof Error)) return error
  replaceMessage(error, hexifyText(error.message))
  const sides = error as Error & { actual?: unknown; expected?: unknown }
  if ('actual' in sides) sides.actual = hexifyValue(sides.actual)
  if ('expected' in sides) sides.expected = hexifyValue(sides.expected)
  return error
}

/** `1048576n` in a text, as `0x100000`. */
export function hexifyText(text: string): string {
  return text.replace(/(?<![\w.])(-?\d+)n\b/g, (_, digits: string) => hex(BigInt(digits)))
}

/** Plain objects and arrays with each bigint as a hexadecimal string; other things as they are. */
export function hexifyValue(value: unknown, depth = 0): unknown {
  if (typeof value === 'bigint') return hex(value)
  if (depth === DEPTH_MAX || typeof value !== 'object' || value === null) return value
  if (Array.isArray(value)) return value.map((item) => hexifyValue(item, depth + 1))
  const prototype: unknown = Object.getPrototypeOf(value)
  if (prototype !== Object.prototype && prototype !== null) return value
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, hexifyValue(item, depth + 1)]))
}

// The stack starts with the message, and reporters print the stack's.
function replaceMessage(error: Error, message: string): void {
  if (message === error.message) return
  const before = error.message
  error.message = message
  if (error.stack?.includes(before)) error.stack = error.stack.replace(before, () => message)
}
