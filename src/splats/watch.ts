// SPDX-License-Identifier: Apache-2.0
import { closeSync, openSync, readSync, writeSync } from 'node:fs'
import { foldSplats, SplatDetector } from './detect.js'
import type { KmsgFollower } from './follow.js'
import { type KmsgRecord, linesOfRecord } from './kmsg.js'
import { newTrouble, taintSplat } from './taint.js'
import { isSplat, type Splat } from './types.js'

/** How long the end of a test waits for a report that another CPU is printing, in ms. */
const SETTLE_MS = 250
const SETTLE_STEP_MS = 5
/** Names of tests that are remembered for late reports of their threads. */
const TESTS_REMEMBERED = 256

export interface WatchedTest {
  /** Without spaces. */
  readonly id: string
  readonly name: string
}

export interface TroubleWatchOptions {
  /** `slowdown` of the guest: waiting for a report in the making is stretched by it. */
  readonly slowdown?: number
  /**
   * Whether the calling thread is renamed `gmem-tN` for each test; its new threads inherit that. Default
   * true.
   */
  readonly renameThread?: boolean
}

/**
 * Says what the kernel complained about in a test's window. Inside the guest only, in the thread that runs
 * the tests.
 */
export class TroubleWatch {
  readonly #detector = new SplatDetector()
  readonly #tests = new Map<string, WatchedTest>()
  readonly #taintFile: number
  readonly #warnOnceFile: number | null
  readonly #commFile: number | null
  readonly #settleMs: number
  readonly #buffer = Buffer.allocUnsafe(32)
  #taint = 0n
  /** What the file said when it was read last. */
  #taintText = ''
  /**
   * Whether the last look found a report: the kernel raises the taint after printing it, perhaps after that
   * look.
   */
  #explained = false
  #comm = ''
  #count = 0

  /** What the kernel complained about from its boot until the watch began: no test's, but somebody's. */
  readonly atBoot: readonly Splat[]

  /** Throws where /proc is not mounted. */
  constructor(
    readonly follower: KmsgFollower,
    options: TroubleWatchOptions = {},
  ) {
    this.#settleMs = SETTLE_MS * (options.slowdown ?? 1)
    this.#taintFile = openSync('/proc/sys/kernel/tainted', 'r')
    this.#warnOnceFile = openOptional('/sys/kernel/debug/clear_warn_once')
    this.#commFile = options.renameThread === false ? null : openOptional('/proc/thread-self/comm')
    this.atBoot = this.#collect('watch begins', '')
  }

  /** Whether WARN_ONCE fires again for every test: needs debugfs at /sys/kernel/debug. */
  get rearmsWarnOnce(): boolean {
    return this.#warnOnceFile !== null
  }

  /**
   * Starts a test's window. Returns what came after the end of the one before, or after the watch began: no
   * window holds it.
   */
  begin(test: WatchedTest): Splat[] {
    this.#count += 1
    const comm = `gmem-t${this.#count}`
    const between = this.#collect(`test start ${test.id} ${test.name}`, '')
    this.#tests.set(comm, test)
    this.#tests.delete(`gmem-t${this.#count - TESTS_REMEMBERED}`)
    this.#comm = comm
    if (this.#commFile !== null) writeSync(this.#commFile, comm)
    this.resetWarnOnce()
    return between
  }

  /** Ends the window and returns what the kernel complained about in it, each fingerprint once. */
  end(): Splat[] {
    return this.#collect(`test end ${this.#tests.get(this.#comm)?.id ?? ''}`, this.#comm)
  }

  /** Lets every WARN_ONCE, and what else is printed once, fire again (kernel/panic.c, clear_warn_once). */
  resetWarnOnce(): void {
    if (this.#warnOnceFile !== null) writeSync(this.#warnOnceFile, '1')
  }

  close(): void {
    for (const file of [this.#taintFile, this.#warnOnceFile, this.#commFile])
      if (file !== null) closeSync(file)
  }

  #collect(mark: string, current: string): Splat[] {
    this.#read(this.follower.drainToMark(mark))
    for (let waited = 0; this.#detector.busy && waited < this.#settleMs; waited += SETTLE_STEP_MS) {
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, SETTLE_STEP_MS)
      this.#read(this.follower.drain())
    }
    const splats = foldSplats(this.#detector.flush()).map((splat) => this.#attribute(splat, current))
    splats.push(...this.#secondWitness(splats.some(isSplat)))
    const lost = this.follower.takeLost()
    if (lost > 0) splats.push(lostLog(lost, this.follower.nextSeq))
    return splats
  }

  /** Taint of trouble that nothing in the log accounts for. */
  #secondWitness(reported: boolean): Splat[] {
    const taint = this.#readTaint()
    const rose = newTrouble(this.#taint, taint)
    const explained = reported || this.#explained
    this.#taint = taint
    this.#explained = reported
    return rose.length === 0 || explained ? [] : [taintSplat(rose, this.follower.nextSeq)]
  }

  #read(records: readonly KmsgRecord[]): void {
    for (const record of records) for (const line of linesOfRecord(record)) this.#detector.push(line)
  }

  /** Threads keep the name that their creator had, so a late report still names its test. */
  #attribute(splat: Splat, current: string): Splat {
    const comm = splat.task?.comm ?? ''
    const test = comm === current ? undefined : this.#tests.get(comm)
    return test === undefined ? splat : { ...splat, earlierTest: test.id }
  }

  #readTaint(): bigint {
    const size = readSync(this.#taintFile, this.#buffer, 0, this.#buffer.length, 0)
    const text = this.#buffer.toString('latin1', 0, size)
    if (text === this.#taintText) return this.#taint
    this.#taintText = text
    return BigInt(text.trim())
  }
}

function openOptional(path: string): number | null {
  try {
    return openSync(path, 'w')
  } catch {
    return null
  }
}

function lostLog(lost: number, seq: number): Splat {
  return {
    kind: 'lost-log',
    title: 'kernel log records were overwritten before they were read',
    fingerprint: 'lost-log',
    task: null,
    cpu: null,
    function: null,
    fileLine: null,
    text:
      `${lost} records of /dev/kmsg were overwritten before gmem read them; a splat may have been among` +
      ' them. A larger log_buf_len= helps.',
    firstSeq: seq,
    lastSeq: seq,
    count: 1,
    fatal: false,
  }
}
