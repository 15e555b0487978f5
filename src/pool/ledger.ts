// SPDX-License-Identifier: Apache-2.0
import type { Splat } from '../splats/index.js'
import type { LedgerEntry, RecordedError, TestIdentity, TestResult } from './protocol.js'

/**
 * What is known of the tests of one file, whatever happens to the VM that runs them. A kernel that dies takes nothing
 * along: results that came before are replayed, and the death is booked on the test that ran.
 */
export class Ledger {
  readonly #entries = new Map<string, LedgerEntry>()
  readonly #deaths = new Map<string, RecordedError[]>()
  #running: TestIdentity | null = null

  /** `retries`: how often a test that killed the kernel runs again in a fresh VM (1 tells flaky from deterministic). */
  constructor(readonly retries: number) {}

  /** The test that runs now, or null between tests. */
  get running(): TestIdentity | null {
    return this.#running
  }

  started(test: TestIdentity): void {
    this.#running = test
  }

  finished(test: TestIdentity, result: TestResult): void {
    this.#entries.set(test.id, { kind: 'finished', result })
    if (this.#running?.id === test.id) this.#running = null
  }

  /** Books a death on the running test. Returns false where none ran: then there is nobody to blame. */
  blame(error: RecordedError): boolean {
    const test = this.#running
    if (test === null) return false
    this.#running = null
    const deaths = [...(this.#deaths.get(test.id) ?? []), error]
    this.#deaths.set(test.id, deaths)
    this.#entries.set(
      test.id,
      deaths.length <= this.retries
        ? { kind: 'retry', earlier: error }
        : { kind: 'finished', result: { status: 'fail', durationMs: 0, error: verdict(deaths) } },
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

  /** Starts over: the file is run anew. */
  forget(): void {
    this.#entries.clear()
    this.#running = null
  }

  entries(): (readonly [string, LedgerEntry])[] {
    return [...this.#entries]
  }
}

function verdict(deaths: readonly RecordedError[]): RecordedError {
  const [first] = deaths
  if (first === undefined) throw new Error('a verdict needs a death')
  if (deaths.length === 1) return first
  const same = deaths.every((death) => death.stack === first.stack)
  const again = same ? '' : `\n\nIn a fresh VM: ${deaths.at(-1)?.message ?? ''}`
  return {
    ...first,
    message: `${first.message}${again}\n\nDeterministic: ${deaths.length} of ${deaths.length} fresh VMs ended so.`,
  }
}
