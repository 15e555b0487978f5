// SPDX-License-Identifier: Apache-2.0
import { join } from 'node:path'
import { firstLine, interruptedError } from '../errors.js'
import { SavedVmError } from '../qemu/errors.js'
import { type MachineOptions, type SavedState, startMachine } from '../qemu/machine.js'
import { parseAllowFile } from '../splats/index.js'
import { describeDeath } from './death.js'
import { exchangeKvm, notRestored, RELATED, unloadKvm } from './exchange.js'
import { groundOf, type Unsaved } from './ground.js'
import { hardwareOf } from './hardware.js'
import { hostCalibrationMs } from './host-calibration.js'
import { IdleVms } from './idle-vms.js'
import type { KernelPoolOptions, PoolEvent } from './options.js'
import type { TroublePolicy } from './protocol.js'
import { rehearse } from './rehearsal.js'
import { savedVmOf } from './saved-vm.js'
import { Session } from './session.js'
import { StandbyVms } from './standby.js'

/** A cold boot of a debug kernel under emulation, in ms; nothing legitimate takes longer. */
const BOOT_MS_MAX = 300_000
/** A restored VM answers within this, in ms, or is given up for a cold boot. */
const WAKE_MS_MAX = 20_000
/** An emulated CPU runs JavaScript this many times slower than the host, where nobody has measured yet. */
const SLOWDOWN_UNMEASURED = 10
/** A VM is handed on so often at most: what a failure in it may have to do with must stay a list that one can read. */
const FILES_PER_VM_MAX = 32

interface Ground extends Unsaved {
  readonly saved: SavedState | null
}

/**
 * Where the VMs of one kernel come from: prepared once (accelerator, initramfs, saved VM), then restored as often as one is
 * asked for and none is idle.
 */
export class SessionSource {
  readonly policy: TroublePolicy
  /** How many times slower than the host the guest is. */
  slowdown: number
  #ground: Promise<Ground> | null = null
  #first: Promise<Session> | null = null
  #release: () => void = () => {}
  /** Settles when this process has done its part for the first VM, and waits for QEMU: what it does meanwhile is free. */
  readonly underWay = new Promise<void>((resolve) => {
    this.#release = resolve
  })
  /** VMs that nobody has taken yet: `close` ends them, whatever they are at. */
  readonly #pending = new Set<Session>()
  readonly #abort = new AbortController()
  readonly #idle = new IdleVms((session) => void this.#mournIdle(session))
  #count = 0

  constructor(readonly options: KernelPoolOptions) {
    this.slowdown = options.slowdown ?? SLOWDOWN_UNMEASURED
    // A mistake in it must end the run here, not a VM's worker.
    parseAllowFile(options.allow ?? '', options.allowFile ?? 'the allow file')
    this.policy = {
      splats: options.splats ?? 'fail',
      allow: options.allow ?? '',
      leaks: (options.leaks ?? true) ? 'quick' : 'off',
    }
  }

  /** Starts preparing; errors are kept for `take`. */
  warmUp(): void {
    this.#first ??= this.#make()
    this.#first.catch(() => {})
  }

  /** A VM whose worker is awake: one that was given back, or a `fresh` one. Throws InfrastructureError where there can be none. */
  async take({ fresh = false } = {}): Promise<Session> {
    const idle = fresh ? null : this.#idle.take()
    const making = idle ?? this.#first ?? this.#make()
    if (idle === null) this.#first = null
    const session = await making
    this.#pending.delete(session)
    return session
  }

  /** Brings up copies of this kernel's saved VM, without KVM, for a kernel that is still being built; none where there is no saved VM. */
  async standBy(count: number): Promise<StandbyVms> {
    this.#ground ??= this.#prepare()
    const ground = await this.#ground
    const { saved } = ground
    if (saved === null) return new StandbyVms('', [])
    const making = Array.from({ length: count }, async () => {
      const session = await this.#copy(ground, saved)
      await unloadKvm(session, ground.initramfs)
      return session
    })
    return new StandbyVms(this.#likeness(saved), making)
  }

  /** Takes back a VM that is as it was: the next file starts in it, unless it has served long enough. */
  async giveBack(session: Session): Promise<void> {
    session.removeAllListeners()
    session.fileEnds()
    const filesMax = this.options.freshVms ? 0 : FILES_PER_VM_MAX
    if (session.earlierFiles.size > filesMax) await session.close()
    else await this.#idle.add(this.#track(session))
  }

  /** Ends the VMs that wait for a next file. */
  endIdle = (): Promise<void> => this.#idle.end()

  /** Ends every VM that nobody has taken, also one that is still booting or being saved. */
  async close(): Promise<void> {
    this.#abort.abort(interruptedError())
    this.#first = null
    await Promise.all([...this.#pending].map((session) => session.close()))
  }

  async #make(): Promise<Session> {
    const startedMs = performance.now()
    const session = await this.#start().finally(() => this.#release())
    this.#emit({ type: 'booted', ms: Math.round(performance.now() - startedMs), restored: session.restored })
    return session
  }

  async #start(): Promise<Session> {
    this.#ground ??= this.#prepare()
    const ground = await this.#ground
    if (ground.saved !== null) {
      try {
        return await this.#restore(ground, ground.saved)
      } catch (error) {
        if (!(error instanceof SavedVmError)) throw error
        this.#emit({ type: 'note', text: `${firstLine(error)}; booting instead` })
        this.#ground = Promise.resolve({ ...ground, saved: null })
      }
    }
    return await this.#boot(ground)
  }

  async #prepare(): Promise<Ground> {
    const ground = await groundOf(this.options, this.#abort.signal, (event) => this.#emit(event))
    if (this.options.cold && !this.options.exchangeKvm) return { ...ground, saved: null }
    const saved = await this.#save(ground)
    if (saved?.isRelated) this.#emit({ type: 'note', text: RELATED })
    return { ...ground, saved }
  }

  async #save(ground: Unsaved): Promise<SavedState | null> {
    return await savedVmOf(this.options, {
      hardware: hardwareOf(this.options, ground.accelerator),
      initramfs: ground.initramfs,
      boot: (machine) => this.#prepareToSave(this.#track(new Session(machine, false))),
      signal: this.#abort.signal,
      emit: (event) => this.#emit(event),
    })
  }

