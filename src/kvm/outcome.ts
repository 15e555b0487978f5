// SPDX-License-Identifier: Apache-2.0
import { hex } from '../units.js'
import type { Exit } from './exits.js'
import { formatReason } from './format.js'

/** The guest finished the operation. */
export interface Done<T> {
  readonly reason: 'DONE'
  readonly value: T
}

/** The operation raised a CPU exception in the guest, which the monitor caught: the operation is over. */
export interface GuestException {
  readonly reason: 'EXCEPTION'
  /** 6 #UD, 13 #GP, 14 #PF, ... */
  readonly vector: number
  readonly errorCode: bigint
  readonly rip: bigint
  readonly cr2: bigint
}

/** What came of an operation of a vCPU: it completed, it raised an exception in the guest, or the vCPU exited before. */
export type Outcome<T> = Done<T> | GuestException | Exit

/** A place where memory is not what it should be. */
export interface Mismatch {
  readonly gpa: bigint
  readonly expected: bigint
  readonly actual: bigint
}

/** An operation that had to complete came out otherwise. The vCPU can still be resumed where `outcome` is an exit. */
export class UnexpectedExitError extends Error {
  override readonly name = 'UnexpectedExitError'

  constructor(
    /** What was asked for: `read64(0x10000000)`. */
    readonly operation: string,
    readonly outcome: GuestException | Exit,
  ) {
    super(`${operation} did not complete: ${formatReason(outcome)}`)
  }
}

/** `read64(0x1000)`: an operation with its arguments, for messages. */
export function operationLabel(name: string, args: readonly bigint[]): string {
  return `${name}(${args.map(hex).join(', ')})`
}

/** The value of a completed operation. UnexpectedExitError for anything else. */
export function unwrap<T>(operation: string, outcome: Outcome<T>): T {
  if (outcome.reason === 'DONE') return outcome.value
  throw new UnexpectedExitError(operation, outcome)
}
