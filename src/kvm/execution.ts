// SPDX-License-Identifier: Apache-2.0
import { KVM_RUN_OFFSET } from '../abi/index.js'
import type { NativeVcpu } from '../binding/addon.js'
import { decodeExit } from './decode-exit.js'
import type { Exit } from './exits.js'
import { formatReason } from './format.js'
import type { MonitorImage } from './monitor-image.js'
import { type CommandPage, isReport, type MonitorResult, STATUS } from './monitor-protocol.js'
import { type Outcome, operationLabel } from './outcome.js'
import type { GpaRange } from './range.js'
import { OPERATION_DEADLINE_MS, scaledMs } from './time.js'

// The addon's deadline of 0 enters KVM_RUN with immediate_exit set.
const COMPLETE_ONLY = 0

/** Limits of one operation. */
export interface RunOptions {
  /** In ms, not scaled; default 10 s times $GMEM_SLOWDOWN. */
  readonly deadlineMs?: number
}

/** What userspace hands to the guest when it resumes after an exit. */
export interface ResumeOptions extends RunOptions {
  /** After an MMIO or IO read: what the guest reads, a number as little-endian. */
  readonly data?: bigint | Uint8Array
  /** After a HYPERCALL: what the guest finds in rax. KVM presets 0. */
  readonly ret?: bigint
}

/** One command for the monitor. */
export interface Operation<T> {
  readonly name: string
  readonly op: bigint
  readonly args: readonly bigint[]
  /** Guest memory it touches, to be identity-mapped first. */
  readonly touches?: readonly { readonly gpa: bigint; readonly size: bigint }[]
  readonly decode: (result: MonitorResult) => T
}

interface Ready {
  readonly page: CommandPage
  readonly regs: Uint8Array
}

type State = 'cold' | 'idle' | 'running' | 'interrupted'

/** Drives one vCPU: enters the monitor at first use, gives it commands, and resumes them after exits. */
export class Execution {
  readonly #native: NativeVcpu
  readonly #vcpuId: number
  readonly #prepare: () => MonitorImage
  #monitor: MonitorImage | null = null
  #ready: Ready | null = null
  #state: State = 'cold'
  #operation: Operation<unknown> | null = null
  #lastExit: Exit | null = null
  #lastIoOffset = 0
  #pendingExit = false

  /** `prepare` gives the vCPU its CPUID and the VM its monitor. */
  constructor(native: NativeVcpu, vcpuId: number, prepare: () => MonitorImage) {
    this.#native = native
    this.#vcpuId = vcpuId
    this.#prepare = prepare
  }

  /** The operation that ran last, for messages: `vCPU 0: read64(0x1000)`. */
  get label(): string {
    const operation = this.#operation
    return `vCPU ${this.#vcpuId}: ${operation === null ? 'KVM_RUN' : operationLabel(operation.name, operation.args)}`
  }

