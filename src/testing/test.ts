// SPDX-License-Identifier: Apache-2.0
import { type TestContext, test as vitestTest } from 'vitest'
import type { GmemContext } from './context.js'
import type { KnownIssue } from './known-issue.js'
import type { Need } from './needs.js'
import { runTest } from './run-test.js'
import { DEFAULT_TIMEOUT_MS, scaledTimeoutMs, VITEST_GRACE_MS } from './timeouts.js'

/** How a test is run. */
export interface GmemTestOptions {
  /** What the target must have; the first that is unmet skips the test, with its reason in every reporter. */
  readonly needs?: readonly Need[]
  /** For body and clean-up, in ms, scaled by $GMEM_SLOWDOWN; default 20 s. */
  readonly timeoutMs?: number
  /** A known bug of the kernel: the body states what is right, and is expected to fail where the bug is. */
  readonly knownIssue?: KnownIssue
}

/** The body of a test. */
export type GmemTestBody = (context: GmemContext) => void | Promise<void>

/** Registers a test. */
export interface GmemTest {
  (title: string, body: GmemTestBody): void
  (title: string, options: GmemTestOptions, body: GmemTestBody): void
}

type Register = (
  title: string,
  options: { timeout: number },
  body: (context: TestContext) => Promise<void>,
) => void

function registrar(register: Register): GmemTest {
  return (title: string, optionsOrBody: GmemTestOptions | GmemTestBody, maybeBody?: GmemTestBody): void => {
    const options = typeof optionsOrBody === 'function' ? {} : optionsOrBody
    const body = typeof optionsOrBody === 'function' ? optionsOrBody : maybeBody
    if (body === undefined) throw new TypeError(`test '${title}' has no body`)
    const timeoutMs = scaledTimeoutMs(options.timeoutMs ?? DEFAULT_TIMEOUT_MS)
    // Ours ends the test first: it can say what the vCPUs were doing.
    register(title, { timeout: timeoutMs + VITEST_GRACE_MS }, (context) =>
      runTest(context, { ...options, timeoutMs }, body),
    )
  }
}

/**
 * A test of the kernel. The title is a sentence: subject, condition, outcome.
 *
 *     test('a page converted to private reads zero', { needs: [vmType.swProtected] }, async ({ kvm }) => { ... })
 */
export const test: GmemTest & { readonly only: GmemTest } = Object.assign(
  registrar((title, options, body) => vitestTest(title, options, body)),
  { only: registrar((title, options, body) => vitestTest.only(title, options, body)) },
)

/**
 * One test for each row of a table.
 *
 *     cases([{ size: 0n }, { size: 1n }], ({ size }) => `size ${size} is refused`, ({ kvm }, { size }) => { ... })
 */
export function cases<Row>(rows: readonly Row[], title: (row: Row) => string, body: CaseBody<Row>): void
export function cases<Row>(
  rows: readonly Row[],
  title: (row: Row) => string,
  options: GmemTestOptions | ((row: Row) => GmemTestOptions),
  body: CaseBody<Row>,
): void
export function cases<Row>(
  rows: readonly Row[],
  title: (row: Row) => string,
  ...rest: [CaseBody<Row>] | [GmemTestOptions | ((row: Row) => GmemTestOptions), CaseBody<Row>]
): void {
  const [options, body] = rest.length === 1 ? [{}, rest[0]] : rest
  for (const row of rows) {
    test(title(row), typeof options === 'function' ? options(row) : options, (context) => body(context, row))
  }
}

/** The body of `cases`. */
export type CaseBody<Row> = (context: GmemContext, row: Row) => void | Promise<void>
