// SPDX-License-Identifier: Apache-2.0
import { setTimeout as sleep } from 'node:timers/promises'
import { scaledMs } from '../../kvm/index.js'
import { type DeepCensus, deepCensus, deepGrowth, type Estimate, suspicions } from './deep-census.js'
import { countOpen, isKeptOpen, isOpenedByNode, listDescriptors, type OpenCounts } from './open-objects.js'

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
  /** Whether one of them may be closed at any time, so that another one, leaked, would not show in their number. */
  readonly mayClose: boolean
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
  /** What was open before any test, and stays so, by number: asking what a descriptor is costs, and for these it was done once. */
  #ofNode: ReadonlyMap<string, string> = new Map()
  #before: Census | null = null

  constructor(readonly thorough: boolean) {}

  begin(): void {
    if (this.#before !== null) return
    const open = listDescriptors(this.#ofNode)
    this.#ofNode = new Map([...open].filter(([, target]) => isKeptOpen(target)))
    this.#before = this.#census(open)
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

  /** Whether the numbers say that all is as it was, which spares the list (a tenth of its price). */
  #isUnchanged(before: Census): boolean {
    if (this.thorough || before.counts.descriptors === null || before.mayClose) return false
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
    for (let waited = 0; left.length > 0 && waited < scaledMs(SETTLE_MS); waited += SETTLE_STEP_MS) {
      // The event loop goes on: what Node closes in the background is no leak.
      await sleep(SETTLE_STEP_MS)
      now = this.#census()
      left = difference(before, now)
    }
    return { now, left }
  }

  #census(descriptors = listDescriptors(this.#ofNode)): Census {
    const passing = [...descriptors].filter(([number]) => !this.#ofNode.has(number))
    return {
      counts: countOpen(),
      descriptors,
      mayClose: passing.some(([, target]) => !isOpenedByNode(target)),
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
