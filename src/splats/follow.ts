// SPDX-License-Identifier: Apache-2.0
import { closeSync, constants, openSync, readSync, writeFileSync, writeSync } from 'node:fs'
import { type KmsgRecord, parseKmsgRecord } from './kmsg.js'

/** More than the longest record: kernel/printk gives PRINTK_MESSAGE_MAX, 2048 bytes, escapes included. */
const RECORD_BYTES_MAX = 8192
/**
 * Of a mark. Longer ones cost: the serial console takes some 3 µs a character under TCG. (Beyond 1024 bytes:
 * EINVAL.)
 */
const MARK_CHARS_MAX = 120
/** What a mark cannot hold as it is. */
const UNFIT = /[^ -~]| {2}/

/** Reads /dev/kmsg as it grows, without blocking, and writes marks into it. Inside the guest only. */
export class KmsgFollower {
  readonly #reader: number
  readonly #writer: number
  readonly #buffer = Buffer.allocUnsafe(RECORD_BYTES_MAX)
  #nextSeq = 0
  #markTimeUs = 0
  #lost = 0

  /**
   * Starts at the oldest record that is still there. Throws ENOENT or EACCES where there is no kernel log to
   * read.
   */
  constructor(path = '/dev/kmsg') {
    this.#reader = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK)
    this.#writer = openSync(path, constants.O_WRONLY)
    allowEveryMark()
  }

  /** The sequence number that the next record will have, as far as is known. */
  get nextSeq(): number {
    return this.#nextSeq
  }

  /** When the last mark was written that `drainToMark` was given: by the log's own clock, in microseconds since boot. */
  get markTimeUs(): number {
    return this.#markTimeUs
  }

  /** All records since the last call. */
  drain(): KmsgRecord[] {
    return this.#drainTo(null)
  }

  /**
   * Writes a mark and returns all records before it. Cheaper than `drain`: that it is complete shows in the
   * mark itself, not in an EAGAIN, which Node makes an exception of (1.2 ms under TCG).
   */
  drainToMark(text: string): KmsgRecord[] {
    return this.#drainTo(this.mark(text))
  }

  #drainTo(mark: string | null): KmsgRecord[] {
    const records: KmsgRecord[] = []
    for (;;) {
      const size = this.#read()
      if (size === null) return records
      const record = size === 0 ? null : parseKmsgRecord(this.#buffer.toString('latin1', 0, size))
      if (record === null) continue
      // Records that are overwritten before they are read are missing from the sequence.
      if (this.#nextSeq > 0) this.#lost += Math.max(0, record.seq - this.#nextSeq)
      this.#nextSeq = record.seq + 1
      if (record.text === mark && record.facility !== 0) {
        this.#markTimeUs = record.timeUs
        return records
      }
      records.push(record)
    }
  }

  /** How many records were overwritten before they could be read, since the last call. */
  takeLost(): number {
    const lost = this.#lost
    this.#lost = 0
    return lost
  }

  /**
   * Writes `gmem: TEXT` into the log and so, at level info, onto the console. Returns it: one line, printable
   * ASCII.
   */
  mark(text: string): string {
    const whole = `gmem: ${UNFIT.test(text) ? text.replace(/\s+/g, ' ').replace(/[^ -~]/g, '?') : text}`
    const line = whole.slice(0, MARK_CHARS_MAX).trimEnd()
    // Without the newline the record stays open for more, and no reader sees it yet (kernel/printk/printk.c, vprintk_store).
    writeSync(this.#writer, `<6>${line}\n`)
    return line
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
 * By default the kernel silently drops all but ten writes in five seconds. The newline is part of the value:
 * without it the sysctl answers EINVAL (kernel/printk/printk.c, devkmsg_sysctl_set_loglvl). Where
 * `printk.devkmsg=` was given at boot, it is locked and refuses.
 */
function allowEveryMark(): void {
  try {
    writeFileSync('/proc/sys/kernel/printk_devkmsg', 'on\n')
  } catch {
    // Marks are for people and for the host's last resort; the log itself is read either way.
  }
}
