// SPDX-License-Identifier: Apache-2.0

import { expect } from 'vitest'
import type { Exit, ExitReason, GpaRange, Span } from '../kvm/index.js'
import type { Bytes, Gpa } from '../units.js'
import { type Check, equalsInHex } from './check.js'
import { failsWith } from './match-failure.js'
import { filledWith, patternIn, seesFilled, seesPattern } from './match-memory.js'
import { doneOf, exitMatches, faultMatches, signalMatches } from './match-outcome.js'

/** A memory fault as a test expects it; what is left out is not compared. */
export interface ExpectedMemoryFault {
  readonly gpa?: Gpa
  readonly size?: Bytes
  readonly private?: boolean
  readonly code?: 'EFAULT' | 'EHWPOISON'
}

/** An exit as a test expects it: the reason, and any of its fields. */
export type ExpectedExit = { readonly reason: ExitReason | 'EXCEPTION' | 'DONE' } & Readonly<
  Record<string, unknown>
>

/** Asynchronous things are judged asynchronously, and have to be awaited. */
type Judged<T> = T extends Promise<unknown> | ((...args: never[]) => Promise<unknown>)
  ? Promise<void>
  : undefined

interface GmemMatchers<T> {
  /**
   * A function, promise or result was refused by the kernel with this errno, and optionally by this system call. Async ones are
   * awaited: `await expect(vcpu.read64(gpa)).toFailWith('EFAULT')`.
   */
  toFailWith(code: string, syscall?: string): Judged<T>
  /** The outcome is a MEMORY_FAULT exit with these fields. */
  toBeMemoryFault(expected?: ExpectedMemoryFault): void
  /** The operation completed, with this value where one is given. */
  toBeDone(value?: unknown): void
  /** The outcome is an exit with this reason and these fields. */
  toBeExit(expected: ExpectedExit): void
  /** The probe raised this signal, with this si_code and address where they are given. */
  toBeSignal(
    signal: 'SIGBUS' | 'SIGSEGV',
    expected?: { readonly code?: string; readonly address?: bigint },
  ): void
  /** Every byte of a Mapping (or of a part of it), a Memory's host mapping or a Uint8Array is `byte`. */
  toBeFilledWith(byte: number, part?: Span): void
  /** Every qword of a Memory's host mapping (or of a part of it) is its gpa xor `seed`. */
  toHoldPattern(seed: bigint, part?: Span): void
  /** The vCPU reads `byte` in every byte of the range: `await expect(vcpu).toSeeFilledWith(0xaa, range)`. */
  toSeeFilledWith(byte: number, range: GpaRange): Promise<void>
  /** The vCPU reads in every qword of the range its own gpa xor `seed`. */
  toSeePattern(seed: bigint, range: GpaRange): Promise<void>
  /** Equal addresses; the message has them in hexadecimal. */
  toEqualGpa(expected: bigint): void
}

declare module '@vitest/expect' {
  // biome-ignore lint/suspicious/noExplicitAny: the declaration must repeat vitest's own type parameter.
  interface Matchers<T = any> extends GmemMatchers<T> {}
}

/** A check in the shape that expect.extend takes. */
function result(check: Check) {
  return { pass: check.pass, message: () => check.message }
}

expect.extend({
  toFailWith(received: unknown, code: string, syscall?: string) {
    const check = failsWith(received, code, syscall)
    return check instanceof Promise ? check.then(result) : result(check)
  },
  toBeMemoryFault: (received: unknown, expected: ExpectedMemoryFault = {}) =>
    result(faultMatches(received, { ...expected })),
  toBeDone(received: unknown, ...value: [value?: unknown]) {
    return result(doneOf(received, value, (left, right) => this.equals(left, right)))
  },
  toBeExit(received: unknown, expected: ExpectedExit) {
    return result(exitMatches(received, expected, (left, right) => this.equals(left, right)))
  },
  toBeSignal: (received: unknown, signal: string, expected: { code?: string; address?: bigint } = {}) =>
    result(signalMatches(received, signal, expected)),
  toBeFilledWith: (received: unknown, byte: number, part?: Span) => result(filledWith(received, byte, part)),
  toHoldPattern: (received: unknown, seed: bigint, part?: Span) => result(patternIn(received, seed, part)),
  toSeeFilledWith: async (received: unknown, byte: number, range: GpaRange) =>
    result(await seesFilled(received, byte, range)),
  toSeePattern: async (received: unknown, seed: bigint, range: GpaRange) =>
    result(await seesPattern(received, seed, range)),
  toEqualGpa: (received: unknown, expected: bigint) => result(equalsInHex(received, expected)),
})

/** vitest's expect, with gmem's matchers. */
export { expect }

/** For messages of tests of ours: an exit's fields by name. */
export type ExitFields = Partial<Exit>
