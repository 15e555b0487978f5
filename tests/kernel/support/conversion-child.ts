// SPDX-License-Identifier: Apache-2.0
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'

/** The compiled addon, for programs that load it by themselves. */
export const ADDON =
  process.env.GMEM_ADDON ?? fileURLToPath(new URL('../../../build/Release/gmem.node', import.meta.url))

/** A Node process of its own: what cannot be killed must not be the worker. */
export interface Child {
  readonly pid: number
  /** Waits for the next line that it prints. Error where that is another one, or it ends instead. */
  says(expected: string): Promise<void>
  /** Sends a signal that ends it, and waits until it is gone. */
  kill(signal?: 'SIGKILL' | 'SIGABRT'): Promise<void>
}

/**
 * Runs a script in a new Node process, with the bare addon as `addon`: an emulated CPU takes seconds to load more. It has the files in `fds`
 * as its descriptors from 3 on.
 */
export function startChild(source: string, fds: readonly number[] = []): Child {
  const program = `const addon = require(${JSON.stringify(ADDON)}); addon.initialize(Error)\n${source}`
  const child = spawn(process.execPath, ['-e', program], {
    stdio: ['ignore', 'pipe', 'inherit', ...fds],
  })
  const { pid, stdout } = child
  if (pid === undefined || stdout === null) throw new Error('the child process cannot be started')
  const lines = createInterface({ input: stdout })[Symbol.asyncIterator]()
  return {
    pid,
    async says(expected) {
      const { done, value } = await lines.next()
      if (done === true) throw new Error(`the child process ended with ${await outcomeOf(child)}`)
      if (value !== expected) throw new Error(`the child process says '${value}', not '${expected}'`)
    },
    async kill(signal = 'SIGKILL') {
      const gone = outcomeOf(child)
      child.kill(signal)
      await gone
    },
  }
}

async function outcomeOf(child: ChildProcess): Promise<string> {
  if (child.exitCode === null && child.signalCode === null) await once(child, 'exit')
  return child.signalCode ?? `exit status ${child.exitCode}`
}
