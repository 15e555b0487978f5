// SPDX-License-Identifier: Apache-2.0
import { spawn } from 'node:child_process'
import { createWriteStream } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import { ExitCode, GmemError, interruptedError } from '../errors.js'
import { cacheRoot } from '../paths.js'
import { firstErrorsOf, objectOf, ranOutOfSpace } from './build-log.js'
import { freeBytes, NoSpaceError } from './disk.js'
import { toolEnvironment } from './run.js'
import type { Toolchain } from './toolchain.js'

/** A device with less than this left is what broke the build. */
const fullBelowBytes = 32 * 1024 * 1024

export interface MakeOptions {
  readonly src: string
  /** See TreeState. Default false. */
  readonly isPathFree?: boolean
  readonly toolchain: Toolchain
  readonly jobs: number
  /** Everything that make prints is appended here. */
  readonly log: string
  /** What is being built, for messages: `7.3-debug`. */
  readonly what: string
  readonly signal?: AbortSignal | undefined
  readonly onObject?: (object: string) => void
  /** Called when make did not end in time after the signal and was killed: the tree may hold half-written files. */
  readonly onKilled?: () => void
}

/**
 * Runs make in the tree. On failure throws with the first errors of the log: exit code 125, or 69 where the disk
 * was full. When the signal fires, make and all it started are ended before this returns.
 */
export async function make(args: readonly string[], options: MakeOptions): Promise<void> {
  if (options.signal?.aborted) throw interruptedError()
  const { toolchain } = options
  const before = await sizeOf(options.log)
  // setpriv: should gmem be killed outright, make gets SIGTERM from the kernel and ends its own children.
  const command = ['--pdeathsig', 'TERM', 'make', `-j${options.jobs}`, ...toolchain.makeArguments, ...args]
  const child = spawn('setpriv', command, {
    cwd: options.src,
    env: makeEnvironment(options),
    stdio: ['ignore', 'pipe', 'pipe'],
    // A process group of its own: Ctrl-C reaches gmem, which then ends make in order.
    detached: true,
  })
  const log = createWriteStream(options.log, { flags: 'a' })
  log.write(`$ make ${command.slice(3).join(' ')}\n`)
  log.on('error', () => undefined) // A full disk shows in make's own output, or in its exit code.
  const onLine = (line: string): void => {
    log.write(`${line}\n`)
    const object = objectOf(line)
    if (object !== null) options.onObject?.(object)
  }
  createInterface({ input: child.stdout }).on('line', onLine)
  createInterface({ input: child.stderr }).on('line', onLine)
  const ended = new Promise<number | null>((resolve, reject) => {
    child.once('error', (cause) => reject(new GmemError(`cannot run make: ${cause.message}`, { cause })))
    child.once('close', (code) => resolve(code))
  })
  const onAbort = (): void => void endGroup(child.pid, ended, options.onKilled)
  options.signal?.addEventListener('abort', onAbort, { once: true })
  const code = await ended.finally(() => options.signal?.removeEventListener('abort', onAbort))
  await new Promise((resolve) => log.end(resolve))
  if (options.signal?.aborted) throw interruptedError()
  if (code !== 0) throw await failure(options, before)
}

/** SIGTERM lets make remove the files that it was writing; SIGKILL follows for whatever is left. */
async function endGroup(
  pid: number | undefined,
  ended: Promise<unknown>,
  onKilled?: () => void,
): Promise<void> {
  if (pid === undefined) return
  const signalGroup = (signal: NodeJS.Signals): void => {
    try {
      process.kill(-pid, signal)
    } catch {
      // The group is gone.
    }
  }
  signalGroup('SIGTERM')
  const late = await Promise.race([ended.then(() => false), sleep(5000, true, { ref: false })])
  if (late) onKilled?.()
  signalGroup('SIGKILL')
}

async function failure(options: MakeOptions, from: number): Promise<GmemError> {
  const log = (await readFile(options.log).catch(() => Buffer.alloc(0))).subarray(from).toString('utf8')
  // Not every tool says ENOSPC: fixdep and objtool only report a short write.
  if (ranOutOfSpace(log) || (await freeBytes(options.src)) < fullBelowBytes)
    return new NoSpaceError(options.src)
  const errors = firstErrorsOf(log).map((line) => `  ${line}`)
  return new GmemError(`${options.what} did not build:\n${errors.join('\n')}`, {
    exitCode: ExitCode.buildFailed,
    hint: `The whole log: ${options.log}`,
  })
}

async function sizeOf(file: string): Promise<number> {
  return readFile(file).then(
    (content) => content.length,
    () => 0,
  )
}

/** Fixed where the kernel would otherwise store who built it, where and when: equal sources give equal kernels. */
function makeEnvironment({ src, isPathFree }: MakeOptions): Record<string, string> {
  // ccache hashes the folder as mapped, and not the option itself.
  const map = `-fdebug-prefix-map=${src}=.`
  return toolEnvironment({
    ...(isPathFree && { KCFLAGS: map, KAFLAGS: map }),
    KBUILD_BUILD_TIMESTAMP: '2026-01-01',
    KBUILD_BUILD_USER: 'gmem',
    KBUILD_BUILD_HOST: 'gmem',
    KBUILD_BUILD_VERSION: '1',
    LOCALVERSION: '-gmem',
    CCACHE_DIR: join(cacheRoot(), 'ccache'),
  })
}
