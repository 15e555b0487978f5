// SPDX-License-Identifier: Apache-2.0
import { openSync, readSync, writeSync } from 'node:fs'

/** More than /proc/zoneinfo of a machine with two nodes. */
const TEXT_BYTES = 64 * 1024

/** A file of /proc that stays open, because opening costs most of a read. Not for files that go with a module. */
export class KeptFile {
  readonly #text = Buffer.alloc(TEXT_BYTES)
  #fd: number | null | undefined
  #length = 0

  constructor(
    readonly path: string,
    readonly flags: 'r' | 'w',
  ) {}

  /** Reads what it says now, and makes nothing of it yet: two files can be read right after one another. */
  read(): void {
    const fd = this.#open()
    this.#length = fd === null ? 0 : readSync(fd, this.#text, 0, TEXT_BYTES, 0)
  }

  /** What it said when it was read; '' where there is no such file. */
  get text(): string {
    return this.#text.toString('latin1', 0, this.#length)
  }

  /** Nothing happens where there is no such file. */
  write(value: string): void {
    const fd = this.#open()
    if (fd !== null) writeSync(fd, value, 0)
  }

  #open(): number | null {
    if (this.#fd === undefined) {
      try {
        this.#fd = openSync(this.path, this.flags)
      } catch {
        // Not every kernel has it.
        this.#fd = null
      }
    }
    return this.#fd
  }
}
