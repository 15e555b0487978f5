// SPDX-License-Identifier: Apache-2.0
import { type ChildProcess, spawn } from 'node:child_process'
import { closeSync, mkdirSync, openSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { ExitCode, GmemError, interruptedError } from '../errors.js'
import type { KernelImage } from '../kernels/types.js'
import { projectRoot } from '../paths.js'
import type { RunResult, TargetResult } from '../report/schema.js'

/** A finished `gmem test` on one kernel. */
export interface ChildRun {
  /** Where its result, its consoles and its output are. */
  readonly folder: string
  readonly run: RunResult
  readonly target: TargetResult
}

/**
 * Runs `gmem test` on a kernel in a process of its own, so that nothing of one run (a worker that hangs, vitest's state) reaches the
 * next. What it prints goes to output.txt in `folder`. Throws where it gave no result: a usage error, or a machine that cannot run it.
 */
export async function runChild(
  kernel: KernelImage,
  args: readonly string[],
  folder: string,
  signal: AbortSignal,
): Promise<ChildRun> {
  if (signal.aborted) throw interruptedError()
  const output = join(folder, 'output.txt')
  const words = ['test', ...args, '-k', kernelWord(kernel), '-o', folder]
  const code = await runGmem(words, output, signal)
  if (signal.aborted) throw interruptedError()
  return childRun(kernel, { folder, code, output })
}

/** How -k names a kernel that is built. One from the cache is known by its image. */
export function kernelWord({ flavour, modulesDir, bzImage }: KernelImage): string {
  const isForeign = flavour === 'unknown' && modulesDir !== null
  return isForeign ? `${bzImage},modules=${modulesDir}` : bzImage
}

/** What a run left in `folder`, which exited with `code` and printed to `output`. Throws where that is no result. */
export function childRun(
  kernel: KernelImage,
  { folder, code, output }: { readonly folder: string; readonly code: number; readonly output: string },
): ChildRun {
  const run = readResult(folder)
  const target = run?.targets[0]
  const isUsable = code !== ExitCode.usage && code !== ExitCode.infrastructure
  if (run && target && isUsable) return { folder, run, target }
  throw noResult(kernel, code, output)
}

/** Runs gmem to its end, as startGmem() starts it. Returns its exit code. */
export async function runGmem(
  words: readonly string[],
  output: string | null,
  signal: AbortSignal,
): Promise<number> {
  return await startGmem(words, output, signal).ended
}

/** A gmem that was started. */
export interface GmemChild {
  readonly process: ChildProcess
  /** Its exit code. Rejects where it cannot be started. */
  readonly ended: Promise<number>
}

/** Starts gmem, its output going to a file, or where this process's goes (null). `withOrders`: with a channel for messages. */
export function startGmem(
  words: readonly string[],
  output: string | null,
  signal: AbortSignal,
  { withOrders = false } = {},
): GmemChild {
  const main = join(projectRoot, 'dist', 'cli', 'main.js')
  if (output !== null) mkdirSync(dirname(output), { recursive: true })
  const where = output === null ? 'inherit' : openSync(output, 'w')
  // pdeathsig: should this process be killed outright, the run ends in order. detached: Ctrl-C reaches it once, from here.
  const child = spawn('setpriv', ['--pdeathsig', 'TERM', process.execPath, main, ...words], {
    stdio: ['ignore', where, where, ...(withOrders ? (['ipc'] as const) : [])],
    env: output === null ? process.env : { ...process.env, NO_COLOR: '1', GITHUB_ACTIONS: '' },
    detached: true,
  })
  // The child has its own.
  if (where !== 'inherit') closeSync(where)
  const stop = (): void => void child.kill('SIGINT')
  signal.addEventListener('abort', stop, { once: true })
  if (signal.aborted) stop()
  const ended = new Promise<number>((resolve, reject) => {
    child.once('error', (cause) => reject(new GmemError(`cannot run gmem: ${cause.message}`, { cause })))
    // Not `close`: that never comes where this process ends the channel. Nothing of the child is left to be read.
    child.once('exit', (code) => resolve(code ?? ExitCode.infrastructure))
  })
  return { process: child, ended: ended.finally(() => signal.removeEventListener('abort', stop)) }
}

/** What a run left in its folder; null where that is nothing yet. */
export function readResult(folder: string): RunResult | null {
  try {
    return JSON.parse(readFileSync(join(folder, 'result.json'), 'utf8')) as RunResult
  } catch {
    return null
  }
}

function noResult({ id }: KernelImage, code: number, output: string): GmemError {
  const lines = readFileSync(output, 'utf8').trimEnd().split('\n')
  const errors = lines.filter((line) => /^(error|hint|infrastructure)\b|^no test's name/.test(line))
  const said = (errors.length > 0 ? errors : lines.slice(-6)).map((line) => line.replace(/^error: /, ''))
  return new GmemError(`gmem test on ${id} gave no result:\n  ${said.join('\n  ')}`, {
    exitCode: code === ExitCode.usage ? ExitCode.usage : ExitCode.infrastructure,
    hint: `All that it printed: ${output}`,
  })
}
