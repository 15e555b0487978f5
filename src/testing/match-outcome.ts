// SPDX-License-Identifier: Apache-2.0
import { format, formatReason } from '../kvm/index.js'
import { type Check, type Equals, misuse, verdict, withReason } from './check.js'

const same: Equals = (left, right) => left === right

/** A MEMORY_FAULT exit with these fields. */
export function faultMatches(received: unknown, expected: Readonly<Record<string, unknown>>): Check {
  return fieldsMatch('toBeMemoryFault', received, { reason: 'MEMORY_FAULT', ...expected }, same)
}

/** An exit with this reason and these fields. */
export function exitMatches(
  received: unknown,
  expected: { readonly reason: string } & Readonly<Record<string, unknown>>,
  equals: Equals,
): Check {
  return fieldsMatch('toBeExit', received, expected, equals)
}

/** A completed operation, with this value where there is one. */
export function doneOf(received: unknown, value: readonly unknown[], equals: Equals): Check {
  const outcome = withReason('toBeDone', received)
  const wanted = { reason: 'DONE', ...(value.length === 0 ? {} : { value: value[0] }) }
  const pass = outcome.reason === 'DONE' && (value.length === 0 || equals(outcome.value, value[0]))
  return verdict(
    pass,
    () => formatReason(wanted),
    () => formatReason(outcome),
  )
}

/** A probe that raised this signal. */
export function signalMatches(
  received: unknown,
  signal: string,
  expected: { readonly code?: string; readonly address?: bigint },
): Check {
  if (typeof received !== 'object' || received === null || !('ok' in received)) {
    return misuse('toBeSignal', "a mapping's probe(), probeWrite() or forkProbe()", received)
  }
  const probe: Readonly<Record<string, unknown>> = { ...received }
  const wanted: Readonly<Record<string, unknown>> = { signal, ...expected }
  const pass = probe.ok === false && Object.entries(wanted).every(([name, value]) => probe[name] === value)
  const seen = () =>
    probe.ok === true ? `no signal: the access gave ${format(probe.value)}` : format(received)
  return verdict(pass, () => format(wanted), seen)
}

function fieldsMatch(
  matcher: string,
  received: unknown,
  expected: { readonly reason: string } & Readonly<Record<string, unknown>>,
  equals: Equals,
): Check {
  const outcome = withReason(matcher, received)
  const wrong = Object.keys(expected).filter((name) => !equals(outcome[name], expected[name]))
  const seen = () => {
    const isAlike = outcome.reason === expected.reason && wrong.length > 0
    return `${formatReason(outcome)}${isAlike ? `   (differs in ${wrong.join(', ')})` : ''}`
  }
  return verdict(wrong.length === 0, () => formatReason(expected), seen)
}
