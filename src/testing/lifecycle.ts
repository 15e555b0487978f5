// SPDX-License-Identifier: Apache-2.0
import type { KnownIssueReport } from './known-issue.js'

/** A test as the harness knows it. */
export interface TestInfo {
  /** vitest's id: the same in every run of the same file. */
  readonly id: string
  /** Absolute path of the test file. */
  readonly file: string
  /** Suites and title, joined with ' > '. */
  readonly name: string
  /** Id of the known issue that the test is marked with, or null. */
  readonly knownIssue: string | null
  /** The test's own limit in ms, scaled: it is over a little later, whatever it does. */
  readonly timeoutMs: number
  /** vitest's task.meta, live: what is put here reaches every reporter. */
  readonly meta: Record<string, unknown>
}

/** An error in a form that survives JSON and another process. */
export interface RecordedError {
  readonly name: string
  readonly message: string
  readonly stack?: string
}

/** What came of a test. */
export interface TestResult {
  readonly status: 'pass' | 'fail' | 'skip'
  readonly durationMs: number
  /** Of a failed test. */
  readonly error?: RecordedError
  /** Of a skipped test. */
  readonly reason?: string
  /** Of a test that passed because its known issue showed. */
  readonly knownIssue?: KnownIssueReport
  /** The task.meta that the test ended with, put back when the result is replayed. */
  readonly meta?: Readonly<Record<string, unknown>>
}

/** An Error that fails the test, or nothing. */
export type Veto = Error | null | undefined

/**
 * What the harness may do around each test. All hooks are optional. A test whose needs are unmet is skipped before any hook but `replay`.
 */
export interface TestObserver {
  /** True where `check` reports kernel splats; without it a known issue that shows as a splat is skipped. */
  readonly detectsSplats?: boolean
  /** A result from before (the VM died later in the file): the test is not run, its result is reported again. */
  replay?(info: TestInfo): TestResult | null
  /** A module was loaded or unloaded, perhaps while no test runs: as a need, or as a file is read. */
  onKernelChanged?(): void
  /** Before the body. The body waits for it: what it sends must be out before the test can take the kernel down. */
  onTestStart?(info: TestInfo): void | Promise<void>
  /**
   * After the body and its clean-up, before the verdict: an Error (a splat, a leak) fails the test. `again` runs the body and its clean-up
   * once more and resolves to what they threw, or null.
   */
  check?(info: TestInfo, again: () => Promise<unknown>): Veto | Promise<Veto>
  /** After the verdict. An Error fails the test, too. */
  onTestEnd?(info: TestInfo, result: TestResult): Veto | Promise<Veto>
}

let observer: TestObserver = {}

/** Installs the harness's hooks; null removes them. One per process: the guest worker calls it before the first file. */
export function setTestObserver(next: TestObserver | null): void {
  observer = next ?? {}
}

/** The hooks in force. */
export function testObserver(): TestObserver {
  return observer
}

/** An error as it is sent and stored. */
export function recordError(error: unknown): RecordedError {
  if (!(error instanceof Error)) return { name: 'Error', message: String(error) }
  return {
    name: error.name,
    message: error.message,
    ...(error.stack === undefined ? {} : { stack: error.stack }),
  }
}

/** The stored error as an Error again, its original stack kept. */
export function reviveError(recorded: RecordedError): Error {
  const error = new Error(recorded.message)
  error.name = recorded.name
  if (recorded.stack !== undefined) error.stack = recorded.stack
  return error
}
