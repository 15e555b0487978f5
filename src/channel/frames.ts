// SPDX-License-Identifier: Apache-2.0
import { deserialize, serialize } from 'node:v8'

/**
 * Messages between the host and the worker in the guest: a little-endian u32 length, then that many bytes of V8's
 * structured serialization (the guest's Node is the host's own, so the format is the same on both sides, and bigints, errors, maps
 * and typed arrays survive).
 */
const HEADER_BYTES = 4

/** The largest message that a peer accepts, in bytes: a corrupt length must not become a 4 GiB allocation. */
export const MESSAGE_BYTES_MAX = 256 * 1024 * 1024

/** One message as the bytes that travel. Throws DataCloneError for what cannot be serialized (functions, symbols). */
export function encodeFrame(message: unknown): Buffer {
  const body = serialize(message)
  const frame = Buffer.allocUnsafe(HEADER_BYTES + body.length)
  frame.writeUInt32LE(body.length, 0)
  body.copy(frame, HEADER_BYTES)
  return frame
}

/** Puts messages together again from whatever pieces the transport delivers. */
export class FrameDecoder {
  #chunks: Buffer[] = []
  #buffered = 0

  /** Adds a piece and returns the messages that it completed. Throws Error on a length beyond MESSAGE_BYTES_MAX. */
  push(chunk: Buffer): unknown[] {
    this.#chunks.push(chunk)
    this.#buffered += chunk.length
    const messages: unknown[] = []
    for (;;) {
      const length = this.#peekLength()
      if (length === null || this.#buffered < HEADER_BYTES + length) return messages
      const frame = this.#take(HEADER_BYTES + length)
      messages.push(deserialize(frame.subarray(HEADER_BYTES)))
    }
  }

  #peekLength(): number | null {
    if (this.#buffered < HEADER_BYTES) return null
    const first = this.#chunks[0]
    if (first === undefined) return null
    if (first.length < HEADER_BYTES) this.#chunks = [Buffer.concat(this.#chunks)]
    const length = this.#chunks[0]?.readUInt32LE(0) ?? 0
    if (length > MESSAGE_BYTES_MAX)
      throw new Error(`channel: a message of ${length} bytes; the stream is corrupt`)
    return length
  }

  #take(size: number): Buffer {
    const all = this.#chunks.length === 1 && this.#chunks[0] ? this.#chunks[0] : Buffer.concat(this.#chunks)
    const rest = all.subarray(size)
    this.#chunks = rest.length > 0 ? [rest] : []
    this.#buffered = rest.length
    return all.subarray(0, size)
  }
}
