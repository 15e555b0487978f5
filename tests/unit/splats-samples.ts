// SPDX-License-Identifier: Apache-2.0
import { readFileSync } from 'node:fs'
import { linesOfRecord, parseConsoleLine, parseKmsgRecord } from '../../src/splats/kmsg.js'
import type { LogLine } from '../../src/splats/types.js'

/** A recording of splats-fixtures/ as text. */
export function recording(name: string): string {
  return readFileSync(new URL(`splats-fixtures/${name}`, import.meta.url), 'utf8')
}

/** The records of a recorded /dev/kmsg, one by one, as read(2) gave them. */
export function kmsgReads(text: string): string[] {
  return text.split(/\n(?! )/).filter((record) => record !== '')
}

/** The kernel's lines in a recording. */
export function logLines(name: string): LogLine[] {
  const text = recording(name)
  if (name.endsWith('.console')) return consoleLines(text)
  return kmsgReads(text).flatMap((raw) => {
    const record = parseKmsgRecord(raw)
    return record === null ? [] : linesOfRecord(record)
  })
}

export function consoleLines(text: string): LogLine[] {
  return text.split('\n').flatMap((line, index) => parseConsoleLine(line, index) ?? [])
}

/** Messages of one caller, one millisecond apart. */
export function said(messages: string | readonly string[], caller = 'T42'): LogLine[] {
  const lines = typeof messages === 'string' ? messages.split('\n') : messages
  return lines.map((text, index) => ({
    seq: index,
    timeUs: 5_000_000 + index * 1000,
    caller,
    facility: 0,
    continued: false,
    text,
  }))
}

/** What dump_stack() prints, with the functions given, innermost first. */
export function stackDump(...functions: string[]): string {
  return [
    'CPU: 1 UID: 0 PID: 42 Comm: gmem-t7 Not tainted 7.3.4 #1 PREEMPT(full) ',
    'Call Trace:',
    ' <TASK>',
    ' dump_stack_lvl+0x4f/0x60',
    ...functions.map((name, index) => ` ${name}+0x1${index}/0x2${index}`),
    ' do_syscall_64+0x4f/0x2f0',
    ' entry_SYSCALL_64_after_hwframe+0x4b/0x53',
    'RIP: 0033:0x442e70',
    ' </TASK>',
  ].join('\n')
}
