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
  /** Waits for the next line that it prints. Error where that is another one, or it ends instead. */
  says(expected: string): Promise<void>
  /** Sends SIGKILL, and waits until it is gone. */
  kill(): Promise<void>
}

/** Runs a script in a new Node process, with the bare addon as `addon`: an emulated CPU takes seconds to load more. */
export function startChild(source: string): Child {
  const program = `const addon = require(${JSON.stringify(ADDON)}); addon.initialize(Error)\n${source}`
  const child = spawn(process.execPath, ['-e', program], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]()
  return {
    async says(expected) {
      const { done, value } = await lines.next()
      if (done === true) throw new Error(`the child process ended with ${await outcomeOf(child)}`)
      if (value !== expected) throw new Error(`the child process says '${value}', not '${expected}'`)
    },
    async kill() {
      const gone = outcomeOf(child)
      child.kill('SIGKILL')
      await gone
    },
  }
}

async function outcomeOf(child: ChildProcess): Promise<string> {
  if (child.exitCode === null && child.signalCode === null) await once(child, 'exit')
  return child.signalCode ?? `exit status ${child.exitCode}`
}
