// SPDX-License-Identifier: Apache-2.0
import type { KnownIssueReport } from './known-issue.js'

declare module '@vitest/runner' {
  interface TaskMeta {
    /** Why a test was skipped. */
    skipReason?: string
    /** The known issue that showed. */
    knownIssue?: KnownIssueReport
    /** The last native calls of a failed test, one a line. */
    trace?: string[]
  }
}
