// SPDX-License-Identifier: Apache-2.0
import { readdirSync, readlinkSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { type DeepCensus, deepCensus, deepGrowth, type Estimate, suspicions } from './deep-census.js'

/** RCU and deferred work free some objects a little after the call that let go of them; how long that may take, in ms. */
const SETTLE_MS = 100
const SETTLE_STEP_MS = 10

/** A test after which the kernel holds suspiciously more runs again, this often: a leak grows each time, a cache does not. */
const REPETITIONS = 2

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

  /**
   * What the test left, as the error that it fails with, or null. Waits for deferred frees, only where something seems left. `again` runs
   * the test's body once more.
   */
  async end(again: () => Promise<unknown>): Promise<LeakError | null> {
    const before = this.#before
    if (before === null) return null
    const { now, left } = await this.#settle(before)
    if (left.length === 0) left.push(...(await this.#repeatable(before, now, again)))
    // What one test ends with is what the next one starts with.
    this.#before = this.thorough ? this.#census() : now
    return left.length === 0 ? null : new LeakError(`this test left behind: ${left.join('; ')}`)
  }

  /** What there is more of each time. */
  async #repeatable(before: Census, after: Census, again: () => Promise<unknown>): Promise<string[]> {
    let suspects = suspicious(before, after)
    let last = after
    for (let repetition = 0; suspects.length > 0 && repetition < REPETITIONS; repetition++) {
      await again()
      const { now } = await this.#settle(last)
      const growing = new Set(suspicious(last, now).map(({ what }) => what))
      suspects = suspects.filter(({ what }) => growing.has(what))
      last = now
    }
    return suspects.map(({ what, kib }) => `${kib} KiB of ${what}, and as much each time it runs`)
  }

  async #settle(before: Census): Promise<{ now: Census; left: string[] }> {
    let now = this.#census()
    let left = difference(before, now)
    for (let waited = 0; left.length > 0 && waited < SETTLE_MS * slowdown(); waited += SETTLE_STEP_MS) {
      // The event loop goes on: what Node closes in the background is no leak.
      await sleep(SETTLE_STEP_MS)
      now = this.#census()
      left = difference(before, now)
    }
    return { now, left }
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

function suspicious(before: Census, after: Census): Estimate[] {
  if (before.deep === null || after.deep === null) return []
  return suspicions(before.deep, after.deep)
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
