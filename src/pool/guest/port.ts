// SPDX-License-Identifier: Apache-2.0
import { closeSync, constants, openSync, read, writeSync } from 'node:fs'
import { encodeFrame, FrameDecoder } from '../../channel/frames.js'
import type { GuestMessage, HostMessage } from '../protocol.js'

const READ_BYTES = 256 * 1024
const NO_HOST_WAIT_MS = 5
/** Nothing ever wakes who waits here. */
const NOBODY = new Int32Array(new SharedArrayBuffer(4))

/**
 * The guest's end of the two virtio-serial ports. They are character devices, so Node has no stream for them: reads run in the
 * thread pool, one at a time.
 */
export class GuestPort {
  readonly #out: number
  readonly #in: number
  readonly #decoder = new FrameDecoder()

  constructor(
    outPath: string,
    inPath: string,
    readonly onMessage: (message: HostMessage) => void,
  ) {
    this.#out = openSync(outPath, constants.O_WRONLY)
    this.#in = openSync(inPath, constants.O_RDONLY)
    this.#readNext(Buffer.allocUnsafe(READ_BYTES))
  }

  /**
   * Returns when the device has all of it: a kernel that dies right after takes nothing along. Not through the thread pool, where handing
   * over and back costs an emulated guest more than the write.
   */
  send(message: GuestMessage): void {
    let rest = encodeFrame(message)
    while (rest.length > 0) {
      try {
        rest = rest.subarray(writeSync(this.#out, rest))
      } catch (error) {
        // No host on the other side yet: a restored VM has one in a moment.
        if ((error as NodeJS.ErrnoException).code !== 'EAGAIN') throw error
        Atomics.wait(NOBODY, 0, 0, NO_HOST_WAIT_MS)
      }
    }
  }

  close(): void {
    closeSync(this.#out)
    closeSync(this.#in)
  }

  #readNext(buffer: Buffer): void {
    read(this.#in, buffer, 0, buffer.length, null, (error, length) => {
      // No host on the other side reads as end of file or EAGAIN; a restored VM has one again in a moment.
      if (error !== null || length === 0) return void setTimeout(() => this.#readNext(buffer), 5)
      for (const message of this.#decoder.push(Buffer.from(buffer.subarray(0, length)))) {
        this.onMessage(message as HostMessage)
      }
      this.#readNext(buffer)
    })
  }
}
