// SPDX-License-Identifier: Apache-2.0
import { ExitCode } from '../errors.js'
import type { FailureKind, RunError, RunResult } from './schema.js'

/** Which code a failed test asks for. A test that its own file kept from running is a failed test. */
const FAILURE_CODE: Readonly<Record<FailureKind, ExitCode>> = {
  assertion: ExitCode.testFailed,
  'not-run': ExitCode.testFailed,
  leak: ExitCode.testFailed,
  splat: ExitCode.splat,
  timeout: ExitCode.timeout,
  hang: ExitCode.timeout,
  death: ExitCode.kernelDied,
}

const ERROR_CODE: Readonly<Record<RunError['kind'], ExitCode>> = {
  infrastructure: ExitCode.infrastructure,
  unhandled: ExitCode.testFailed,
  deadline: ExitCode.timeout,
  interrupted: ExitCode.interrupted,
}

/** Worst first: where several apply, the first one is the exit code. */
const PRECEDENCE: readonly ExitCode[] = [
  ExitCode.interrupted,
  ExitCode.usage,
  ExitCode.infrastructure,
  ExitCode.buildFailed,
  ExitCode.kernelDied,
  ExitCode.timeout,
  ExitCode.testFailed,
  ExitCode.splat,
  ExitCode.allSkipped,
]

/** The exit code that tells how a run ended. With `failOnSkip` one skipped test is enough for allSkipped. */
export function exitCodeOf(run: Omit<RunResult, 'exitCode'>, failOnSkip = false): ExitCode {
  const codes = new Set<ExitCode>(run.errors.map((error) => ERROR_CODE[error.kind]))
  for (const target of run.targets) {
    if (target.deaths.length > 0) codes.add(ExitCode.kernelDied)
    for (const test of target.tests) {
      if (test.status === 'failed') codes.add(FAILURE_CODE[test.failure ?? 'assertion'])
    }
  }
  if (run.skipped > 0 && (failOnSkip || run.passed + run.failed === 0)) codes.add(ExitCode.allSkipped)
  // Only a name that no test has leads here: an empty file is an error of its own. Another shard may have such a test.
  const isEmpty = run.passed + run.failed + run.skipped + run.errors.length === 0
  if (isEmpty && run.shard === undefined) codes.add(ExitCode.usage)
  return worstOf(codes)
}

/** The most serious of several exit codes. */
export function worstOf(codes: ReadonlySet<ExitCode>): ExitCode {
  return PRECEDENCE.find((code) => codes.has(code)) ?? ExitCode.ok
}
