// SPDX-License-Identifier: Apache-2.0
import type { Session } from './session.js'

/**
 * Copies of a saved VM that come up, and lose their KVM, while the kernel is still being built whose KVM modules they will get. What goes
 * wrong with one is nobody's loss: a VM is restored in its place.
 */
export class StandbyVms {
  readonly #waiting: Promise<Session | null>[]

  /** `likeness`: what a VM must be like for one of these to stand for it. */
  constructor(
    readonly likeness: string,
    making: readonly Promise<Session>[],
  ) {
    this.#waiting = making.map((one) => one.catch(() => null))
  }

  /** One of them, awake and without KVM; null where none is left, or these are others, which end then. */
  async take(likeness: string): Promise<Session | null> {
    if (likeness !== this.likeness) {
      await this.close()
      return null
    }
    for (let one = this.#waiting.shift(); one !== undefined; one = this.#waiting.shift()) {
      const session = await one
      if (session !== null && session.exit === null) return session
    }
    return null
  }

  /** Ends those that nobody took. */
  async close(): Promise<void> {
    const left = this.#waiting.splice(0)
    await Promise.all(left.map(async (one) => await (await one)?.close()))
  }
}
