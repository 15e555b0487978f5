// SPDX-License-Identifier: Apache-2.0
import type { Splat } from '../splats/index.js'
import type { DeathReport } from './death.js'
import type { LedgerEntry, RecordedError, TestIdentity, TestResult } from './protocol.js'

/**
 * What is known of the tests of one file, whatever happens to the VM that runs them. A kernel that dies takes nothing
 * along: results that came before are replayed, and the death is booked on the test that ran.
 */
export class Ledger {
  readonly #entries = new Map<string, LedgerEntry>()
  readonly #deaths = new Map<string, DeathReport[]>()
  #running: TestIdentity | null = null
  #last: TestIdentity | null = null
  #unexplained = 0

  /** `retries`: how often a test that killed the kernel runs again in a fresh VM (1 tells flaky from deterministic). */
  constructor(readonly retries: number) {}

  /** Whom a death now is blamed on: the test that runs, else the one that ended last; null where this VM has run none. */
  get suspect(): { readonly test: TestIdentity; readonly when: string } | null {
    if (this.#running) return { test: this.#running, when: `during "${this.#running.name}"` }
    return this.#last && { test: this.#last, when: `right after "${this.#last.name}"` }
  }

  /** A fresh VM takes over: nothing has run in it. */
  newVm(): void {
    this.#running = null
    this.#last = null
  }

  started(test: TestIdentity): void {
    this.#running = test
  }

  finished(test: TestIdentity, result: TestResult): void {
    this.#entries.set(test.id, { kind: 'finished', result })
    this.#last = test
    if (this.#running?.id === test.id) this.#running = null
  }

  /**
   * Books a death on the suspect, who runs again if it may. Without one the file itself (an import, a hook) gets as many retries;
   * returns false where it has had them.
   */
  blame(death: DeathReport): boolean {
    const { suspect } = this
    if (suspect === null) {
      this.#unexplained += 1
      return this.#unexplained <= this.retries
    }
    const { id } = suspect.test
    const deaths = [...(this.#deaths.get(id) ?? []), death]
    this.#deaths.set(id, deaths)
    const meta = { failure: death.failure, splats: [...death.splats] }
    this.#entries.set(
      id,
      deaths.length <= this.retries
        ? { kind: 'retry', earlier: death.error, meta }
        : { kind: 'finished', result: { status: 'fail', durationMs: 0, error: verdict(deaths), meta } },
    )
    return true
  }

  /** Takes a result back: the kernel complained when it had been given. */
  condemn(testId: string, error: RecordedError, splats: readonly Splat[]): void {
    const known = this.#entries.get(testId)
    const result: TestResult = known?.kind === 'finished' ? known.result : { status: 'fail', durationMs: 0 }
    const meta = { ...result.meta, splats: [...splats], failure: 'splat' }
    this.#entries.set(testId, { kind: 'finished', result: { ...result, status: 'fail', error, meta } })
  }

  /** Starts over: the file is run anew, but for the tests that killed a VM. */
  forget(): void {
    for (const id of this.#entries.keys()) if (!this.#deaths.has(id)) this.#entries.delete(id)
  }

  entries(): (readonly [string, LedgerEntry])[] {
    return [...this.#entries]
  }
}

function verdict(deaths: readonly DeathReport[]): RecordedError {
  const [first, ...others] = deaths.map(({ error }) => error)
  if (first === undefined) throw new Error('a verdict needs a death')
  if (others.length === 0) return first
  const other = others.find((error) => kindOf(error) !== kindOf(first))
  const again = other
    ? `In a fresh VM it ended otherwise: ${other.message}`
    : `Deterministic: the same in ${deaths.length} of ${deaths.length} fresh VMs.`
  return { ...first, message: `${first.message}\n\n${again}` }
}

/** Times and counts differ from one hang to the next. */
function kindOf({ stack = '' }: RecordedError): string {
  return stack.replace(/\d+/g, '#')
}
