// SPDX-License-Identifier: Apache-2.0
import { readdirSync, readlinkSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { type DeepCensus, deepCensus, deepGrowth } from './deep-census.js'

/** RCU and deferred work free some objects a little after the call that let go of them; how long that may take, in ms. */
const SETTLE_MS = 100
const SETTLE_STEP_MS = 10

/** libuv opens these when it first needs them, and keeps them. */
const OF_NODE = /^anon_inode:\[(eventpoll|eventfd|io_uring)\]$/

/** What Node and the worker keep open; anything else may be closed at any time, and its number used again. */
const LASTING = /^(anon_inode:|pipe:|socket:|\/(dev|proc|sys)\/)/

/** What is alive. */
interface Census {
  /** What each descriptor is, by number. */
  readonly descriptors: ReadonlyMap<string, string>
  readonly threads: number
  readonly vms: number
  readonly deep: DeepCensus | null
}

/** A test left something behind. */
export class LeakError extends Error {
  override readonly name = 'KernelLeak'
}

/**
 * Compares what is alive before and after a test, as the kernel shows it: descriptors, threads, VMs (debugfs) and, where `thorough` asks
 * for that (it costs 50 times as much), all that a DeepCensus counts. What costs little is counted late by the kernel, and would be
 * pinned on the wrong test.
 */
export class LeakWatch {
  /** Asking what a descriptor is costs; for these it was done once. */
  readonly #lasting: ReadonlyMap<string, string>
  #before: Census | null = null

  constructor(readonly thorough: boolean) {
    this.#lasting = new Map([...descriptors(new Map())].filter(([, target]) => LASTING.test(target)))
  }

  begin(): void {
    this.#before ??= this.#census()
  }

  /** What the test left, as the error that it fails with, or null. Waits for deferred frees, only where something seems left. */
  async end(): Promise<LeakError | null> {
    const before = this.#before
    if (before === null) return null
    let now = this.#census()
    let left = difference(before, now)
    for (let waited = 0; left.length > 0 && waited < SETTLE_MS * slowdown(); waited += SETTLE_STEP_MS) {
      // The event loop goes on: what Node closes in the background is no leak.
      await sleep(SETTLE_STEP_MS)
      now = this.#census()
      left = difference(before, now)
    }
    // What one test ends with is what the next one starts with.
    this.#before = now
    return left.length === 0 ? null : new LeakError(`this test left behind: ${left.join('; ')}`)
  }

  #census(): Census {
    return {
      descriptors: descriptors(this.#lasting),
      threads: readdirSync('/proc/self/task').length,
      vms: vmsInDebugfs(),
      deep: this.thorough ? deepCensus() : null,
    }
  }
}

function descriptors(known: ReadonlyMap<string, string>): Map<string, string> {
  const open = new Map<string, string>()
  for (const number of readdirSync('/proc/self/fd')) {
    const target = known.get(number) ?? readLink(`/proc/self/fd/${number}`)
    // The descriptor of the listing itself is gone by now.
    if (target !== null) open.set(number, target)
  }
  return open
}

function difference(before: Census, after: Census): string[] {
  const left: string[] = []
  for (const [number, target] of after.descriptors) {
    if (before.descriptors.get(number) === target || OF_NODE.test(target)) continue
    left.push(`descriptor ${number} (${target})`)
  }
  const more = (what: string, count: number): number => (count > 0 ? left.push(`${count} ${what}`) : 0)
  more('threads (a vCPU has one)', after.threads - before.threads)
  more('VMs (/sys/kernel/debug/kvm)', after.vms - before.vms)
  if (before.deep && after.deep) left.push(...deepGrowth(before.deep, after.deep))
  return left
}

function readLink(path: string): string | null {
  try {
    return readlinkSync(path)
  } catch {
    return null
  }
}

/** Directories named PID-FD, one for each VM (virt/kvm/kvm_main.c, kvm_create_vm_debugfs). */
function vmsInDebugfs(): number {
  try {
    return readdirSync('/sys/kernel/debug/kvm').filter((name) => /^\d+-/.test(name)).length
  } catch {
    return 0
  }
}

function slowdown(): number {
  return Number(process.env.GMEM_SLOWDOWN ?? 1)
}
