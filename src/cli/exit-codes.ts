// SPDX-License-Identifier: Apache-2.0
import { ExitCode } from '../errors.js'

export { ExitCode }

/**
 * Which code wins when a run has several reasons to end badly: what says least about the kernel comes first, so that
 * a bad set-up is never read as a bad kernel. An interrupt wins over all: what it left undone is not known.
 */
const precedence: readonly ExitCode[] = [
  ExitCode.interrupted,
  ExitCode.usage,
  ExitCode.infrastructure,
  ExitCode.buildFailed,
  ExitCode.kernelDied,
  ExitCode.timeout,
  ExitCode.testFailed,
  ExitCode.splat,
  ExitCode.allSkipped,
  ExitCode.ok,
]

/** The exit code of a run with these outcomes; of none, 0. */
export function worstExitCode(codes: Iterable<ExitCode>): ExitCode {
  const seen = new Set(codes)
  return precedence.find((code) => seen.has(code)) ?? ExitCode.ok
}
