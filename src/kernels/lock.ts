// SPDX-License-Identifier: Apache-2.0
import { spawn } from 'node:child_process'
import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { dirname } from 'node:path'
import { GmemError, interruptedError } from '../errors.js'

export interface Lock {
  release(): Promise<void>
}

export interface LockOptions {
  readonly signal?: AbortSignal | undefined
  /** Called once when somebody else holds it, with that process's id where it is known. */
  readonly onWait?: (holder: string) => void
  /** Give up at once when somebody else holds it: null is returned. */
  readonly wait?: boolean
}

/**
 * Takes an exclusive lock on a file, with the flock program, which holds it as long as its standard input is
 * open: so the kernel releases the lock however this process ends, kill -9 included.
 */
export async function acquireLock(file: string, options: LockOptions & { wait: false }): Promise<Lock | null>
export async function acquireLock(file: string, options?: LockOptions): Promise<Lock>
export async function acquireLock(file: string, options: LockOptions = {}): Promise<Lock | null> {
  await mkdir(dirname(file), { recursive: true })
  const mode = options.wait === false ? ['--nonblock'] : []
  const child = spawn('flock', ['--exclusive', ...mode, file, 'sh', '-c', 'echo held; exec cat >/dev/null'], {
    stdio: ['pipe', 'pipe', 'ignore'],
    // Its own session: Ctrl-C must not release the lock while this process still cleans up.
    detached: true,
  })
  const exited = new Promise<void>((resolve) => child.once('close', () => resolve()))
  const held = await new Promise<boolean>((resolve, reject) => {
    const onAbort = (): void => {
      if (child.pid !== undefined) process.kill(-child.pid, 'SIGKILL')
      reject(interruptedError())
    }
    const timer = setTimeout(() => void announceHolder(file, options.onWait), 200)
    const settle = (outcome: () => void): void => {
      clearTimeout(timer)
      options.signal?.removeEventListener('abort', onAbort)
      outcome()
    }
    child.once('error', (cause) =>
      settle(() => reject(new GmemError(`cannot run flock to lock ${file}: ${cause.message}`, { cause }))),
    )
    child.stdout.once('data', () => settle(() => resolve(true)))
    child.once('close', () => settle(() => resolve(false)))
    options.signal?.addEventListener('abort', onAbort, { once: true })
    if (options.signal?.aborted) onAbort()
  })
  if (!held) {
    if (options.wait === false) return null
    throw new GmemError(`cannot lock ${file}`)
  }
  await writeFile(file, `${process.pid}\n`)
  return {
    release: async () => {
      child.stdin.end()
      await exited
    },
  }
}

async function announceHolder(file: string, onWait: LockOptions['onWait']): Promise<void> {
  const holder = await readFile(file, 'utf8').catch(() => '')
  onWait?.(holder.trim())
}
