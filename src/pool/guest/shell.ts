// SPDX-License-Identifier: Apache-2.0

import { type REPLServer, start } from 'node:repl'
import { PassThrough, Writable } from 'node:stream'
import * as abi from '../../abi/index.js'
import { binding } from '../../binding/index.js'
import * as kvm from '../../kvm/index.js'
import * as units from '../../units.js'
import type { GuestPort } from './port.js'

/**
 * `gmem shell`: a Node prompt inside the VM with the API at hand. Keystrokes come as messages and the screen goes back as messages;
 * the terminal itself stays on the host.
 */
export class Shell {
  readonly #keys = new PassThrough()
  #script: Script | null = null
  #started = false

  constructor(readonly port: GuestPort) {}

  /** What was typed; null ends it. `columns`: null where nobody types, but a pipe brings the lines. */
  input(data: string | null, columns: number | null): void {
    if (!this.#started) this.#start(columns)
    if (this.#script) this.#script.push(data)
    else if (data === null) this.#keys.end()
    else this.#keys.write(data)
  }

  #start(columns: number | null): void {
    this.#started = true
    const isTerminal = columns !== null
    const screen = Object.assign(
      new Writable({
        write: (chunk: Buffer, _encoding, done) => {
          this.port.send({ type: 'shell-output', data: chunk.toString() })
          done()
        },
      }),
      isTerminal ? { columns, isTTY: true } : {},
    )
    const repl = start({
      prompt: isTerminal ? 'gmem> ' : '',
      input: this.#keys,
      output: screen,
      terminal: isTerminal,
      useColors: isTerminal,
    })
    Object.assign(repl.context, { ...units, ...kvm, abi, binding })
    repl.on('exit', () => this.port.send({ type: 'shell-exit' }))
    if (!isTerminal) this.#script = new Script(repl, this.#keys)
  }
}

/** Lines from a pipe. The prompt would run them all at once; here each waits for what the one before it awaits. */
class Script {
  #text = ''
  #hasEnded = false
  #isIdle = true

  constructor(
    repl: REPLServer,
    readonly keys: PassThrough,
  ) {
    // Called whenever a line has come to its end.
    repl.displayPrompt = () => {
      this.#isIdle = true
      this.#next()
    }
  }

  push(data: string | null): void {
    if (data === null) this.#hasEnded = true
    else this.#text += data
    if (this.#isIdle) this.#next()
  }

  #next(): void {
    const end = this.#text.indexOf('\n')
    const line = end < 0 && this.#hasEnded ? this.#text : this.#text.slice(0, end + 1)
    if (line === '') {
      if (this.#hasEnded) this.keys.end()
      return
    }
    this.#isIdle = false
    this.#text = this.#text.slice(line.length)
    this.keys.write(line.endsWith('\n') ? line : `${line}\n`)
  }
}
