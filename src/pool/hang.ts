// SPDX-License-Identifier: Apache-2.0
import { GuestClock } from './guest-clock.js'
import type { TestIdentity } from './protocol.js'
import type { Session } from './session.js'

/** How often the watch looks, in ms. */
const LOOK_MS = 500
/** A guest whose event loop says nothing for this long hangs, in ms of its own time at full speed, ... */
const SILENCE_MS = 20_000
/** ... and on a slow one: a single system call that takes longer is a finding on any machine. */
const SILENCE_MS_MAX = 35_000
/** What a test gets beyond its limit (stretched by the guest): there it ends by itself, and joins its vCPUs. */
const GRACE_MS = 20_000
/**
 * How long a file may go on without a test that begins or ends. vitest limits hooks, but nobody an import that waits for ever, and the
 * guest's event loop is well all the while. A hook with a limit of its own may take longer than any test: hence minutes.
 */
const BETWEEN_TESTS_MS = 300_000

/**
 * Sees from outside what the guest cannot tell: an event loop stuck in the kernel, a test that outlives its time limit, a guest that
 * answers nobody, a file that neither goes on nor ends. All times are the guest's own (see GuestClock), so that a busy host is no hang.
 */
export class HangWatch {
  readonly #timer: NodeJS.Timeout
  readonly #clock: GuestClock
  readonly #silenceMs: number
  readonly #betweenTestsMs: number
  #heard: number
  #heardAtMs = 0
  /** The test that runs, null between tests; and since when. */
  #phase: { readonly test: TestIdentity | null; readonly sinceMs: number } = { test: null, sinceMs: 0 }

  /** `silenceMs` and `betweenTestsMs`: instead of what is usual, for a guest that is `slowdown` times slower than the host. */
  constructor(
    readonly session: Session,
    limits: {
      readonly slowdown: number
      readonly silenceMs?: number | undefined
      readonly betweenTestsMs?: number | undefined
    },
    readonly onHang: (what: string) => void,
  ) {
    this.#clock = new GuestClock(session.machine.pid)
    this.#silenceMs = limits.silenceMs ?? Math.min(SILENCE_MS * limits.slowdown, SILENCE_MS_MAX)
    this.#betweenTestsMs = limits.betweenTestsMs ?? BETWEEN_TESTS_MS
    this.#heard = session.chunksHeard
    this.#timer = setInterval(() => this.#look(), LOOK_MS)
    this.#timer.unref()
  }

  testStarted(test: TestIdentity): void {
    this.#phase = { test, sinceMs: this.#clock.tick() }
  }

  testEnded(): void {
    this.#phase = { test: null, sinceMs: this.#clock.tick() }
  }

  close(): void {
    clearInterval(this.#timer)
  }

  #look(): void {
    const nowMs = this.#clock.tick()
    if (this.#heard !== this.session.chunksHeard) this.#heardAtMs = nowMs
    this.#heard = this.session.chunksHeard
    const { test, sinceMs } = this.#phase
    const lastedMs = nowMs - sinceMs
    if (test !== null && lastedMs > test.timeoutMs + GRACE_MS) {
      this.#report(`the test still ran after ${seconds(lastedMs)} (its limit is ${seconds(test.timeoutMs)})`)
      return
    }
    if (test === null && lastedMs > this.#betweenTestsMs) {
      this.#report(`no test began or ended for ${seconds(lastedMs)}, and the file did not end`)
      return
    }
    const silentMs = nowMs - this.#heardAtMs
    if (silentMs > this.#silenceMs) this.#report(`no sign of life for ${seconds(silentMs)}`)
  }

  #report(what: string): void {
    this.close()
    this.onHang(what)
  }
}

function seconds(ms: number): string {
  return `${(ms / 1000).toFixed(1)} s`
}
