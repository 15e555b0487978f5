// SPDX-License-Identifier: Apache-2.0
import pc from 'picocolors'
import { ExitCode, GmemError } from '../errors.js'

/** The exit code that an error stands for: its own where it has one, 69 for anything unforeseen. */
export function exitCodeOf(error: unknown): number {
  if (error instanceof Error && 'exitCode' in error && typeof error.exitCode === 'number')
    return error.exitCode
  return ExitCode.infrastructure
}

/** One message for a person: what went wrong and what to do; the stack only for what is a bug in gmem, or on request. */
export function describeError(error: unknown): string {
  if (exitCodeOf(error) === ExitCode.interrupted) return pc.yellow('interrupted')
  const { message, stack } = error instanceof Error ? error : new Error(String(error))
  const foreseen = error instanceof Error && 'exitCode' in error
  const lines = [`${pc.red('error:')} ${message}`]
  if (error instanceof GmemError && error.hint !== null) lines.push(`${pc.cyan('hint:')} ${error.hint}`)
  if (process.env.GMEM_DEBUG) lines.push(pc.dim(stack ?? ''), ...causes(error))
  else if (!foreseen) lines.push(pc.dim('This looks like a bug in gmem; GMEM_DEBUG=1 shows where.'))
  return lines.join('\n')
}

function causes(error: unknown): string[] {
  const cause = error instanceof Error ? error.cause : undefined
  return cause instanceof Error ? [pc.dim(`caused by ${cause.stack ?? cause.message}`), ...causes(cause)] : []
}
