// SPDX-License-Identifier: Apache-2.0
import { EventEmitter } from 'node:events'
import type { Duplex } from 'node:stream'
import { QmpError } from './errors.js'

/**
 * An event of QEMU's machine protocol: `{ event: 'SHUTDOWN', data: { guest: true, reason: 'guest-reset' } }`.
 */
export interface QmpEvent {
  readonly event: string
  readonly data: Readonly<Record<string, unknown>>
}

interface Pending {
  readonly command: string
  readonly resolve: (value: unknown) => void
  readonly reject: (error: QmpError) => void
  readonly timer: NodeJS.Timeout
}

/**
 * How long QEMU may take to answer a command, in ms. Its monitor is idle; only a stuck or stopped process
 * takes longer.
 */
const ANSWER_LIMIT_MS = 20_000
const EVENTS_KEPT_MAX = 200

/**
 * The client end of QEMU's machine protocol (QMP): JSON objects, one a line. Emits `event`, and `close` when
 * QEMU has ended.
 */
export class QmpClient extends EventEmitter<{ event: [QmpEvent]; close: [] }> {
  readonly #stream: Duplex
  readonly #pending = new Map<number, Pending>()
  readonly #events: QmpEvent[] = []
  #buffered = ''
  #nextId = 1
  #greet: () => void = () => {}
  #closed = false
  readonly #greeted: Promise<void>

  constructor(stream: Duplex) {
    super()
    this.#stream = stream
    this.#greeted = new Promise((resolve) => {
      this.#greet = resolve
    })
    stream.setEncoding('utf8')
    stream.on('data', (text: string) => this.#receive(text))
    // `close` follows and says the same for every pending command.
    stream.on('error', () => {})
    stream.on('close', () => this.#onClose())
  }

  /** The last events, oldest first. */
  get events(): readonly QmpEvent[] {
    return this.#events
  }

  /** Waits for QEMU's greeting and leaves its negotiation mode. Throws QmpError when QEMU ends first. */
  async negotiate(): Promise<void> {
    await Promise.race([this.#greeted, this.#closing()])
    await this.execute('qmp_capabilities')
  }

  /**
   * Runs a command and returns its answer. Throws QmpError when QEMU refuses it, ends, or says nothing for
   * `limitMs`.
   */
  async execute(
    command: string,
    args?: Readonly<Record<string, unknown>>,
    limitMs: number = ANSWER_LIMIT_MS,
  ): Promise<unknown> {
    if (this.#closed) throw new QmpError(`QEMU has ended; ${command} was not sent`, null)
    const id = this.#nextId++
    return await new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.#pending.delete(id)
        reject(new QmpError(`QEMU did not answer ${command} within ${limitMs / 1000} s`, null))
      }, limitMs)
      this.#pending.set(id, { command, resolve, reject, timer })
      this.#stream.write(`${JSON.stringify({ execute: command, ...(args && { arguments: args }), id })}\n`)
    })
  }

  #closing(): Promise<never> {
    return new Promise((_resolve, reject) => {
      const fail = (): void => reject(new QmpError('QEMU ended before its monitor was ready', null))
      if (this.#closed) fail()
      else this.#stream.once('close', fail)
    })
  }

  #receive(text: string): void {
    this.#buffered += text
    for (let end = this.#buffered.indexOf('\n'); end >= 0; end = this.#buffered.indexOf('\n')) {
      const line = this.#buffered.slice(0, end).trim()
      this.#buffered = this.#buffered.slice(end + 1)
      if (line !== '') this.#dispatch(JSON.parse(line) as QmpMessage)
    }
  }

  #dispatch(message: QmpMessage): void {
    if (message.QMP !== undefined) this.#greet()
    if (message.event !== undefined) this.#record({ event: message.event, data: message.data ?? {} })
    const pending = message.id === undefined ? undefined : this.#take(message.id)
    if (message.error === undefined) {
      pending?.resolve(message.return)
    } else {
      const text = `QEMU refused ${pending?.command}: ${message.error.desc}`
      pending?.reject(new QmpError(text, message.error.class))
    }
  }

  #record(event: QmpEvent): void {
    this.#events.push(event)
    if (this.#events.length > EVENTS_KEPT_MAX) this.#events.shift()
    this.emit('event', event)
  }

  #take(id: number): Pending | undefined {
    const pending = this.#pending.get(id)
    this.#pending.delete(id)
    clearTimeout(pending?.timer)
    return pending
  }

  #onClose(): void {
    this.#closed = true
    this.emit('close')
    for (const id of [...this.#pending.keys()]) {
      const pending = this.#take(id)
      pending?.reject(new QmpError(`QEMU ended before it answered ${pending.command}`, null))
    }
  }
}

interface QmpMessage {
  readonly QMP?: unknown
  readonly event?: string
  readonly data?: Readonly<Record<string, unknown>>
  readonly id?: number
  readonly return?: unknown
  readonly error?: { readonly class: string; readonly desc: string }
}
