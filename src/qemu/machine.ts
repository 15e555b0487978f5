// SPDX-License-Identifier: Apache-2.0
import { rm } from 'node:fs/promises'
import type { Readable, Writable } from 'node:stream'
import type { KernelImage } from '../kernels/types.js'
import { type Bytes, gib } from '../units.js'
import type { Accelerator } from './accelerator.js'
import { kernelCommandLine, type MachineArguments, qemuArguments, type RamFile } from './arguments.js'
import { findQemu, type QemuBinary } from './binary.js'
import { InfrastructureError, SavedVmError } from './errors.js'
import { classifyExit, type MachineExit, readConsoleTail } from './exit.js'
import { restoreInto, saveDeviceState } from './migration.js'
import { type QemuProcess, spawnQemu } from './process.js'
import { QmpClient } from './qmp.js'

export type { MachineExit } from './exit.js'

/** RAM of a VM where nothing else is asked for. */
export const DEFAULT_MEMORY: Bytes = gib(1)
/** Processors of a VM where nothing else is asked for. */
export const DEFAULT_CPUS = 2

/**
 * A saved VM on disk: QEMU's device state, and the RAM as a sparse file of its own that copies are mapped
 * from.
 */
export interface SavedState {
  readonly key: string
  /** It was saved with other exchangeable files (InitramfsOptions): its copies must be given the right ones. */
  readonly isRelated: boolean
  /** The folder in the cache that holds the three files; deleted when a restore fails. */
  readonly folder: string
  readonly stateFile: string
  readonly ramFile: string
  /** Stands in for the initramfs, which a restored VM never reads again. */
  readonly emptyInitrd: string
}

/** What to start. */
export interface MachineOptions {
  readonly kernel: Pick<KernelImage, 'bzImage'>
  /** Path of the initramfs. */
  readonly initramfs: string
  readonly accelerator: Accelerator
  /** Default: DEFAULT_MEMORY. */
  readonly memory?: Bytes
  /** Default: DEFAULT_CPUS. */
  readonly cpus?: number
  /** More kernel parameters. */
  readonly extraAppend?: string
  /** More QEMU arguments. */
  readonly extraArgs?: readonly string[]
  /** The guest's serial console is appended to this file. */
  readonly consoleFile: string
  /** Go on where a saved VM stopped, instead of booting. Everything else must be as it was then. */
  readonly restoreFrom?: SavedState
  /**
   * Keep RAM in this file, so that `save` has only the device state to write. For ensureSaved; see RamFile.
   */
  readonly ramFile?: RamFile
}

/** A running VM. */
export interface Machine {
  /** What the worker says; nothing is read before a `data` listener is there. It ends some time after QEMU. */
  readonly fromGuest: Readable
  /** What the worker is told. */
  readonly toGuest: Writable
  readonly qmp: QmpClient
  readonly consoleFile: string
  /** The command that runs, quoted for a shell; for humans. */
  readonly commandLine: string
  readonly pid: number
  /** Resolves, never rejects, when QEMU has ended. */
  readonly exited: Promise<MachineExit>
  /**
   * Has the guest's PID 1 write each key to /proc/sysrq-trigger (Documentation/admin-guide/sysrq.rst),
   * whatever the worker does. Nothing tells whether it did: what it prints is on the console.
   */
  sysrq(keys: string): void
  /** Ends the VM at once and waits for QEMU's end. Safe to call again. */
  kill(): Promise<void>
  /**
   * Stops the VM for good and writes its device state to `file`; the RAM is in the `ramFile` that it was
   * started with. Throws SavedVmError where that fails; then no file is left.
   */
  save(file: string, options?: { readonly signal?: AbortSignal }): Promise<void>
}

/**
 * Starts a VM and returns when QEMU's monitor answers (cold boot: the guest has just begun to boot) or, with
 * `restoreFrom`, when the guest runs again. Throws InfrastructureError where QEMU is missing or refuses to
 * start, SavedVmError where the saved VM cannot be restored.
 */
export async function startMachine(options: MachineOptions): Promise<Machine> {
  const qemu = await findQemu()
  const qemuProcess = spawnQemu(qemu.path, qemuArguments(machineArguments(options, qemu)))
  const machine = new QemuMachine(qemuProcess, options.consoleFile)
  try {
    await machine.qmp.negotiate()
    if (options.restoreFrom) await restoreInto(machine.qmp, options.restoreFrom.stateFile)
    return machine
  } catch (error) {
    await machine.kill()
    const { stderrTail } = await machine.exited
    const details = stderrTail.trim() || (error as Error).message
    if (options.restoreFrom) {
      await rm(options.restoreFrom.folder, { recursive: true, force: true })
      throw new SavedVmError(`a saved VM was not restored, and is deleted: ${details}`, { cause: error })
    }
    throw new InfrastructureError(`QEMU did not start: ${details}\n${machine.commandLine}`, { cause: error })
  }
}

/** The part of the options that QEMU's command line is made of. */
export function machineArguments(options: MachineOptions, qemu: QemuBinary): MachineArguments {
  const saved = options.restoreFrom
  const ramFile = saved ? { path: saved.ramFile, share: false } : options.ramFile
  return {
    bzImage: options.kernel.bzImage,
    initrd: saved ? saved.emptyInitrd : options.initramfs,
    append: kernelCommandLine(options.accelerator.kernelParameters, options.extraAppend ?? ''),
    accelerator: options.accelerator,
    memory: options.memory ?? DEFAULT_MEMORY,
    cpus: options.cpus ?? DEFAULT_CPUS,
    consoleFile: options.consoleFile,
    incoming: saved !== undefined,
    ...(ramFile && { ramFile }),
    ...(qemu.firmware !== null && { firmware: qemu.firmware }),
    memoryCard: qemu.hasMemoryCard,
    ...(options.extraArgs && { extraArgs: options.extraArgs }),
  }
}

class QemuMachine implements Machine {
  readonly fromGuest: Readable
  readonly toGuest: Writable
  readonly qmp: QmpClient
  readonly commandLine: string
  readonly pid: number
  readonly exited: Promise<MachineExit>
  readonly #process: QemuProcess
  #killed = false

  constructor(
    qemuProcess: QemuProcess,
    readonly consoleFile: string,
  ) {
    this.#process = qemuProcess
    this.fromGuest = qemuProcess.fromGuest
    this.toGuest = qemuProcess.toGuest
    // A dead QEMU resets the streams; `exited` tells.
    for (const stream of [this.fromGuest, this.toGuest, qemuProcess.sysrq]) stream.on('error', () => {})
    this.qmp = new QmpClient(qemuProcess.qmp)
    this.commandLine = qemuProcess.commandLine
    this.pid = qemuProcess.pid
    this.exited = this.#waitForExit()
  }

  sysrq(keys: string): void {
    this.#process.sysrq.write(keys)
  }

  async kill(): Promise<void> {
    this.#killed = true
    this.#process.kill()
    await this.exited
  }

  async save(file: string, options: { readonly signal?: AbortSignal } = {}): Promise<void> {
    await saveDeviceState(this.qmp, file, options.signal)
  }

  async #waitForExit(): Promise<MachineExit> {
    const end = await this.#process.ended
    const facts = { ...end, byUs: this.#killed, qmpEvents: this.qmp.events }
    return classifyExit(facts, await readConsoleTail(this.consoleFile))
  }
}
