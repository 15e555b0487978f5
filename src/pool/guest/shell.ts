// SPDX-License-Identifier: Apache-2.0

import { start } from 'node:repl'
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
  #started = false

  constructor(readonly port: GuestPort) {}

  /** What was typed; null ends it. `columns`: null where nobody types, but a pipe brings the lines. */
  input(data: string | null, columns: number | null): void {
    if (!this.#started) this.#start(columns)
    if (data === null) this.#keys.end()
    else this.#keys.write(data)
  }

  #start(columns: number | null): void {
    this.#started = true
    const screen = Object.assign(
      new Writable({
        write: (chunk: Buffer, _encoding, done) => {
          this.port.send({ type: 'shell-output', data: chunk.toString() })
          done()
        },
      }),
      columns === null ? {} : { columns, isTTY: true },
    )
    const repl = start({
      prompt: columns === null ? '' : 'gmem> ',
      input: this.#keys,
      output: screen,
      terminal: columns !== null,
      useColors: columns !== null,
    })
    Object.assign(repl.context, { ...units, ...kvm, abi, binding })
    repl.on('exit', () => this.port.send({ type: 'shell-exit' }))
  }
}
