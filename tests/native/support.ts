// SPDX-License-Identifier: Apache-2.0
import { execFile } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import type { NativeMapping } from '../../src/binding/addon.js'

export { thrownBy } from '../unit/thrown-by.js'

type BindingModule = typeof import('../../src/binding/index.js')

/** The binding as it is shipped: the compiled one. */
export const BINDING_PATH = fileURLToPath(new URL('../../dist/binding/index.js', import.meta.url))
const module = (await import(BINDING_PATH)) as BindingModule
export const { binding, KernelError } = module
export const { addon, trace } = binding

export const PROT_NONE = 0
export const PROT_RW = 3
export const MAP_SHARED = 1
export const MAP_ANON = 0x22
export const PAGE = 4096n
export const GMEM_MMAP_SHARED = 3n

/** Everything a test opened, closed in reverse order. */
export class Scope {
  readonly #open: { close(): void }[] = []

  use<T extends { close(): void }>(value: T): T {
    this.#open.push(value)
    return value
  }

  close(): void {
    for (const value of this.#open.reverse()) value.close()
    this.#open.length = 0
  }
}

export function anonymous(scope: Scope, length: bigint, prot = PROT_RW): NativeMapping {
  return scope.use(addon.mmap(length, prot, MAP_ANON, -1, 0n, 0n))
}

export function qwords(...values: bigint[]): Uint8Array {
  return new Uint8Array(BigUint64Array.from(values).buffer)
}

/** Runs a program in a fresh Node with `addon` and `kvm` there: what it printed and how it ended. */
export async function inChild(program: string, nodeOptions: string[] = []): Promise<ChildOutcome> {
  const source = `
    import { binding } from ${JSON.stringify(BINDING_PATH)}
    const { addon } = binding
    const kvm = addon.openKvm('/dev/kvm')
    ${program}`
  return runNode([...nodeOptions, '--input-type=module', '--eval', source])
}

/** Runs Node with these arguments, for 30 s at most. */
export async function runNode(args: string[]): Promise<ChildOutcome> {
  try {
    const { stdout, stderr } = await promisify(execFile)(process.execPath, args, {
      timeout: 30_000,
      killSignal: 'SIGKILL',
    })
    return { stdout: stdout.trim(), stderr, code: 0, signal: null }
  } catch (error) {
    const failed = error as { stdout: string; stderr: string; code: number; signal: string | null }
    return { stdout: failed.stdout.trim(), stderr: failed.stderr, code: failed.code, signal: failed.signal }
  }
}

export interface ChildOutcome {
  readonly stdout: string
  readonly stderr: string
  readonly code: number | null
  readonly signal: string | null
}

/**
 * The vCPU threads of this process. Poll it: pthread_join returns a moment before the kernel takes a thread out of /proc.
 */
export function vcpuThreads(): { tid: number; name: string }[] {
  const threads = readdirSync('/proc/self/task').map((tid) => ({
    tid: Number(tid),
    name: readFileSync(`/proc/self/task/${tid}/comm`, 'utf8').trim(),
  }))
  return threads.filter(({ name }) => name.startsWith('gmem-vcpu'))
}
