// SPDX-License-Identifier: Apache-2.0
import { relative } from 'node:path'
import { restoreKvm } from '../../testing/kvm-module.js'
import { recordError, type TestInfo, type TestObserver, type TestResult } from '../../testing/lifecycle.js'
import type { LedgerEntry, TestIdentity, TroublePolicy } from '../protocol.js'
import { CoverageReader } from './coverage.js'
import type { GuestPort } from './port.js'
import { areSettingsChanged, rememberSettings } from './settings.js'
import { countFresh, countShrunk, type JudgedSplat, KernelSplatError, TroubleGate } from './trouble.js'

/**
 * Stands around every test in the guest: tells the host what runs and what came of it, so that a dying kernel takes no result along;
 * replays what an earlier VM had found out; reads the kernel's log when the body is done.
 */
export class Observer implements TestObserver {
  readonly #entries = new Map<string, LedgerEntry>()
  /** Present where the run counts what of the kernel its tests reach. */
  #coverage: CoverageReader | null = null
  #gate = new TroubleGate({ splats: 'off', allow: '', leaks: 'off' })

  constructor(readonly port: GuestPort) {}

  get detectsSplats(): boolean {
    return this.#gate.policy.splats !== 'off'
  }

  /** What the host knows of the file that runs next. */
  begin(policy: TroublePolicy, entries: readonly (readonly [string, LedgerEntry])[]): void {
    rememberSettings()
    this.#gate = new TroubleGate(policy)
    this.#coverage = process.env.GMEM_COVERAGE === '1' ? new CoverageReader() : null
    this.#entries.clear()
    for (const [id, entry] of entries) this.#entries.set(id, entry)
  }

  replay(info: TestInfo): TestResult | null {
    const entry = this.#entries.get(info.id)
    return entry?.kind === 'finished' ? entry.result : null
  }

  onKernelChanged(): void {
    this.port.send({ type: 'kernel-changed' })
  }

  async onTestStart(info: TestInfo): Promise<void> {
    await this.#reportLate(this.#gate.open(info), info)
    this.port.send({ type: 'test-start', test: identify(info), logTimeUs: this.#gate.windowStartUs })
    this.#coverage?.reset()
  }

  async check(info: TestInfo, again: () => Promise<unknown>): Promise<Error | null> {
    const objects = this.#coverage?.read()
    if (objects) this.port.send({ type: 'coverage', test: identify(info), objects })
    const complaint = await this.#gate.close(info, again)
    // A kernel that an earlier test broke tells nothing about this one, which runs again elsewhere.
    await this.#reportLate(this.#gate.takeStrays(), info)
    return complaint
  }

  async onTestEnd(info: TestInfo, result: TestResult): Promise<Error | null> {
    const flaky = this.#flakiness(info, result)
    const isDoubtful = result.status === 'fail' && this.#gate.policy.isUsedVm === true
    // A body that its time limit left behind still runs, and would disturb the tests after it.
    const replaceVm = this.#gate.isTainted || result.error?.name === 'TestTimeoutError' || isDoubtful
    // The VM takes along what its earlier tests may have left.
    if (this.#gate.isTainted) await this.#reportFileLeak()
    if (result.knownIssue !== undefined) excuseSplats(info, result.knownIssue.id)
    const final: TestResult = {
      ...result,
      ...(flaky && { status: 'fail', error: { name: flaky.name, message: flaky.message } }),
      meta: { ...info.meta },
    }
    this.port.send({ type: 'test-end', test: identify(info), result: final, replaceVm })
    if (replaceVm) await this.#forever()
    return flaky
  }

  /** After the last test of a file: what the kernel said since, and what is left of it. */
  async settle(): Promise<void> {
    await this.#reportLate(this.#gate.late(), null)
    if (this.#gate.policy.rehearsal) {
      restoreKvm()
      countShrunk()
      return
    }
    await this.#reportFileLeak()
    if (!this.#isAsNew()) this.onKernelChanged()
  }

  /** Whether the next file may have this kernel, once KVM is as it came. */
  #isAsNew(): boolean {
    try {
      if (restoreKvm()) countFresh()
    } catch {
      // Something still uses it.
      return false
    }
    return !this.#gate.hasComplained && !areSettingsChanged()
  }

  async #reportFileLeak(): Promise<void> {
    const leak = await this.#gate.fileLeak()
    if (leak === '') return
    this.port.send({ type: 'file-leak', what: leak })
    await this.#forever()
  }

  /** A splat between two windows belongs to a test that has its result already: the host takes that back. */
  async #reportLate(late: readonly JudgedSplat[], next: TestInfo | null): Promise<void> {
    if (late.length === 0) return
    const culprit =
      late.find((splat) => splat.earlierTest !== undefined)?.earlierTest ?? this.#gate.last?.id ?? next?.id
    if (culprit === undefined) return
    const when = culprit === next?.id ? 'before the first test of this file' : 'right after this test'
    this.port.send({
      type: 'late-splat',
      testId: culprit,
      error: recordError(new KernelSplatError(late, when)),
      splats: late,
    })
    await this.#forever()
  }

  /** The host takes this VM away now, and nothing more may start in it. */
  async #forever(): Promise<void> {
    if (!this.#gate.policy.rehearsal) await new Promise<never>(() => {})
  }

  /** A test that killed or failed on one kernel and ended otherwise on a fresh one must not look as if nothing had happened. */
  #flakiness(info: TestInfo, result: TestResult): Error | null {
    const entry = this.#entries.get(info.id)
    if (entry === undefined || entry.kind === 'finished') return null
    // It fails in a fresh VM, too: what other files had to do with the first failure does not matter.
    if (entry.kind === 'doubt' && result.status === 'fail') return null
    const { splats } = info.meta
    Object.assign(info.meta, entry.meta)
    if (Array.isArray(splats)) info.meta.splats = [...splats, ...(entry.meta.splats as JudgedSplat[])]
    const now =
      result.status === 'pass' ? 'passed' : `failed (${result.error?.name}: ${result.error?.message})`
    const message = `flaky: in a fresh VM it ${now}, but before that ${entry.earlier.message}`
    return Object.assign(new Error(message), { name: entry.kind === 'doubt' ? 'FlakyFailure' : 'FlakyDeath' })
  }
}

/** A splat that is the known issue itself is not a further finding. */
function excuseSplats(info: TestInfo, issue: string): void {
  const { splats } = info.meta
  if (!Array.isArray(splats)) return
  info.meta.splats = splats.map((splat: JudgedSplat) => ({ ...splat, allowed: `known issue ${issue}` }))
  delete info.meta.failure
}

// Asked for twice in each test, and always the same file.
let lastFile = { path: '', shown: '' }

function identify(info: TestInfo): TestIdentity {
  if (lastFile.path !== info.file) lastFile = { path: info.file, shown: relative(process.cwd(), info.file) }
  return { id: info.id, file: lastFile.shown, name: info.name, timeoutMs: info.timeoutMs }
}
