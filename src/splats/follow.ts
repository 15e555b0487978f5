// SPDX-License-Identifier: Apache-2.0
import { closeSync, constants, openSync, readSync, writeFileSync, writeSync } from 'node:fs'
import { type KmsgRecord, parseKmsgRecord } from './kmsg.js'

/** More than the longest record: kernel/printk gives PRINTK_MESSAGE_MAX, 2048 bytes, escapes included. */
const RECORD_BYTES_MAX = 8192
/** Of a mark; a write beyond PRINTKRB_RECORD_MAX, 1024 bytes, is EINVAL. */
const MARK_BYTES_MAX = 900

/** Reads /dev/kmsg as it grows, without blocking, and writes marks into it. Inside the guest only. */
export class KmsgFollower {
  readonly #reader: number
  readonly #writer: number
  readonly #buffer = Buffer.allocUnsafe(RECORD_BYTES_MAX)
  #nextSeq = 0
  #lost = 0

  /** Starts at the oldest record that is still there. Throws ENOENT or EACCES where there is no kernel log to read. */
  constructor(path = '/dev/kmsg') {
    this.#reader = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK)
    this.#writer = openSync(path, constants.O_WRONLY)
    allowEveryMark()
  }

  /** The sequence number that the next record will have, as far as is known. */
  get nextSeq(): number {
    return this.#nextSeq
  }

  /** All records since the last call. Costs one read(2) a record and one for the end. */
  drain(): KmsgRecord[] {
    const records: KmsgRecord[] = []
    for (;;) {
      const size = this.#read()
      if (size === null) return records
      const record = size === 0 ? null : parseKmsgRecord(this.#buffer.toString('latin1', 0, size))
      if (record === null) continue
      // Records that are overwritten before they are read are missing from the sequence.
      if (this.#nextSeq > 0) this.#lost += Math.max(0, record.seq - this.#nextSeq)
      this.#nextSeq = record.seq + 1
      records.push(record)
    }
  }

  /** How many records were overwritten before they could be read, since the last call. */
  takeLost(): number {
    const lost = this.#lost
    this.#lost = 0
    return lost
  }

  /** Writes `gmem: TEXT` into the log and so, at level info, onto the console. Newlines become spaces. */
  mark(text: string): void {
    const line = Buffer.from(`<6>gmem: ${text.replace(/\s+/g, ' ')}`)
    writeSync(this.#writer, line.subarray(0, MARK_BYTES_MAX))
  }

  close(): void {
    closeSync(this.#reader)
    closeSync(this.#writer)
  }

  /** Bytes of one record, 0 where records were lost (the next read goes on), null where there is none. */
  #read(): number | null {
    // The end of the log is an exception in Node, and its stack trace is most of what it costs.
    const depth = Error.stackTraceLimit
    Error.stackTraceLimit = 0
    try {
      return readSync(this.#reader, this.#buffer, 0, RECORD_BYTES_MAX, null)
    } catch (error) {
      const code = (error as NodeJS.ErrnoException).code
      if (code === 'EAGAIN') return null
      if (code === 'EPIPE') return 0
      throw error
    } finally {
      Error.stackTraceLimit = depth
    }
  }
}

/**
 * By default the kernel silently drops all but ten writes in five seconds. The newline is part of the value: without it the
 * sysctl answers EINVAL (kernel/printk/printk.c, devkmsg_sysctl_set_loglvl). Where `printk.devkmsg=` was given at boot, it is
 * locked and refuses.
 */
function allowEveryMark(): void {
  try {
    writeFileSync('/proc/sys/kernel/printk_devkmsg', 'on\n')
  } catch {
    // Marks are for people and for the host's last resort; the log itself is read either way.
  }
}
