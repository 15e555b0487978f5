// SPDX-License-Identifier: Apache-2.0
import type { ModuleAnswer } from '../protocol.js'
import { ModuleAnswers } from './modules-ahead.js'

/** A message of vitest's, as far as it matters here: a request or response of the worker (`type`), or birpc's question or answer (`t`). */
interface VitestMessage {
  readonly type?: string
  readonly t?: 'q' | 's'
  readonly i?: string
}

/** What is held beyond this is let go: a timer that prints for ever must not fill the guest's memory. */
const HELD_MAX = 1_000

/**
 * vitest's line from the guest to its host. Between two test files nobody listens to a VM, and an answer may find nobody to take it there;
 * yet vitest ends no file before every question that was ever asked has its answer (rpcDone() in vitest's chunks/rpc.*.js, vitest 4).
 * One line of console output at such a moment would have the next file wait for ever.
 */
export class VitestLine {
  readonly #listeners = new Set<(message: unknown) => void>()
  readonly #modules = new ModuleAnswers()
  /** What nobody was there to hear. */
  readonly #held: VitestMessage[] = []
  /** Questions that the host has heard and not answered. */
  readonly #open = new Set<string>()
  #isHeard = false

  /** `send` gives a message to the host. */
  constructor(readonly send: (message: unknown) => void) {}

  readonly on = (listener: (message: unknown) => void): void => void this.#listeners.add(listener)

  readonly off = (listener: (message: unknown) => void): void => void this.#listeners.delete(listener)

  /** What vitest says. What it says of an ended file, its last console output or a late error, waits for the next. */
  readonly post = (posted: unknown): void => {
    const message = posted as VitestMessage
    const known = this.#modules.take(message)
    // Not at once: vitest waits for an answer only when it has posted the question.
    if (known !== null) return void queueMicrotask(() => this.#tell(known))
    if (message.t === 'q' && !this.#isHeard) this.#hold(message)
    else this.#say(message)
    if (message.type === 'testfileFinished') this.#end()
  }

  /** What the host says. */
  receive(received: unknown): void {
    const message = received as VitestMessage
    if (message.type === 'run') this.#modules.clear()
    if (message.t === 's' && message.i !== undefined) this.#open.delete(message.i)
    // From the first request to the end of the file, this VM has a worker on the host.
    if (message.type !== undefined) this.#begin()
    this.#tell(message)
  }

  /** An answer to what vitest will ask. */
  know(answer: ModuleAnswer): void {
    this.#modules.add(answer)
  }

  #begin(): void {
    this.#isHeard = true
    for (const message of this.#held.splice(0)) this.#say(message)
  }

  #end(): void {
    this.#isHeard = false
    // What they were about, the host has heard.
    for (const i of this.#open) this.#answerWithNothing(i)
    this.#open.clear()
  }

  #hold(message: VitestMessage): void {
    if (this.#held.length < HELD_MAX) this.#held.push(message)
    else if (message.i !== undefined) this.#answerWithNothing(message.i)
  }

  #answerWithNothing(i: string): void {
    queueMicrotask(() => this.#tell({ t: 's', i }))
  }

  #say(message: VitestMessage): void {
    if (message.t === 'q' && message.i !== undefined) this.#open.add(message.i)
    this.send(message)
  }

  #tell(message: unknown): void {
    for (const listener of this.#listeners) listener(message)
  }
}
