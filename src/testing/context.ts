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
  readonly #cancelled: () => AbortSignal
  readonly #annotate: (message: string, type?: string) => void
  readonly #deferred: (() => void | Promise<void>)[] = []
  #kvm: Kvm | null = null
  #abort: AbortController | null = null
  #signal: AbortSignal | null = null

  /** `cancelled` gives the signal of a run that is cancelled. */
  constructor(cancelled: () => AbortSignal, annotate: (message: string, type?: string) => void) {
    this.#cancelled = cancelled
    this.#annotate = annotate
  }

  /** Made at first use: few tests look, and to an emulated guest it is as dear as a memslot. */
  get signal(): AbortSignal {
    this.#abort ??= new AbortController()
    this.#signal ??= AbortSignal.any([this.#abort.signal, this.#cancelled()])
    return this.#signal
  }

  /** The test's time is up. */
  abort(reason: Error): void {
    this.#abort ??= new AbortController()
    this.#abort.abort(reason)
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
