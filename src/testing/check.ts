// SPDX-License-Identifier: Apache-2.0
import { format } from '../kvm/index.js'

/** The verdict of a matcher. The message is for the failure, also of the negated form. */
export interface Check {
  readonly pass: boolean
  /** Made only where it is read: most checks pass, and in an emulated guest the text costs more than the check. */
  readonly message: () => string
}

/** How a matcher compares: vitest's own equality. */
export type Equals = (left: unknown, right: unknown) => boolean

/** `expected <wanted>, got <seen>`, with `not` in it where the expectation held (and `.not` made it a failure). */
export function verdict(pass: boolean, wanted: () => string, seen: () => string): Check {
  const message = () =>
    pass ? `expected anything but ${wanted()}` : `expected ${wanted()}\n     got ${seen()}`
  return { pass, message }
}

/** The matcher was given something it cannot judge: a mistake in the test, whichever way it is negated. */
export function misuse(matcher: string, wants: string, received: unknown): never {
  throw new TypeError(`${matcher} judges ${wants}, not ${format(received)}`)
}

/** Compares two numbers, shown in hexadecimal. */
export function equalsInHex(received: unknown, expected: bigint): Check {
  if (typeof received !== 'bigint') misuse('toEqualGpa', 'a bigint', received)
  return verdict(
    received === expected,
    () => format(expected),
    () => format(received),
  )
}

/** Something with a discriminator, or a mistake in the test. */
export function withReason(
  matcher: string,
  received: unknown,
): { readonly reason: string } & Readonly<Record<string, unknown>> {
  if (
    typeof received === 'object' &&
    received !== null &&
    'reason' in received &&
    typeof received.reason === 'string'
  ) {
    // SAFETY: an object with a string `reason`, which was just checked; all other fields are unknown.
    return received as { readonly reason: string } & Readonly<Record<string, unknown>>
  }
  return misuse(matcher, "a vCPU's outcome (vcpu.attempt.…, vcpu.resume(), vcpu.run())", received)
}
