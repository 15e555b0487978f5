// SPDX-License-Identifier: Apache-2.0
import type { PoolWorker, WorkerRequest } from 'vitest/node'
import type { MachineExit } from '../qemu/machine.js'
import { type Death, describeDeath } from './death.js'
import { HangWatch } from './hang.js'
import { collectHangEvidence } from './hang-evidence.js'
import { LeakSearch } from './leak-search.js'
import { Ledger } from './ledger.js'
import { ListeningWorker } from './listening-worker.js'
import { ModulesAhead } from './modules-ahead.js'
import type { GuestMessage, GuestMessageOf } from './protocol.js'
import type { Session } from './session.js'
import type { SessionSource } from './source.js'

/** A file whose tests keep killing the kernel gets this many fresh VMs, so that a run always ends. */
const VMS_PER_FILE_MAX = 64

/**
 * vitest's view of one VM: vitest talks to a worker, and the worker outlives its VMs. When a kernel dies, hangs or splats, the
 * worker starts a fresh VM and has it run the same file with the ledger: what had a result is replayed, the culprit fails
 * with what was seen, the rest runs. vitest notices nothing but the time.
 */
export class KernelPoolWorker extends ListeningWorker implements PoolWorker {
  readonly name = 'gmem'
  readonly reportMemory = false
  readonly #ledger: Ledger
  #session: Session | null = null
  #hang: HangWatch | null = null
  #startRequest: WorkerRequest | null = null
  #runRequest: WorkerRequest | null = null
  /** The guest's worker has started: it takes a run. */
  #isReady = false
  /** The VM is not what it was: something failed in it, or its modules or settings were changed. */
  #isSpoilt = false
  #failure: unknown = null
  readonly #leakSearch = new LeakSearch()
  readonly #ahead = new ModulesAhead((question) => this.emit('message', question))
  #vms = 0
  #stopped = false

  constructor(readonly source: SessionSource) {
    super()
    this.#ledger = new Ledger(source.options.retries ?? 1)
  }

  /** Returns before there is a VM: vitest gives a worker 90 s to start, and a debug kernel may take longer to boot. */
  async start(): Promise<void> {
    void this.#bringUp()
  }

  async stop(): Promise<void> {
    this.#stopped = true
    this.#hang?.close()
    await this.#session?.close()
  }

