// SPDX-License-Identifier: Apache-2.0
import { relative } from 'node:path'
import type { TestInfo, TestObserver, TestResult } from '../../testing/lifecycle.js'
import type { LedgerEntry, TestIdentity, TroublePolicy } from '../protocol.js'
import type { GuestPort } from './port.js'
import { TroubleGate } from './trouble.js'

/**
 * Stands around every test in the guest: tells the host what runs and what came of it, so that a dying kernel takes no result along;
 * replays what an earlier VM had found out; reads the kernel's log when the body is done.
 */
export class Observer implements TestObserver {
  readonly detectsSplats = true
  readonly #entries = new Map<string, LedgerEntry>()
  #gate = new TroubleGate({ splats: 'off', allow: '', leaks: false })

  constructor(readonly port: GuestPort) {}

  /** What the host knows of the file that runs next. */
  begin(policy: TroublePolicy, entries: readonly (readonly [string, LedgerEntry])[]): void {
    this.#gate = new TroubleGate(policy)
    this.#entries.clear()
    for (const [id, entry] of entries) this.#entries.set(id, entry)
  }

  replay(info: TestInfo): TestResult | null {
    const entry = this.#entries.get(info.id)
    return entry?.kind === 'finished' ? entry.result : null
  }

  async onTestStart(info: TestInfo): Promise<void> {
    this.port.send({ type: 'test-start', test: identify(info) })
    await this.port.flushed()
    this.#gate.open(info.name)
  }

  check(info: TestInfo): Error | null {
    return this.#gate.close(info.name)
  }

  async onTestEnd(info: TestInfo, result: TestResult): Promise<Error | null> {
    const flaky = this.#flakiness(info, result)
    const final: TestResult =
      flaky === null ? result : { ...result, status: 'fail', error: { name: flaky.name, message: flaky.message } }
    const replaceVm = this.#gate.isTainted
    this.port.send({ type: 'test-end', test: identify(info), result: final, replaceVm })
    // The host takes this VM away now; the next test must not start in it.
    if (replaceVm) await new Promise<never>(() => {})
    return flaky
  }

  /** A test that killed one kernel and passed on a fresh one must not look as if nothing had happened. */
  #flakiness(info: TestInfo, result: TestResult): Error | null {
    const entry = this.#entries.get(info.id)
    if (entry?.kind !== 'retry' || result.status !== 'pass') return null
    return Object.assign(new Error(`flaky: it passed in a fresh VM, but before that\n${entry.earlier.message}`), {
      name: 'FlakyDeath',
    })
  }
}

function identify(info: TestInfo): TestIdentity {
  return { id: info.id, file: relative(process.cwd(), info.file), name: info.name, timeoutMs: info.timeoutMs }
}
