// SPDX-License-Identifier: Apache-2.0
import { UnexpectedExitError } from '../kvm/index.js'
import { releaseMatches } from './release.js'

/**
 * A bug of the kernel that is known. The test's body states the *correct* behaviour, so it fails where the bug is; that is reported
 * as a known issue. Where the body passes the bug is gone, and the test fails until the mark is removed.
 */
export interface KnownIssue {
  /** `F3`. */
  readonly id: string
  /** What is seen. */
  readonly symptom: string
  /** What should be seen. */
  readonly expected: string
  /** Releases that have it, by prefix (`7.3` covers 7.3.4); on others the test is an ordinary one. Left out: all. */
  readonly kernels?: readonly string[]
  /** Releases, by prefix, that are known not to have it. Left out: none. */
  readonly notOn?: readonly string[]
  /**
   * 'assertion' (default): an expectation of the body fails. 'exit': what the guest does in the body exits instead of completing. 'splat': the
   * body passes and the kernel complains in its log.
   */
  readonly shows?: 'assertion' | 'exit' | 'splat'
}

/** task.meta.knownIssue of a test that met its known issue. */
export interface KnownIssueReport extends KnownIssue {
  /** The failure that stands for it, as text. */
  readonly seen: string
}

/** The bug that a test is marked with did not show. */
export class KnownIssueGoneError extends Error {
  override readonly name = 'KnownIssueGoneError'

  constructor(issue: KnownIssue, release: string) {
    super(
      `known issue ${issue.id} did not show on ${release}: ${issue.symptom}\n` +
        `The kernel now does what is right (${issue.expected}). Remove the knownIssue mark, or this release from its kernels.`,
    )
  }
}

/** What a body and the checks after it came to. */
export interface RawVerdict {
  /** What the body or its clean-up threw. */
  readonly failure: unknown
  /** What the observer's check returned. */
  readonly complaint: Error | null
}

/** True where the mark is meant for this release. */
export function knownOn(issue: KnownIssue, release: string): boolean {
  const isListed = (kernels: readonly string[]): boolean =>
    kernels.some((kernel) => releaseMatches(release, kernel))
  return (issue.kernels === undefined || isListed(issue.kernels)) && !isListed(issue.notOn ?? [])
}

/** The report of a known issue that showed as marked; otherwise throws what the test fails with. */
export function judgeKnownIssue(issue: KnownIssue, release: string, verdict: RawVerdict): KnownIssueReport {
  const { failure, complaint } = verdict
  if (issue.shows === 'splat') {
    if (failure !== null) throw failure
    if (complaint === null) throw new KnownIssueGoneError(issue, release)
    return { ...issue, seen: complaint.message }
  }
  if (complaint !== null) throw complaint
  if (failure === null) throw new KnownIssueGoneError(issue, release)
  // Anything else broke before what the mark is about was reached.
  const isMeant = issue.shows === 'exit' ? isUnexpectedExit : isAssertion
  if (!isMeant(failure)) throw failure
  return { ...issue, seen: failure.message }
}

function isUnexpectedExit(error: unknown): error is Error {
  return error instanceof UnexpectedExitError
}

/** True for what expect() throws: chai's AssertionError, or the error of a matcher added with expect.extend. */
export function isAssertion(error: unknown): error is Error {
  return error instanceof Error && (error.name === 'AssertionError' || '__vitest_error_context__' in error)
}
