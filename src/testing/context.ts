// SPDX-License-Identifier: Apache-2.0
import { Kvm } from '../kvm/index.js'
import { probeTarget } from './probe-target.js'
import type { TargetInfo } from './target.js'

/** What a test's body gets. */
export interface GmemContext {
  /** /dev/kvm, opened at first use and closed after the test with everything made from it. */
  readonly kvm: Kvm
  /** What the target offers. A test should not look: it states needs. */
  readonly target: TargetInfo
  /** Aborted when the test's time is up or the run is cancelled. */
  readonly signal: AbortSignal
  /** Runs after the body, last deferred first, before `kvm` is closed. */
  defer(cleanUp: () => void | Promise<void>): void
  /** A line in the reports. */
  annotate(message: string, type?: string): void
}

/** The context of one test, and its clean-up. */
export class TestScope implements GmemContext {
  readonly signal: AbortSignal
  readonly #annotate: (message: string, type?: string) => void
  readonly #deferred: (() => void | Promise<void>)[] = []
  #kvm: Kvm | null = null

  constructor(signal: AbortSignal, annotate: (message: string, type?: string) => void) {
    this.signal = signal
    this.#annotate = annotate
  }

  get kvm(): Kvm {
    this.#kvm ??= Kvm.open()
    return this.#kvm
  }

  get target(): TargetInfo {
    return probeTarget()
  }

  // Arrow functions: bodies destructure the context.
  readonly defer = (cleanUp: () => void | Promise<void>): void => {
    this.#deferred.push(cleanUp)
  }

  readonly annotate = (message: string, type?: string): void => {
    this.#annotate(message, type)
  }

  /** Runs what was deferred and closes KVM, even when some of it fails; throws the first failure. */
  async cleanUp(): Promise<void> {
    const errors: unknown[] = []
    for (const step of [...this.#deferred.reverse(), () => this.closeKvm()]) {
      try {
        await step()
      } catch (error) {
        errors.push(error)
      }
    }
    if (errors.length > 0) throw errors[0]
  }

  /** Kicks what still runs: its operations end. */
  closeKvm(): void {
    this.#kvm?.close()
  }
}