  send(message: WorkerRequest): void {
    if (this.#ahead.takes(message)) return
    if (message.type === 'stop') {
      // The VM is thrown away: there is nothing in it to tear down, and a hung one would never answer.
      this.emit('message', { type: 'stopped', __vitest_worker_response__: true })
      return
    }
    if (message.type === 'start') {
      this.#startRequest = message
      this.emit('message', { type: 'started', __vitest_worker_response__: true })
    }
    if (message.type === 'run' || message.type === 'collect') {
      this.#runRequest = message
      this.#ahead.begin(message)
      if (this.#isReady) this.#sendRun()
      if (this.#failure !== null) this.emit('error', this.#failure)
      return
    }
    this.#session?.send({ type: 'vitest', message })
  }

  /** Gets a VM and has its worker start; what is to run follows when it has. */
  async #bringUp(): Promise<void> {
    try {
      // What something has happened to is tried again in a fresh VM.
      const session = await this.source.take({ fresh: this.#vms > 0 })
      if (this.#stopped) return void (await session.close())
      this.#adopt(session)
      if (this.#startRequest) session.send({ type: 'vitest', message: this.#startRequest })
    } catch (error) {
      this.#fail(error)
    }
  }

  /** Nothing more will run: vitest listens for that once it has asked for a run. */
  #fail(error: unknown): void {
    if (this.#stopped) return
    this.#failure = error
    if (this.#runRequest !== null) this.emit('error', error)
  }

  #adopt(session: Session): void {
    this.#session = session
    this.#isReady = false
    this.#isSpoilt = false
    this.#vms += 1
    session.on('message', (message) => this.#receive(session, message))
    session.on('exit', (exit) => this.#onExit(session, exit))
    this.#hang?.close()
    this.#ledger.newVm()
    const limits = { ...this.source.options, slowdown: this.source.slowdown }
    this.#hang = new HangWatch(session, limits, (what) => void this.#onHang(session, what))
    if (session.exit) this.#onExit(session, session.exit)
  }

  #receive(session: Session, message: GuestMessage): void {
    if (session !== this.#session) return
    switch (message.type) {
      case 'vitest':
        this.#forward(message.message)
        break
      case 'test-start':
        session.testStarts(message)
        this.#ledger.started(message.test)
        this.#hang?.testStarted(message.test)
        break
      case 'kernel-changed':
        this.#isSpoilt = true
        break
      case 'test-end':
        this.#onTestEnd(session, message)
        break
      case 'late-splat': {
        const result = this.#ledger.condemn(message.testId, message.error, message.splats)
        if (session.isUsed) this.#ledger.doubt(message.testId, result, session.useText)
        void this.#replace(session)
        break
      }
      case 'coverage':
        this.source.options.onCoverage?.(message.test, message.objects)
        break
      case 'file-leak':
        this.#lookForLeak(session, message.what)
        break
      default:
        break
    }
  }

  #onTestEnd(session: Session, { test, result, replaceVm }: GuestMessageOf<'test-end'>): void {
    const isFailed = result.status === 'fail'
    if (isFailed && replaceVm && session.isUsed) this.#ledger.doubt(test.id, result, session.useText)
    else this.#ledger.finished(test, result)
    if (isFailed || result.knownIssue !== undefined) this.#isSpoilt = true
    this.#hang?.testEnded()
    if (replaceVm) void this.#replace(session)
  }

  #forward(message: unknown): void {
    const response = message as { type?: string; error?: unknown; __vitest_worker_response__?: boolean }
    if (response.__vitest_worker_response__) {
      if (response.type === 'started') {
        this.#onStarted(response.error)
        return
      }
      if (response.type === 'testfileFinished') {
        this.#runRequest = null
        // Before vitest hears of it: it asks for the next file's VM before it stops this worker.
        this.#handOn()
      }
    }
    this.emit('message', message)
  }

  /** Gives the VM back, where it is as it was, for the next file. */
  #handOn(): void {
    const session = this.#session
    if (session === null || this.#isSpoilt || !this.#leakSearch.isIdle) return
    this.#session = null
    this.#ahead.attach(null)
    this.#hang?.close()
    void this.source.giveBack(session)
  }

  #onExit(session: Session, exit: MachineExit): void {
    if (session !== this.#session || this.#stopped) return
    void this.#mourn(session, { kind: 'exit', exit })
  }

  async #onHang(session: Session, what: string): Promise<void> {
    if (session !== this.#session || this.#stopped) return
    this.#session = null
    const { consoleBytes } = session
    const evidence = await collectHangEvidence(session)
    await session.close()
    await this.#mourn(session, { kind: 'hang', what, evidence, consoleBytes })
  }

  /** A VM has died: pin it on the test that ran, then go on in a fresh one. */
  async #mourn(session: Session, death: Death): Promise<void> {
    const { suspect } = this.#ledger
    const report = await describeDeath(session, death, suspect?.when ?? 'while no test ran')
    const { error } = report
    this.source.options.onEvent?.({
      type: 'death',
      message: error.message,
      console: session.machine.consoleFile,
      ...(suspect && { test: suspect.test.name }),
    })
    if (this.#runRequest === null || !this.#ledger.blame(report, session.isUsed)) {
      return this.emit('error', Object.assign(new Error(error.message), { name: error.name }))
    }
    await this.#replace(session)
  }

  async #replace(old: Session): Promise<void> {
    this.#session = null
    this.#hang?.close()
    await old.close()
    if (this.#stopped) return
    if (this.#vms >= VMS_PER_FILE_MAX) {
      return this.emit(
        'error',
        new Error(`gmem: ${this.#vms} VMs died in one test file; the rest of it did not run`),
      )
    }
    await this.#bringUp()
  }

  #lookForLeak(session: Session, what: string): void {
    const { again, text } = this.#leakSearch.found(this.#runRequest, what)
    this.source.options.onEvent?.({ type: 'note', text })
    if (again) this.#ledger.forget()
    void this.#replace(session)
  }

  #onStarted(error: unknown): void {
    if (error !== undefined) {
      this.#fail(error)
      return
    }
    this.#isReady = true
    if (this.#runRequest !== null) this.#sendRun()
  }

  #sendRun(): void {
    const { policy: usual } = this.source
    const isUsedVm = this.#session?.isUsed === true
    const policy = { ...usual, leaks: this.#leakSearch.policyAfter(usual.leaks), isUsedVm }
    this.#session?.send({ type: 'ledger', policy, entries: this.#ledger.entries() })
    if (this.#runRequest) this.#session?.send({ type: 'vitest', message: this.#runRequest })
    this.#ahead.attach(this.#session)
  }
}
