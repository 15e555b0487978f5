// SPDX-License-Identifier: Apache-2.0
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'

const KVM_MODULE = new URL('../../../dist/kvm/index.js', import.meta.url).href

/** A Node process of its own: what cannot be killed must not be the worker. */
export interface Child {
  /** The next line that it prints. Error where it ends instead. */
  line(): Promise<string>
  /** Sends SIGKILL: how long it takes until it is gone, in ms. */
  kill(): Promise<number>
}

/** Runs a module's text in a new Node process, with Kvm, gpa, bytes and pages in scope. */
export function startChild(source: string): Child {
  const program = `import { Kvm, gpa, bytes, pages } from ${JSON.stringify(KVM_MODULE)}\n${source}`
  const child = spawn(process.execPath, ['--input-type=module', '-e', program], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]()
  return {
    async line() {
      const next = await lines.next()
      if (next.done === true) throw new Error(`the child process ended: ${await outcomeOf(child)}`)
      return next.value
    },
    async kill() {
      const startedAt = performance.now()
      const gone = outcomeOf(child)
      child.kill('SIGKILL')
      await gone
      return performance.now() - startedAt
    },
  }
}

async function outcomeOf(child: ChildProcess): Promise<string> {
  if (child.exitCode === null && child.signalCode === null) await once(child, 'exit')
  return child.signalCode ?? `exit status ${child.exitCode}`
}
