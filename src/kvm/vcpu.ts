// SPDX-License-Identifier: Apache-2.0
import { kvm_regs, kvm_sregs, type Regs, type Sregs } from '../abi/index.js'
import type { NativeVcpu } from '../binding/addon.js'
import { type Bytes, type Gpa, PAGE_SIZE } from '../units.js'
import { allowEveryProcessor } from './affinity.js'
import type { Closable } from './children.js'
import { Execution, type ResumeOptions, type RunOptions } from './execution.js'
import type { Exit } from './exits.js'
import type { MonitorImage } from './monitor-image.js'
import type { Outcome } from './outcome.js'
import { PlainOperations } from './plain.js'
import { type MemorySignal, memorySignal } from './probe.js'
import type { GpaRange } from './range.js'
import { Spin, type SpinOptions, spinOperation } from './spin.js'

/** What KVM_PRE_FAULT_MEMORY did. */
export interface PreFaultResult {
  /** '' where at least one page was done, otherwise the errno's name. */
  readonly code: string
  /** gpa and size as the kernel wrote them back: what remains. */
  readonly gpa: Gpa
  readonly size: Bytes
  /** The SIGBUS that came along for poisoned memory, null without one. */
  readonly sigbus: MemorySignal | null
}

/**
 * A vCPU with a thread of its own. Its operations (`read64`, `fill`, `hypercall`, ...) run in the guest, by the monitor, which starts at
 * first use; they resolve when the guest has done them. `attempt` has the same ones for when something else is expected.
 */
export class Vcpu extends PlainOperations implements Disposable, Closable {
  readonly id: number
  readonly #native: NativeVcpu
  readonly #execution: Execution
  readonly #onClose: (self: Vcpu) => void

  /** Use `vm.createVcpu()`. */
  constructor(native: NativeVcpu, id: number, prepare: () => MonitorImage, onClose: (self: Vcpu) => void) {
    const execution = new Execution(native, id, prepare)
    super(execution)
    this.id = id
    this.#native = native
    this.#execution = execution
    this.#onClose = onClose
  }

  get fd(): number {
    return this.#native.fd
  }

  /** Starts the monitor now instead of at the first operation (adds memslot 0 to the VM). */
  ready(): Promise<void> {
    return this.#execution.enter()
  }

  /** Continues the interrupted operation at the same instruction, after what stopped it has been dealt with. */
  resume(options: ResumeOptions = {}): Promise<Outcome<unknown>> {
    return this.#execution.resume(options)
  }

  /** Gives up an interrupted operation; the next one starts afresh. */
  reset(): void {
    this.#execution.reset()
  }

  /** Reads one qword every `stride` bytes of a range, over and over, until stopped. */
  spinRead(range: GpaRange, options: SpinOptions = {}): Spin {
    allowEveryProcessor(this.#native)
    return new Spin(this.#execution, spinOperation('spinRead', range, options.stride ?? PAGE_SIZE), options)
  }

  /** Writes the number of the pass every `stride` bytes of a range, over and over, until stopped. */
  spinWrite(range: GpaRange, options: SpinOptions = {}): Spin {
    allowEveryProcessor(this.#native)
    return new Spin(this.#execution, spinOperation('spinWrite', range, options.stride ?? PAGE_SIZE), options)
  }

  /** One bare KVM_RUN with whatever registers are set, for a test that brings its own guest code. */
  run(options: RunOptions = {}): Promise<Exit> {
    return this.#execution.runRaw(options)
  }

  /** Interrupts a running KVM_RUN: its outcome is INTR with `kicked`. */
  kick(): void {
    this.#native.kick()
  }

  /** KVM_PRE_FAULT_MEMORY. A failing errno is in the result. Flags must be 0 for KVM to accept it. */
  preFault(range: GpaRange, flags = 0n): PreFaultResult {
    const { code, gpa, size, sigbus } = this.#native.preFaultMemory(range.gpa, range.size, flags)
    return {
      code,
      gpa: gpa as Gpa,
      size: size as Bytes,
      sigbus: sigbus === null ? null : memorySignal(sigbus),
    }
  }

  /** KVM_GET_REGS. */
  getRegs(): Regs {
    return kvm_regs.decode(this.#native.getRegs())
  }

  /** KVM_SET_REGS: those given, the others as they are. */
  setRegs(regs: Partial<Regs>): void {
    this.#native.setRegs(kvm_regs.encode({ ...this.getRegs(), ...regs }))
  }

  /** KVM_GET_SREGS. */
  getSregs(): Sregs {
    return kvm_sregs.decode(this.#native.getSregs())
  }

  /** KVM_SET_SREGS: those given, the others as they are. KernelError EINVAL where they do not fit each other. */
  setSregs(sregs: Partial<Sregs>): void {
    this.#native.setSregs(kvm_sregs.encode({ ...this.getSregs(), ...sregs }))
  }

  /** Any vCPU ioctl, on the vCPU's thread; bytes are written back. KernelError with its errno. */
  ioctl(request: number, argument: Uint8Array | bigint | null = null): number {
    return this.#native.ioctl(request, argument)
  }

  /** Bytes of struct kvm_run. */
  readRun(offset: number, length: number): Uint8Array {
    return this.#native.readRun(offset, length)
  }

  /** Overwrites bytes of struct kvm_run. */
  writeRun(offset: number, data: Uint8Array): void {
    this.#native.writeRun(offset, data)
  }

  /** The vCPU's binary statistics (KVM_GET_STATS_FD), by name. */
  stats(): Readonly<Record<string, bigint[]>> {
    return this.#native.stats()
  }

  /** One statistic's first value. TypeError where the kernel has none of that name. */
  stat(name: string): bigint {
    const value = this.stats()[name]?.[0]
    if (value === undefined) throw new TypeError(`this kernel has no vCPU statistic ${name}`)
    return value
  }

  /** Kicks and joins the thread, closes the fd. Idempotent. KernelError ETIMEDOUT where the thread does not end within 5 s. */
  close(): void {
    this.#onClose(this)
    this.#native.close()
  }

  [Symbol.dispose](): void {
    this.close()
  }
}
