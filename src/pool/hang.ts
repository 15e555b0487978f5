// SPDX-License-Identifier: Apache-2.0
import type { TestIdentity } from './protocol.js'
import type { Session } from './session.js'

/** How often the watch looks, in ms. */
const LOOK_MS = 500
/** A guest whose event loop says nothing for this long, in ms on a machine at full speed, hangs. */
const SILENCE_MS = 20_000
/** What a test gets beyond its own time limit before the VM is given up: vitest's own timeout should come first. */
const GRACE_MS = 5_000

/**
 * Sees from outside what the guest cannot tell: an event loop stuck in the kernel, a test that outlives its time
 * limit (already stretched by the guest), a guest that answers nobody. Its own limits are stretched by `slowdown`.
 */
export class HangWatch {
  readonly #timer: NodeJS.Timeout
  #test: { identity: TestIdentity; sinceMs: number } | null = null

  constructor(
    readonly session: Session,
    readonly slowdown: number,
    readonly onHang: (what: string) => void,
  ) {
    this.#timer = setInterval(() => this.#look(), LOOK_MS)
    this.#timer.unref()
  }

  testStarted(identity: TestIdentity): void {
    this.#test = { identity, sinceMs: performance.now() }
  }

  testEnded(): void {
    this.#test = null
  }

  close(): void {
    clearInterval(this.#timer)
  }

  #look(): void {
    const now = performance.now()
    const silentMs = now - this.session.lastHeardMs
    if (this.#test !== null) {
      const limitMs = this.#test.identity.timeoutMs + GRACE_MS * this.slowdown
      const ranMs = now - this.#test.sinceMs
      if (ranMs > limitMs) return this.#report(`the test still ran after ${seconds(ranMs)} (its limit is ${seconds(limitMs)})`)
    }
    if (silentMs > SILENCE_MS * this.slowdown) this.#report(`no sign of life for ${seconds(silentMs)}`)
  }

  #report(what: string): void {
    this.close()
    this.onHang(what)
  }
}

function seconds(ms: number): string {
  return `${(ms / 1000).toFixed(1)} s`
}
