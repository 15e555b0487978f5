// SPDX-License-Identifier: Apache-2.0

import { expect as vitestExpect } from 'vitest'
import type { Exit, ExitReason, GpaRange, Span } from '../kvm/index.js'
import type { Bytes, Gpa } from '../units.js'
import { certainlyEqual } from './certainly-equal.js'
import { type Equals, equalsInHex } from './check.js'
import { expect, type Judge, judgeAhead, takeVerdict } from './expect.js'
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

/** Judges of what is what it is: their verdict is final. */
const JUDGES: Readonly<Record<string, Judge>> = {
  toFailWith: failsWith,
  toBeMemoryFault: (received: unknown, expected: ExpectedMemoryFault = {}) =>
    faultMatches(received, { ...expected }),
  toBeSignal: (received: unknown, signal: string, expected: { code?: string; address?: bigint } = {}) =>
    signalMatches(received, signal, expected),
  toBeFilledWith: filledWith,
  toHoldPattern: patternIn,
  toSeeFilledWith: seesFilled,
  toSeePattern: seesPattern,
  toEqualGpa: equalsInHex,
}

/** Judges that compare values as toEqual() does. */
const COMPARING_JUDGES: Readonly<Record<string, (equals: Equals) => Judge>> = {
  toBeDone:
    (equals: Equals) =>
    (received: unknown, ...value: [value?: unknown]) =>
      doneOf(received, value, equals),
  toBeExit: (equals: Equals) => (received: unknown, expected: ExpectedExit) =>
    exitMatches(received, expected, equals),
}

// SAFETY of `never[]`: vitest passes on what the matcher was given, and GmemMatchers holds that to the judge's parameters.
for (const [name, judge] of Object.entries(JUDGES)) {
  vitestExpect.extend({
    [name]: (received, ...args) => takeVerdict() ?? judge(received, ...(args as never[])),
  })
  judgeAhead(name, judge, { final: true })
}
for (const [name, judgeBy] of Object.entries(COMPARING_JUDGES)) {
  vitestExpect.extend({
    [name](received, ...args) {
      return judgeBy((left, right) => this.equals(left, right))(received, ...(args as never[]))
    },
  })
  judgeAhead(name, judgeBy(certainlyEqual), { final: false })
}

/** vitest's expect, with gmem's matchers. */
export { expect }

/** For messages of tests of ours: an exit's fields by name. */
export type ExitFields = Partial<Exit>
