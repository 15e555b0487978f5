// SPDX-License-Identifier: Apache-2.0
import { setTimeout as sleep } from 'node:timers/promises'
import { type DeepCensus, deepCensus, deepGrowth, type Estimate, suspicions } from './deep-census.js'
import {
  countOpen,
  descriptorsOfNode,
  isOpenedByNode,
  listDescriptors,
  type OpenCounts,
} from './open-objects.js'

/** RCU and deferred work free some objects a little after the call that let go of them; how long that may take, in ms. */
const SETTLE_MS = 100
const SETTLE_STEP_MS = 10

/** A test after which the kernel holds suspiciously more runs again, this often: a leak grows each time, a cache does not. */
const REPETITIONS = 2

/** What is alive. */
interface Census {
  readonly counts: OpenCounts
  /** What each descriptor is, by number. */
  readonly descriptors: ReadonlyMap<string, string>
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
  readonly #ofNode = descriptorsOfNode()
  #before: Census | null = null

  constructor(readonly thorough: boolean) {}

  begin(): void {
    this.#before ??= this.#census()
  }

  /**
   * What the test left, as the error that it fails with, or null. Waits for deferred frees, only where something seems left. `again` runs
   * the test's body once more.
   */
  async end(again: () => Promise<unknown>): Promise<LeakError | null> {
    const before = this.#before
    if (before === null || this.#isUnchanged(before)) return null
    const { now, left } = await this.#settle(before)
    if (left.length === 0) left.push(...(await this.#repeatable(before, now, again)))
    // What one test ends with is what the next one starts with.
    this.#before = this.thorough ? this.#census() : now
    return left.length === 0 ? null : new LeakError(`this test left behind: ${left.join('; ')}`)
  }

  /**
   * Whether the numbers say that all is as it was, which spares the list (a tenth of its price). They do not where a descriptor may have
   * been closed, because one that was leaked would make up for it.
   */
  #isUnchanged(before: Census): boolean {
    if (this.thorough || before.counts.descriptors === null) return false
    for (const [number, target] of before.descriptors)
      if (!this.#ofNode.has(number) && !isOpenedByNode(target)) return false
    const { descriptors, threads, vms } = countOpen()
    const { counts } = before
    return descriptors === counts.descriptors && threads === counts.threads && vms === counts.vms
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
      counts: countOpen(),
      descriptors: listDescriptors(this.#ofNode),
      deep: this.thorough ? deepCensus() : null,
    }
  }
}

function difference(before: Census, after: Census): string[] {
  const left: string[] = []
  for (const [number, target] of after.descriptors) {
    if (before.descriptors.get(number) === target || isOpenedByNode(target)) continue
    left.push(`descriptor ${number} (${target})`)
  }
  const more = (what: string, count: number): number => (count > 0 ? left.push(`${count} ${what}`) : 0)
  more('threads (a vCPU has one)', after.counts.threads - before.counts.threads)
  more('VMs (/sys/kernel/debug/kvm)', after.counts.vms - before.counts.vms)
  if (before.deep && after.deep) left.push(...deepGrowth(before.deep, after.deep))
  return left
}

function suspicious(before: Census, after: Census): Estimate[] {
  if (before.deep === null || after.deep === null) return []
  return suspicions(before.deep, after.deep)
}

function slowdown(): number {
  return Number(process.env.GMEM_SLOWDOWN ?? 1)
}
