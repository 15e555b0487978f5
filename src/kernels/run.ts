// SPDX-License-Identifier: Apache-2.0
import { GmemError, interruptedError } from '../errors.js'

export interface RunOptions {
  readonly cwd?: string
  readonly signal?: AbortSignal | undefined
  /** An exit code beside 0 that is no failure: grep's 1, nothing found. */
  readonly alsoFine?: number
  /** Bytes for its standard input. */
  readonly input?: string | Uint8Array
}

/** Runs a program to its end and returns its standard output. Throws a GmemError with the end of what it printed. */
export async function run(file: string, args: readonly string[], options: RunOptions = {}): Promise<string> {
  // Loading execa costs more than finding a built kernel, which needs no program run.
  const { execa } = await import('execa')
  const result = await execa(file, args, {
    reject: false,
    stripFinalNewline: true,
    maxBuffer: 256 * 1024 * 1024,
    env: toolEnvironment(),
    extendEnv: false,
    ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
    ...(options.input === undefined ? { stdin: 'ignore' as const } : { input: options.input }),
    ...(options.signal === undefined ? {} : { cancelSignal: options.signal }),
  })
  if (result.isCanceled || options.signal?.aborted) throw interruptedError()
  if (result.failed && (result.exitCode === undefined || result.exitCode !== options.alsoFine))
    throw programError(file, args, result)
  return result.stdout
}

/** The part of execa's result that tells how a program failed. */
export interface ProgramResult {
  readonly code?: string | undefined
  readonly exitCode?: number | undefined
  readonly stderr?: unknown
  readonly shortMessage?: string | undefined
}

/** What went wrong with a program, in one error: not there, killed, or its exit code and last lines. */
export function programError(file: string, args: readonly string[], result: ProgramResult): GmemError {
  if (result.code === 'ENOENT') {
    return new GmemError(`the program ${file} is not installed`, {
      hint: '`gmem doctor` says how to get it.',
    })
  }
  const tail = String(result.stderr ?? '')
    .trim()
    .split('\n')
    .slice(-6)
    .join('\n  ')
  const how =
    result.exitCode === undefined ? (result.shortMessage ?? 'failed') : `exit code ${result.exitCode}`
  const command = [file, ...args].join(' ')
  return new GmemError(`${command.length > 160 ? `${file} …` : command}: ${how}${tail && `\n  ${tail}`}`)
}

/** The environment of every tool: the user's, without what would change a build behind its key's back. */
export function toolEnvironment(extra: Record<string, string> = {}): Record<string, string> {
  const environment: Record<string, string> = {}
  for (const name of ['HOME', 'TMPDIR', 'USER', 'LOGNAME', 'http_proxy', 'https_proxy', 'no_proxy']) {
    const value = process.env[name]
    if (value !== undefined) environment[name] = value
  }
  // depmod and modules_install live in sbin, which is not in an ordinary user's PATH.
  environment.PATH = `${process.env.PATH ?? '/usr/bin:/bin'}:/usr/sbin:/sbin`
  return { ...environment, LANG: 'C.UTF-8', ...extra }
}
