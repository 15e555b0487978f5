// SPDX-License-Identifier: Apache-2.0
import { release } from 'node:os'
import { setTimeout as sleep } from 'node:timers/promises'
import {
  type AllowEntry,
  findAllowed,
  isSplat,
  KmsgFollower,
  parseAllowFile,
  type Splat,
  TroubleWatch,
} from '../../splats/index.js'
import type { TestInfo } from '../../testing/lifecycle.js'
import type { TroublePolicy } from '../protocol.js'
import { type DeepCensus, deepCensus, deepGrowth, glance, suspicions } from './deep-census.js'
import { LeakWatch } from './leaks.js'
import { shrinkSlabs } from './slab-caches.js'

/** A splat, with the allow file's reason where it may pass. */
export type JudgedSplat = Splat & { readonly allowed?: string }

/** The kernel complained during a test. */
export class KernelSplatError extends Error {
  override readonly name = 'KernelSplat'

  constructor(splats: readonly JudgedSplat[], when: string) {
    const [first] = splats
    const more = splats.length > 1 ? ` (and ${splats.length - 1} more)` : ''
    super(
      `the kernel complained ${when}: ${first?.title ?? ''}${more}\n\n${splats.map((splat) => splat.text).join('\n\n')}`,
    )
  }
}

/** Waiting for a report in the making is stretched by this: how slow the guest is nobody knows when the log is opened. */
const SETTLE_STRETCH = 8

/** How often, and how long apart in ms, what is freed late is waited for at the end of a file. */
const SETTLE_ATTEMPTS_MAX = 10
const SETTLE_ATTEMPT_MS = 50

let watch: TroubleWatch | null = null
let baseline: DeepCensus | null = null

/** Opens and reads the kernel's log; done before the VM is saved, because it costs. What the log holds by then is no test's. */
export function openKernelLog(): void {
  watch ??= new TroubleWatch(new KmsgFollower(), { slowdown: SETTLE_STRETCH })
}

/** Counts what the kernel holds before it has run any test; done before the VM is saved, so that its copies know. */
export function countFresh(): void {
  baseline = deepCensus()
}

/** The same without what caches merely keep, so that growth which is only a cache's shows as none once that has shrunk, too. */
export function countShrunk(): void {
  shrinkSlabs()
  countFresh()
}

/** Whether the kernel has complained since the log was last looked at. */
export function hasLogTrouble(): boolean {
  return watch?.end().some(isSplat) ?? false
}

/** The kernel's log between the tests of one file: what it says in a test's window is that test's. */
export class TroubleGate {
  readonly #allowed: readonly AllowEntry[]
  readonly #leaks: LeakWatch
  #isTainted = false
  #hasComplained = false
  #last: TestInfo | null = null
  #strays: JudgedSplat[] = []

  constructor(readonly policy: TroublePolicy) {
    this.#allowed = parseAllowFile(policy.allow, 'the allow file')
    this.#leaks = new LeakWatch(policy.leaks === 'thorough')
    if (policy.leaks !== 'off' && baseline === null) countFresh()
    if (policy.splats !== 'off') openKernelLog()
  }

  /** True when this kernel is no ground for another test. */
  get isTainted(): boolean {
    return this.#isTainted
  }

  /** Whether the kernel has said anything of note, be it allowed: WARN_ONCE and lockdep speak only once. */
  get hasComplained(): boolean {
    return this.#hasComplained
  }

  /** The test whose window was open last. */
  get last(): TestInfo | null {
    return this.#last
  }

  /** Where the last window begins, by the kernel log's clock, in microseconds since boot; 0 where the log is not read. */
  get windowStartUs(): number {
    return this.policy.splats === 'off' ? 0 : (watch?.follower.markTimeUs ?? 0)
  }

  /** Opens a test's window. Returns what came since the last one was closed. */
  open(info: TestInfo): JudgedSplat[] {
    if (this.policy.leaks !== 'off') this.#leaks.begin()
    const late = watch && this.policy.splats !== 'off' ? watch.begin({ id: info.id, name: info.name }) : []
    return this.#judge(late).filter((splat) => this.#condemns(splat))
  }

  /** Closes a test's window: the error that it fails with, or null. All that was seen goes into its meta. */
  async close(info: TestInfo, again: () => Promise<unknown>): Promise<Error | null> {
    // Waiting for what is freed late also gives a late splat its chance.
    const leak = this.policy.leaks === 'off' ? null : await this.#leaks.end(again)
    const splat = this.#closeLog(info)
    this.#last = info
    if (leak === null) return splat
    // What is left would hide the next leak, or look like one.
    this.#isTainted = true
    info.meta.failure ??= 'leak'
    return splat ?? leak
  }

  /** What came in the last window from a thread that an earlier test had left behind. */
  takeStrays(): JudgedSplat[] {
    return this.#strays.splice(0)
  }

  #closeLog(info: TestInfo): Error | null {
    if (!watch || this.policy.splats === 'off') return null
    const seen = this.#judge(watch.end())
    const splats = seen.filter((splat) => splat.earlierTest === undefined)
    const bad = splats.filter((splat) => this.#condemns(splat))
    this.#strays.push(...seen.filter((splat) => splat.earlierTest !== undefined && this.#condemns(splat)))
    if (splats.length > 0) info.meta.splats = splats
    if (bad.length === 0) return null
    info.meta.failure = 'splat'
    return new KernelSplatError(bad, 'during this test')
  }

  /** What came after the last window was closed, at the end of a file. */
  late(): JudgedSplat[] {
    if (!watch || this.policy.splats === 'off') return []
    const late = watch.begin({ id: 'none', name: 'end of file' })
    return this.#judge(late).filter((splat) => this.#condemns(splat))
  }

  /**
   * What the file as a whole left, '' for nothing: the file is then run again, looking at each test. Nothing where the kernel has
   * complained, because one that stumbles may well drop something, and nothing where each test was looked at. What there is now is what
   * the next file in this VM starts from.
   */
  async fileLeak(): Promise<string> {
    const before = baseline
    if (before === null || this.policy.leaks !== 'quick' || this.#hasComplained) return ''
    let left: string[] = []
    for (let attempt = 0; attempt < SETTLE_ATTEMPTS_MAX; attempt++) {
      const now = attempt === 0 ? glance() : deepCensus()
      const suspects = suspicions(before, now).map(({ what, kib }) => `${kib} KiB of ${what}`)
      left = [...deepGrowth(before, now), ...suspects]
      if (left.length === 0) {
        baseline = now
        return ''
      }
      // RCU frees some of it a grace period later, and caches keep what is freed.
      await sleep(SETTLE_ATTEMPT_MS)
      if (suspects.length > 0) shrinkSlabs()
    }
    return left.join('; ')
  }

  #judge(splats: readonly Splat[]): JudgedSplat[] {
    return splats.map((splat) => {
      const entry = findAllowed(this.#allowed, splat, release())
      if (isSplat(splat)) this.#hasComplained = true
      if (entry === null && isSplat(splat)) this.#isTainted = true
      return entry === null ? splat : { ...splat, allowed: entry.reason }
    })
  }

  #condemns(splat: JudgedSplat): boolean {
    return this.policy.splats === 'fail' && splat.allowed === undefined && isSplat(splat)
  }
}
