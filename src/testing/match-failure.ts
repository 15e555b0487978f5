// SPDX-License-Identifier: Apache-2.0
import { format, KernelError } from '../kvm/index.js'
import { type Check, misuse, verdict } from './check.js'

/** The kernel refused: judged at once for a function or a result with a `code`, later for what is a promise or returns one. */
export function failsWith(received: unknown, code: string, syscall?: string): Check | Promise<Check> {
  const wanted = () => `failure with ${code}${syscall === undefined ? '' : ` from ${syscall}`}`
  const refused = (error: unknown) => judge(wanted, error, code, syscall)
  const succeeded = (value: unknown) =>
    verdict(false, wanted, () => `success${value === undefined ? '' : ` (${format(value)})`}`)
  if (received instanceof Promise) return received.then(succeeded, refused)
  if (typeof received === 'function') {
    let value: unknown
    try {
      value = received()
    } catch (error) {
      return refused(error)
    }
    return value instanceof Promise ? value.then(succeeded, refused) : succeeded(value)
  }
  if (
    typeof received === 'object' &&
    received !== null &&
    'code' in received &&
    typeof received.code === 'string'
  ) {
    return received.code === ''
      ? succeeded(received)
      : verdict(received.code === code, wanted, () => format(received))
  }
  return misuse('toFailWith', 'a function, a promise or a result with a code', received)
}

function judge(wanted: () => string, error: unknown, code: string, syscall?: string): Check {
  // A TypeError is a mistake in the test; it must not pass for "did not fail with EINVAL".
  if (!(error instanceof KernelError)) throw error
  const refusal: { readonly code: string; readonly syscall: string } = error
  const pass = refusal.code === code && (syscall === undefined || refusal.syscall === syscall)
  return verdict(pass, wanted, () => `${refusal.code} from ${refusal.syscall}: ${error.message}`)
}
