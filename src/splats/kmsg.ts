// SPDX-License-Identifier: Apache-2.0
import type { LogLine } from './types.js'

/** One record of /dev/kmsg (Documentation/ABI/testing/dev-kmsg). */
export interface KmsgRecord {
  /** syslog level, 0 (emergency) to 7 (debug). */
  readonly level: number
  readonly facility: number
  readonly seq: number
  readonly timeUs: number
  readonly caller: string
  readonly continued: boolean
  /** Unescaped; may hold several lines. */
  readonly text: string
  /** `SUBSYSTEM`, `DEVICE`, … */
  readonly properties: Readonly<Record<string, string>>
}

const NONE: Readonly<Record<string, string>> = {}
const CALLER = /^caller=([TC]\d+)/

/**
 * The record that one read(2) of /dev/kmsg returned: `prio,seq,time,flags[,caller=T1];text`, then `
 * KEY=value` lines. Returns null where it is not one. Unknown fields between flags and `;` are ignored, as
 * the ABI demands.
 */
export function parseKmsgRecord(raw: string): KmsgRecord | null {
  // Not one regular expression for all: each test reads two records, and under --jitless it is interpreted twice over.
  const [first = '', ...rest] = (raw.endsWith('\n') ? raw.slice(0, -1) : raw).split('\n')
  const textAt = first.indexOf(';')
  const [priority, seq, timeUs, flags, ...more] = first.slice(0, Math.max(0, textAt)).split(',')
  if (flags === undefined || !isCount(priority) || !isCount(seq) || !isCount(timeUs)) return null
  return {
    level: Number(priority) & 7,
    facility: Number(priority) >> 3,
    seq: Number(seq),
    timeUs: Number(timeUs),
    caller: callerOf(more),
    continued: flags === 'c',
    text: unescapeKmsg(first.slice(textAt + 1)),
    properties: rest.length === 0 ? NONE : Object.fromEntries(rest.flatMap(property)),
  }
}

// Decimal digits and nothing else.
function isCount(field: string | undefined): boolean {
  const count = Number(field)
  return Number.isSafeInteger(count) && count >= 0 && String(count) === field
}

function callerOf(fields: readonly string[]): string {
  for (const field of fields) {
    const match = CALLER.exec(field)
    if (match !== null) return match[1] ?? ''
  }
  return ''
}

function property(line: string): [string, string][] {
  const at = line.indexOf('=')
  return line.startsWith(' ') && at > 0 ? [[line.slice(1, at), unescapeKmsg(line.slice(at + 1))]] : []
}

/** Undoes `\xNN`, which stands for one byte of UTF-8. */
export function unescapeKmsg(text: string): string {
  if (!text.includes('\\x')) return text
  const bytes = text.replace(/\\x([0-9a-f]{2})/g, (_, digits: string) =>
    String.fromCharCode(Number.parseInt(digits, 16)),
  )
  return Buffer.from(bytes, 'latin1').toString('utf8')
}

/** The lines of a record: each is what the console would show on one line. */
export function linesOfRecord(record: KmsgRecord): LogLine[] {
  const { seq, timeUs, caller, facility, continued } = record
  return record.text.split('\n').map((text, index) => ({
    seq,
    timeUs,
    caller,
    facility,
    continued: continued && index === 0,
    text,
  }))
}

const CONSOLE = /^(?:<(\d+)>)?\[ *(\d+)\.(\d{6})\](?:\[ *([TC]\d+)\])? ?(.*)$/
/**
 * Where a program had written to the console without ending its line: only a prefix with a caller is certain.
 */
const CONSOLE_INSIDE = /\[ *(\d+)\.(\d{6})\]\[ *([TC]\d+)\] (.*)$/

/**
 * A line of the console, `[    1.234567][  T123] text`, the caller being there with CONFIG_PRINTK_CALLER and
 * `<4>` in front with console_msg_format=syslog. Returns null for what is not the kernel's: a program's
 * output, firmware.
 */
export function parseConsoleLine(line: string, seq: number): LogLine | null {
  const plain = line.endsWith('\r') ? line.slice(0, -1) : line
  const whole = CONSOLE.exec(plain)
  if (whole !== null) {
    const [, priority, seconds = '', micro = '', caller = '', text = ''] = whole
    return consoleLine(
      seq,
      seconds,
      micro,
      caller,
      text,
      priority === undefined ? null : Number(priority) >> 3,
    )
  }
  const inside = CONSOLE_INSIDE.exec(plain)
  if (inside === null) return null
  const [, seconds = '', micro = '', caller = '', text = ''] = inside
  return consoleLine(seq, seconds, micro, caller, text, null)
}

function consoleLine(
  seq: number,
  seconds: string,
  micro: string,
  caller: string,
  text: string,
  facility: number | null,
): LogLine {
  return { seq, timeUs: Number(seconds) * 1e6 + Number(micro), caller, facility, continued: false, text }
}
