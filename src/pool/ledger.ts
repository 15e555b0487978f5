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
  readonly #deaths = new Map<string, BookedDeath[]>()
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
   * Books a death on the suspect, who runs again if it may: always, where other files had run in the VM. Without a suspect the file
   * itself (an import, a hook) gets as many retries; returns false where it has had them.
   */
  blame(death: DeathReport, isUsedVm = false): boolean {
    const { suspect } = this
    if (suspect === null) {
      if (!isUsedVm) this.#unexplained += 1
      return this.#unexplained <= this.retries
    }
    const { id } = suspect.test
    const deaths = [...(this.#deaths.get(id) ?? []), { ...death, isUsedVm }]
    this.#deaths.set(id, deaths)
    const meta = { failure: death.failure, splats: [...death.splats] }
    this.#entries.set(
      id,
      isUsedVm || deaths.length <= this.retries
        ? { kind: 'retry', earlier: death.error, meta }
        : { kind: 'finished', result: { status: 'fail', durationMs: 0, error: verdict(deaths), meta } },
    )
    return true
  }

  /**
   * Books a failure that is no verdict yet, because other files had run in the VM: the whole file runs again in a fresh one. `where` says in
   * which VM, for the report of a test that passes there.
   */
  doubt(testId: string, result: TestResult, where: string): void {
    const { name, message, stack } = result.error ?? { name: 'Error', message: 'it failed without an error' }
    const earlier = { name, message: `${where} it failed: ${name}: ${message}`, ...(stack && { stack }) }
    this.forget()
    this.#entries.set(testId, { kind: 'doubt', earlier, meta: result.meta ?? {} })
    this.#running = null
  }

  /** Takes a result back: the kernel complained when it had been given. */
  condemn(testId: string, error: RecordedError, splats: readonly Splat[]): TestResult {
    const known = this.#entries.get(testId)
    const given: TestResult = known?.kind === 'finished' ? known.result : { status: 'fail', durationMs: 0 }
    const meta = { ...given.meta, splats: [...splats], failure: 'splat' }
    const result: TestResult = { ...given, status: 'fail', error, meta }
    this.#entries.set(testId, { kind: 'finished', result })
    return result
  }

  /** Starts over: the file is run anew, but for the tests that killed a VM; what was doubtful stays so. */
  forget(): void {
    for (const [id, entry] of this.#entries) {
      if (entry.kind !== 'doubt' && !this.#deaths.has(id)) this.#entries.delete(id)
    }
  }

  entries(): (readonly [string, LedgerEntry])[] {
    return [...this.#entries]
  }
}

/** `isUsedVm`: other files had run in the VM before. */
type BookedDeath = DeathReport & { readonly isUsedVm: boolean }

function verdict(deaths: readonly BookedDeath[]): RecordedError {
  const [first, ...others] = deaths.map(({ error }) => error)
  if (first === undefined) throw new Error('a verdict needs a death')
  if (others.length === 0) return first
  const other = others.find((error) => kindOf(error) !== kindOf(first))
  const again = other
    ? `In a fresh VM it ended otherwise: ${other.message}`
    : `Deterministic: the same in ${timesText(deaths)}.`
  return { ...first, message: `${first.message}\n\n${again}` }
}

function timesText(deaths: readonly BookedDeath[]): string {
  const fresh = deaths.filter(({ isUsedVm }) => !isUsedVm).length
  const inFresh = `${fresh} of ${fresh} fresh VMs`
  return fresh === deaths.length ? inFresh : `a VM in which other files had run, and in ${inFresh}`
}

/** Times and counts differ from one hang to the next. */
function kindOf({ stack = '' }: RecordedError): string {
  return stack.replace(/\d+/g, '#')
}