  async #prepareToSave(session: Session): Promise<void> {
    this.#release()
    await session.next('hello', BOOT_MS_MAX)
    this.#emit({ type: 'progress', text: 'rehearsing in the VM before it is saved' })
    await rehearse(session, this.policy)
  }

  async #restore(ground: Ground, saved: SavedState): Promise<Session> {
    const ready = (await this.options.standby?.take(this.#likeness(saved))) ?? null
    const session = ready === null ? await this.#copy(ground, saved) : this.#track(ready)
    this.#release()
    if (!saved.isRelated && ready === null) return session
    this.slowdown = session.slowdown
    try {
      await exchangeKvm(session, ground.initramfs)
      return session
    } catch (error) {
      await session.close()
      const related = { ...saved, isRelated: true }
      throw await notRestored(related, { id: this.options.kernel.id, signal: this.#abort.signal }, error)
    }
  }

  /** A copy of the saved VM, awake. */
  async #copy(ground: Unsaved, saved: SavedState): Promise<Session> {
    const machine = await startMachine({ ...this.#machineOptions(ground), restoreFrom: saved })
    const session = this.#track(new Session(machine, true))
    try {
      const waking = this.#wake(session, WAKE_MS_MAX)
      this.#release()
      await waking
      return session
    } catch (error) {
      await session.close()
      throw await notRestored(saved, { id: this.options.kernel.id, signal: this.#abort.signal }, error)
    }
  }

  async #boot(ground: Ground): Promise<Session> {
    await ground.initramfs.pack()
    const session = this.#track(new Session(await startMachine(this.#machineOptions(ground)), false))
    this.#release()
    try {
      await session.next('hello', BOOT_MS_MAX)
      await this.#wake(session, BOOT_MS_MAX)
      return session
    } catch (error) {
      await session.close()
      throw error
    }
  }

  async #wake(session: Session, limitMs: number): Promise<void> {
    await session.wake(this.#guestEnv, hostCalibrationMs(), limitMs)
    this.slowdown = session.slowdown
  }

  get #guestEnv(): Readonly<Record<string, string>> {
    const { env, slowdown } = this.options
    return { ...env, ...(slowdown !== undefined && { GMEM_SLOWDOWN: String(slowdown) }) }
  }

  /** Copies of the same saved VM, woken alike, can stand for each other until they have KVM. */
  #likeness({ folder }: SavedState): string {
    return JSON.stringify([folder, this.#guestEnv])
  }

  #track(session: Session): Session {
    this.#pending.add(session)
    session.once('exit', () => this.#pending.delete(session))
    if (this.#abort.signal.aborted) void session.close()
    return session
  }

  #machineOptions({ accelerator, initramfs }: Unsaved): MachineOptions {
    const { kernel, runDir, consoles: name = '' } = this.options
    this.#count += 1
    return {
      ...hardwareOf(this.options, accelerator),
      kernel,
      initramfs: initramfs.file,
      consoleFile: join(runDir, `console-${kernel.id}-${name}${this.#count}.log`),
    }
  }

  /** A VM that dies between two files dies of something, which no test is blamed for. */
  async #mournIdle(session: Session): Promise<void> {
    if (session.exit === null || this.#abort.signal.aborted) return
    const death = { kind: 'exit', exit: session.exit } as const
    const { error } = await describeDeath(session, death, 'while no test ran')
    this.#emit({ type: 'death', message: error.message, console: session.machine.consoleFile })
  }

  #emit(event: PoolEvent): void {
    this.options.onEvent?.(event)
  }
}
