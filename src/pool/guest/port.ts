// SPDX-License-Identifier: Apache-2.0
import { closeSync, constants, openSync, read, write } from 'node:fs'
import { encodeFrame, FrameDecoder } from '../../channel/frames.js'
import type { GuestMessage, HostMessage } from '../protocol.js'

const READ_BYTES = 256 * 1024

/**
 * The guest's end of the virtio-serial port. It is a character device, so Node has no stream for it: reads and writes
 * run in the thread pool, one of each at a time.
 */
export class GuestPort {
  readonly #fd: number
  readonly #decoder = new FrameDecoder()
  readonly #outgoing: Buffer[] = []
  #writing = false
  #drained: (() => void)[] = []

  constructor(
    path: string,
    readonly onMessage: (message: HostMessage) => void,
  ) {
    this.#fd = openSync(path, constants.O_RDWR)
    this.#readNext(Buffer.allocUnsafe(READ_BYTES))
  }

  send(message: GuestMessage): void {
    this.#outgoing.push(encodeFrame(message))
    this.#writeNext()
  }

  /** Resolves when all that was sent has reached the device. */
  async flushed(): Promise<void> {
    if (!this.#writing && this.#outgoing.length === 0) return
    await new Promise<void>((resolve) => this.#drained.push(resolve))
  }

  close(): void {
    closeSync(this.#fd)
  }

  #readNext(buffer: Buffer): void {
    read(this.#fd, buffer, 0, buffer.length, null, (error, length) => {
      // No host on the other side reads as end of file or EAGAIN; a restored VM has one again in a moment.
      if (error !== null || length === 0) return void setTimeout(() => this.#readNext(buffer), 5)
      for (const message of this.#decoder.push(Buffer.from(buffer.subarray(0, length)))) {
        this.onMessage(message as HostMessage)
      }
      this.#readNext(buffer)
    })
  }

  #writeNext(): void {
    if (this.#writing) return
    const frame = this.#outgoing.shift()
    if (frame === undefined) {
      for (const resolve of this.#drained.splice(0)) resolve()
      return
    }
    this.#writing = true
    this.#writeAll(frame)
  }

  #writeAll(data: Buffer): void {
    write(this.#fd, data, (error, length) => {
      if (error !== null) return void setTimeout(() => this.#writeAll(data), 5)
      if (length < data.length) return this.#writeAll(data.subarray(length))
      this.#writing = false
      this.#writeNext()
    })
  }
}
