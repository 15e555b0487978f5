// SPDX-License-Identifier: Apache-2.0
import type { PoolWorker, WorkerRequest } from 'vitest/node'
import type { MachineExit } from '../qemu/machine.js'
import { type Death, describeDeath } from './death.js'
import { HangWatch } from './hang.js'
import { collectHangEvidence } from './hang-evidence.js'
import { Ledger } from './ledger.js'
import type { GuestMessage } from './protocol.js'
import type { Session } from './session.js'
import type { SessionSource } from './source.js'

/** A file whose tests keep killing the kernel gets this many fresh VMs, so that a run always ends. */
const VMS_PER_FILE_MAX = 64

type Listener = (argument: unknown) => void

/**
 * vitest's view of one VM: vitest talks to a worker, and the worker outlives its VMs. When a kernel dies, hangs or splats, the
 * worker starts a fresh VM and has it run the same file with the ledger: what had a result is replayed, the culprit fails
 * with what was seen, the rest runs. vitest notices nothing but the time.
 */
export class KernelPoolWorker implements PoolWorker {
  readonly name = 'gmem'
  readonly reportMemory = false
  // With a file-system cache vitest would send paths of the host's temporary folder, which the guest does not have.
  readonly cacheFs = false
  readonly #listeners = new Map<string, Set<Listener>>()
  readonly #ledger: Ledger
  #session: Session | null = null
  #hang: HangWatch | null = null
  #startRequest: WorkerRequest | null = null
  #runRequest: WorkerRequest | null = null
  #replaying = false
  #thorough = false
  #vms = 0
  #stopped = false

  constructor(readonly source: SessionSource) {
    this.#ledger = new Ledger(source.options.retries ?? 1)
  }

  on(event: string, callback: Listener): void {
    const set = this.#listeners.get(event) ?? new Set()
    this.#listeners.set(event, set.add(callback))
  }

  off(event: string, callback: Listener): void {
    this.#listeners.get(event)?.delete(callback)
  }

  deserialize(data: unknown): unknown {
    return data
  }

  async start(): Promise<void> {
    this.#adopt(await this.source.take())
  }

  async stop(): Promise<void> {
    this.#stopped = true
    this.#hang?.close()
    await this.#session?.close()
  }

  send(message: WorkerRequest): void {
    if (message.type === 'stop') {
      // The VM is thrown away: there is nothing in it to tear down, and a hung one would never answer.
      this.#emit('message', { type: 'stopped', __vitest_worker_response__: true })
      return
    }
    if (message.type === 'start') this.#startRequest = message
    if (message.type === 'run' || message.type === 'collect') {
      this.#runRequest = message
      this.#sendLedger()
    }
    this.#session?.send({ type: 'vitest', message })
  }

  #adopt(session: Session): void {
    this.#session = session
    this.#vms += 1
    session.on('message', (message) => this.#receive(session, message))
    session.on('exit', (exit) => this.#onExit(session, exit))
    this.#hang?.close()
    this.#ledger.newVm()
    const { slowdown, options } = this.source
    const limits = { slowdown, silenceMs: options.silenceMs }
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
        session.testStartUs = message.logTimeUs
        this.#ledger.started(message.test)
        this.#hang?.testStarted(message.test)
        break
      case 'test-end':
        this.#ledger.finished(message.test, message.result)
        this.#hang?.testEnded()
        if (message.replaceVm) void this.#replace(session)
        break
      case 'late-splat':
        this.#ledger.condemn(message.testId, message.error, message.splats)
        void this.#replace(session)
        break
      case 'slab-leak':
        this.#lookForLeak(session, message.what)
        break
      default:
        break
    }
  }

  #forward(message: unknown): void {
    const response = message as { type?: string; __vitest_worker_response__?: boolean }
    if (response.__vitest_worker_response__) {
      if (response.type === 'started' && this.#replaying) {
        this.#replayRun()
        return
      }
      if (response.type === 'testfileFinished') this.#runRequest = null
    }
    this.#emit('message', message)
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
    if (this.#runRequest === null || !this.#ledger.blame(report)) {
      return this.#emit('error', Object.assign(new Error(error.message), { name: error.name }))
    }
    await this.#replace(session)
  }

  async #replace(old: Session): Promise<void> {
    this.#session = null
    this.#hang?.close()
    await old.close()
    if (this.#stopped) return
    if (this.#vms >= VMS_PER_FILE_MAX) {
      return this.#emit(
        'error',
        new Error(`gmem: ${this.#vms} VMs died in one test file; the rest of it did not run`),
      )
    }
    try {
      const session = await this.source.take()
      this.#replaying = true
      this.#adopt(session)
      if (this.#startRequest) session.send({ type: 'vitest', message: this.#startRequest })
    } catch (error) {
      this.#emit('error', error)
    }
  }

  /** Finds the test that left slab objects behind: the whole file again, in a fresh VM, looking after each test. */
  #lookForLeak(session: Session, what: string): void {
    if (this.#thorough) {
      this.#emit('error', new Error(`gmem: this file left behind: ${what}; no single test of it shows that`))
      return
    }
    this.#thorough = true
    this.#ledger.forget()
    void this.#replace(session)
  }

  #replayRun(): void {
    this.#replaying = false
    this.#sendLedger()
    if (this.#runRequest) this.#session?.send({ type: 'vitest', message: this.#runRequest })
  }

  #sendLedger(): void {
    const { policy: ordinary } = this.source
    const policy = this.#thorough ? { ...ordinary, leaks: 'thorough' as const } : ordinary
    this.#session?.send({ type: 'ledger', policy, entries: this.#ledger.entries() })
  }

  #emit(event: string, argument: unknown): void {
    for (const listener of this.#listeners.get(event) ?? []) listener(argument)
  }
}
