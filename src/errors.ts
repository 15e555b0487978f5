// SPDX-License-Identifier: Apache-2.0

/** What each exit code of gmem means; all are below 128, so `git bisect run` never aborts on one. */
export const ExitCode = {
  /** Everything that ran passed. */
  ok: 0,
  /** A test failed. */
  testFailed: 1,
  /** Bad command line, specification or input file. */
  usage: 2,
  /** All tests passed, but the kernel printed a splat. */
  splat: 3,
  /** Nothing ran: every test was skipped. */
  allSkipped: 4,
  /** The guest kernel died. */
  kernelDied: 5,
  /** The machine, QEMU or gmem itself could not do it; says nothing about the kernel. */
  infrastructure: 69,
  /** A deadline passed, or something hung. */
  timeout: 124,
  /** The source did not apply or build (`git bisect run` skips such a commit). */
  buildFailed: 125,
  /** Interrupted from the keyboard. */
  interrupted: 130,
} as const

export type ExitCode = (typeof ExitCode)[keyof typeof ExitCode]

export interface GmemErrorOptions {
  /** What the process exits with when nobody handles the error. Default: 69, infrastructure. */
  readonly exitCode?: ExitCode
  /** What to do about it: whole sentences or commands, printed below the message. */
  readonly hint?: string
  readonly cause?: unknown
}

/** An error that a person can act on: printed without a stack (unless GMEM_DEBUG is set). */
export class GmemError extends Error {
  override readonly name: string = 'GmemError'
  readonly exitCode: ExitCode
  readonly hint: string | null

  constructor(message: string, options: GmemErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause })
    this.exitCode = options.exitCode ?? ExitCode.infrastructure
    this.hint = options.hint ?? null
  }
}

/** A mistake in what was asked for: exit code 2. */
export function usageError(message: string, hint?: string): GmemError {
  return new GmemError(message, { exitCode: ExitCode.usage, ...(hint === undefined ? {} : { hint }) })
}

/** Thrown when the caller's signal fires: exit code 130. */
export function interruptedError(): GmemError {
  return new GmemError('interrupted', { exitCode: ExitCode.interrupted })
}

/** Of an error that is told in passing. */
export function firstLine(error: unknown): string {
  return (error instanceof Error ? error.message : String(error)).split('\n')[0] ?? ''
}
