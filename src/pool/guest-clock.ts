// SPDX-License-Identifier: Apache-2.0
import { readdirSync, readFileSync } from 'node:fs'

/** A look that comes later than this many ms counts for no more: this process, or the whole machine, stood still. */
const STEP_MS_MAX = 1000

/**
 * The time that a VM had for its work, in ms: what passes on the clock, without what its threads waited for a processor of the host. A limit
 * measured so means the same on a busy machine as on a quiet one, and does not expire while a laptop sleeps.
 */
export class GuestClock {
  readonly #delaysMs = new Map<string, number>()
  #lookedMs = performance.now()
  #owedMs = 0
  #nowMs = 0

  constructor(readonly pid: number) {
    this.#waitedMs()
  }

  /** To be called about twice a second. */
  tick(): number {
    const now = performance.now()
    const passedMs = Math.min(now - this.#lookedMs, STEP_MS_MAX)
    this.#lookedMs = now
    // The scheduler books a wait when it is over, so that one step may get more than its own length.
    this.#owedMs += this.#waitedMs()
    const paidMs = Math.min(this.#owedMs, passedMs)
    this.#owedMs -= paidMs
    this.#nowMs += passedMs - paidMs
    return this.#nowMs
  }

  /** How long, since the last call, the thread that waited most was ready to run and did not. 0 where the host does not tell. */
  #waitedMs(): number {
    let mostMs = 0
    for (const thread of threadsOf(this.pid)) {
      const delayMs = runDelayMs(`/proc/${this.pid}/task/${thread}/schedstat`)
      mostMs = Math.max(mostMs, delayMs - (this.#delaysMs.get(thread) ?? delayMs))
      this.#delaysMs.set(thread, delayMs)
    }
    return mostMs
  }
}

function threadsOf(pid: number): string[] {
  try {
    return readdirSync(`/proc/${pid}/task`)
  } catch {
    return []
  }
}

/** Second field, in ns: Documentation/scheduler/sched-stats.rst. */
function runDelayMs(path: string): number {
  try {
    return Number(readFileSync(path, 'latin1').split(' ')[1] ?? 0) / 1e6
  } catch {
    return 0
  }
}