  /** Executes one operation. TypeError while another one runs or waits to be resumed. */
  async run<T>(operation: Operation<T>, options: RunOptions = {}): Promise<Outcome<T>> {
    this.#refuseWhenBusy(operation.name)
    // No await between the check and #continue for a vCPU that is idle: a second operation must not slip in.
    if (this.#state === 'cold') await this.enter()
    for (const { gpa, size } of operation.touches ?? []) this.#monitor?.cover(gpa, size)
    this.#page().command(operation.op, operation.args)
    this.#operation = operation
    return this.#continue(operation, options)
  }

  /** Continues the interrupted operation at the same instruction. TypeError where none is. */
  async resume(options: ResumeOptions = {}): Promise<Outcome<unknown>> {
    const operation = this.#operation
    if (this.#state !== 'interrupted' || operation === null) {
      throw new TypeError(
        `vCPU ${this.#vcpuId}: resume() continues an operation that an exit interrupted; there is none`,
      )
    }
    this.#supply(options)
    return this.#continue(operation, options)
  }

  /** Brings the monitor to its command loop, at first use or after reset(). */
  async enter(): Promise<void> {
    if (this.#state !== 'cold') return
    const ready = this.#ready ?? this.#setUp()
    if (this.#pendingExit) {
      // KVM finishes an emulated instruction at the next KVM_RUN, over whatever registers are set until then.
      await this.#native.run(COMPLETE_ONLY)
      this.#pendingExit = false
    }
    if (this.#monitor !== null) this.#native.setSregs(this.#monitor.sregs(this.#native.getSregs()))
    this.#native.setRegs(ready.regs)
    const exit = await this.runRaw({})
    if (!isReport(exit))
      throw new Error(`vCPU ${this.#vcpuId}: the guest monitor did not start: ${formatReason(exit)}`)
    this.#state = 'idle'
  }

  /** Gives up an interrupted operation: the next one enters the monitor afresh. */
  reset(): void {
    if (this.#state === 'running') throw new TypeError(`${this.label} is running; stop it before reset()`)
    this.#pendingExit = this.#state === 'interrupted'
    this.#state = 'cold'
    this.#operation = null
  }

  /** One KVM_RUN, decoded; nothing is taken for a completion. */
  async runRaw(options: RunOptions): Promise<Exit> {
    const deadlineMs = options.deadlineMs ?? scaledMs(OPERATION_DEADLINE_MS)
    const raw = await this.#native.run(deadlineMs)
    const exit = decodeExit(raw, deadlineMs)
    this.#lastExit = exit
    if (exit.reason === 'IO')
      this.#lastIoOffset = new DataView(raw.payload.buffer, raw.payload.byteOffset).getUint32(8, true)
    return exit
  }

  /** Ends a spinning operation at its next pass. */
  stop(): void {
    this.#ready?.page.stop()
  }

  /** Passes of the spinning operation so far. */
  progress(): bigint {
    return this.#ready?.page.progress() ?? 0n
  }

  #setUp(): Ready {
    this.#monitor = this.#prepare()
    this.#ready = this.#monitor.addVcpu()
    return this.#ready
  }

  async #continue<T>(operation: Operation<T>, options: RunOptions): Promise<Outcome<T>> {
    this.#state = 'running'
    let exit: Exit
    try {
      exit = await this.runRaw(options)
    } catch (error) {
      this.#state = 'interrupted'
      throw error
    }
    if (!isReport(exit)) {
      this.#state = 'interrupted'
      return exit
    }
    this.#state = 'idle'
    const result = this.#page().result()
    if (result.status !== STATUS.EXCEPTION) return { reason: 'DONE', value: operation.decode(result) }
    const { vector, errorCode, rip, cr2 } = result
    return { reason: 'EXCEPTION', vector, errorCode, rip, cr2 }
  }

  #refuseWhenBusy(name: string): void {
    if (this.#state === 'running') throw new TypeError(`${this.label} is still running; ${name} cannot start`)
    if (this.#state === 'interrupted') {
      throw new TypeError(`${this.label} was interrupted by an exit: resume() it or reset() before ${name}`)
    }
  }

  #page(): CommandPage {
    if (this.#ready === null) throw new TypeError(`vCPU ${this.#vcpuId} has not entered the monitor yet`)
    return this.#ready.page
  }

  #supply({ data, ret }: ResumeOptions): void {
    const exit = this.#lastExit
    if (ret !== undefined) {
      if (exit?.reason !== 'HYPERCALL')
        throw new TypeError(`resume({ ret }) answers a HYPERCALL exit, not ${exit?.reason}`)
      this.#native.writeRun(KVM_RUN_OFFSET.hypercall_ret, littleEndian(BigInt.asUintN(64, ret), 8))
    }
    if (data === undefined) return
    if (exit?.reason === 'MMIO' && !exit.isWrite) {
      this.#native.writeRun(KVM_RUN_OFFSET.mmio_data, bytesOf(data, exit.length))
    } else if (exit?.reason === 'IO' && exit.direction === 'in') {
      this.#native.writeRun(this.#lastIoOffset, bytesOf(data, exit.size * exit.count))
    } else {
      throw new TypeError(`resume({ data }) answers a read of MMIO or of a port, not ${exit?.reason}`)
    }
  }
}

/** The gpa and size of a range, as an operation's `touches`. */
export function touching(range: GpaRange): readonly { readonly gpa: bigint; readonly size: bigint }[] {
  return [{ gpa: range.gpa, size: range.size }]
}

function bytesOf(data: bigint | Uint8Array, length: number): Uint8Array {
  if (typeof data === 'bigint') return littleEndian(data, length)
  if (data.length !== length) throw new TypeError(`the guest reads ${length} bytes, got ${data.length}`)
  return data
}

function littleEndian(value: bigint, length: number): Uint8Array {
  return Uint8Array.from({ length }, (_, index) => Number((value >> BigInt(8 * index)) & 0xffn))
}
