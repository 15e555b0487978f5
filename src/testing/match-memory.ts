// SPDX-License-Identifier: Apache-2.0
import {
  bytes,
  format,
  formatReason,
  type GpaRange,
  Mapping,
  Memory,
  type Mismatch,
  type Outcome,
  type Span,
  Vcpu,
} from '../kvm/index.js'
import { hex } from '../units.js'
import { type Check, misuse, verdict } from './check.js'

/** Every byte of host memory is `byte`. */
export function filledWith(received: unknown, byte: number, part?: Span): Check {
  const wanted = () => `every byte to be ${hex(byte)}`
  if (received instanceof Uint8Array) {
    const index = received.findIndex((each) => each !== byte)
    return verdict(
      index === -1,
      wanted,
      () => `${hex(received[index] ?? 0)} at offset ${hex(Math.max(index, 0))}`,
    )
  }
  const mapping = received instanceof Memory ? received.shared : received
  if (!(mapping instanceof Mapping))
    return misuse('toBeFilledWith', 'a Mapping, a Memory or a Uint8Array', received)
  const mismatch = mapping.findMismatch(byte, part ?? { offset: bytes(0), size: mapping.size })
  const seen = () => {
    if (mismatch === null) return ''
    const where = received instanceof Memory ? ` (gpa ${hex(received.gpaOf(mismatch.offset))})` : ''
    return `${hex(mismatch.actual)} at offset ${hex(mismatch.offset)}${where}`
  }
  return verdict(mismatch === null, wanted, seen)
}

/** Every qword of a Memory's host mapping is its gpa xor the seed. */
export function patternIn(received: unknown, seed: bigint, part?: Span): Check {
  if (!(received instanceof Memory)) return misuse('toHoldPattern', 'a Memory', received)
  const mismatch = received.verifyPattern(seed, part ?? received)
  return verdict(
    mismatch === null,
    () => `the host to read the pattern ${hex(seed)}`,
    () => mismatchText(mismatch),
  )
}

/** The guest reads `byte` in the whole range. */
export async function seesFilled(received: unknown, byte: number, range: GpaRange): Promise<Check> {
  const vcpu = vcpuOf('toSeeFilledWith', received)
  const wanted = () => `the guest to read ${hex(byte)} in ${hex(range.size)} bytes at gpa ${hex(range.gpa)}`
  return seen(wanted, await vcpu.attempt.verify(range, byte))
}

/** The guest reads in each qword of the range its gpa xor the seed. */
export async function seesPattern(received: unknown, seed: bigint, range: GpaRange): Promise<Check> {
  const vcpu = vcpuOf('toSeePattern', received)
  const wanted = () =>
    `the guest to read the pattern ${hex(seed)} in ${hex(range.size)} bytes at gpa ${hex(range.gpa)}`
  return seen(wanted, await vcpu.attempt.verifyPattern(range, seed))
}

// An exit is no verdict about contents: it fails the negated form, too.
function seen(wanted: () => string, outcome: Outcome<Mismatch | null>): Check {
  if (outcome.reason !== 'DONE') throw new Error(`expected ${wanted()}\n     got ${formatReason(outcome)}`)
  const { value } = outcome
  return verdict(value === null, wanted, () => mismatchText(value))
}

function mismatchText(mismatch: Mismatch | null): string {
  return mismatch === null
    ? ''
    : `${format(mismatch.actual)} at gpa ${format(mismatch.gpa)}, wanted ${format(mismatch.expected)}`
}

function vcpuOf(matcher: string, received: unknown): Vcpu {
  return received instanceof Vcpu ? received : misuse(matcher, 'a Vcpu', received)
}
