// SPDX-License-Identifier: Apache-2.0
import { randomBytes } from 'node:crypto'
import { EventEmitter } from 'node:events'
import { statSync } from 'node:fs'
import { finished } from 'node:stream/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import { encodeFrame, FrameDecoder } from '../channel/frames.js'
import { InfrastructureError } from '../qemu/errors.js'
import type { Machine, MachineExit } from '../qemu/machine.js'
import type { GuestMessage, GuestMessageOf, HostMessage } from './protocol.js'

/** What a QEMU that has ended left in its socket is read by then on any machine, in ms. */
const LAST_WORDS_MS_MAX = 10_000

/** One VM and the conversation with the worker in it. Emits `message` (GuestMessage) and `exit` (MachineExit). */
export class Session extends EventEmitter<{ message: [GuestMessage]; exit: [MachineExit] }> {
  readonly #decoder = new FrameDecoder()
  /** Counts what comes from the guest: it lives as long as this changes. */
  chunksHeard = 0
  /** How many times slower than the host the guest is; 1 until it is awake. */
  slowdown = 1
  /** When the last test began, by the clock of the kernel's log, in microseconds since boot. */
  testStartUs = 0
  /** Test files that were handed this VM before the one that has it now, and ran tests in it. */
  readonly earlierFiles = new Set<string>()
  /** Modules of tests that the guest has been given, by vitest's URL: it loads each once. */
  readonly modules = new Set<string>()
  /** What the guest has at paths of its files, SHA-256 by path, as far as that is known. */
  fileDigests: Readonly<Record<string, string>> = {}
  /** The one that has it now, once it has run a test. */
  #file: string | null = null
  #exit: MachineExit | null = null

  constructor(
    readonly machine: Machine,
    /** Whether the VM was restored from a saved one; false is a cold boot. */
    readonly restored: boolean,
  ) {
    super()
    machine.fromGuest.on('data', (chunk: Buffer) => this.#receive(chunk))
    void this.#awaitEnd()
  }

  testStarts({ test, logTimeUs }: GuestMessageOf<'test-start'>): void {
    this.#file = test.file
    this.testStartUs = logTimeUs
  }

  /** The file that has the VM is done with it. */
  fileEnds(): void {
    if (this.#file !== null) this.earlierFiles.add(this.#file)
    this.#file = null
  }

  /** Whether other files have run in the VM: a failure in it is no verdict yet. */
  get isUsed(): boolean {
    return this.earlierFiles.size > 0
  }

  /** Where something happened that other files may have had to do with, for people. */
  get useText(): string {
    return `in a VM in which ${[...this.earlierFiles].join(', ')} had run before`
  }

  /** How the VM ended, or null while it runs. */
  get exit(): MachineExit | null {
    return this.#exit
  }

  send(message: HostMessage): void {
    if (this.#exit === null && this.machine.toGuest.writable) this.machine.toGuest.write(encodeFrame(message))
  }

  /**
   * The next message of a type. Rejects with InfrastructureError when the VM ends first or after `limitMs`: what the
   * console said last is in the message.
   */
  async next<T extends GuestMessage['type']>(type: T, limitMs: number): Promise<GuestMessageOf<T>> {
    return await new Promise((resolve, reject) => {
      const finish = (settle: () => void): void => {
        clearTimeout(timer)
        this.off('message', onMessage)
        this.off('exit', onExit)
        settle()
      }
      const onMessage = (message: GuestMessage): void => {
        if (message.type === type) finish(() => resolve(message as GuestMessageOf<T>))
      }
      const onExit = (exit: MachineExit): void =>
        finish(() => reject(new InfrastructureError(this.#describeExit(exit, type))))
      const timer = setTimeout(
        () => finish(() => reject(new InfrastructureError(this.#describeSilence(type, limitMs)))),
        limitMs,
      )
      this.on('message', onMessage)
      if (this.#exit === null) this.on('exit', onExit)
      else onExit(this.#exit)
    })
  }

  /**
   * Gives a VM its own randomness, time and environment: copies of one saved VM are otherwise twins. Resolves when it has said how slow
   * it is.
   */
  async wake(
    env: Readonly<Record<string, string>>,
    hostCalibrationMs: number,
    limitMs: number,
  ): Promise<void> {
    const awake = this.next('awake', limitMs)
    this.send({
      type: 'wake',
      entropy: new Uint8Array(randomBytes(64)),
      realtimeNs: BigInt(Date.now()) * 1_000_000n,
      hostCalibrationMs,
      env,
    })
    this.slowdown = (await awake).slowdown
  }

  /** What the console has got so far. */
  get consoleBytes(): number {
    return statSync(this.machine.consoleFile, { throwIfNoEntry: false })?.size ?? 0
  }

  async close(): Promise<void> {
    await this.machine.kill()
  }

  /** A VM has ended when all that it had said before has been heard, too: the last of it tells which test ran. */
  async #awaitEnd(): Promise<void> {
    const exit = await this.machine.exited
    const allHeard = finished(this.machine.fromGuest, { writable: false }).catch(() => {})
    await Promise.race([allHeard, sleep(LAST_WORDS_MS_MAX, undefined, { ref: false })])
    this.#exit = exit
    this.emit('exit', exit)
  }

  #receive(chunk: Buffer): void {
    this.chunksHeard += 1
    let messages: unknown[]
    try {
      messages = this.#decoder.push(chunk)
    } catch (error) {
      process.emitWarning(`gmem: ${String(error)}; the VM is given up`)
      void this.machine.kill()
      return
    }
    for (const message of messages) this.emit('message', message as GuestMessage)
  }

  #describeExit(exit: MachineExit, waitingFor: string): string {
    return `the VM ended (${exit.reason}) while gmem waited for '${waitingFor}' from it; its console is ${this.machine.consoleFile}`
  }

  #describeSilence(waitingFor: string, limitMs: number): string {
    const seconds = Math.round(limitMs / 1000)
    return `the VM did not say '${waitingFor}' within ${seconds} s; its console is ${this.machine.consoleFile}`
  }
}
