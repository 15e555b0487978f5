// SPDX-License-Identifier: Apache-2.0
import { CHECKER_HEADERS } from './headers-checkers.js'
import { FAULT_HEADERS, LAST_HEADERS } from './headers-faults.js'
import { STALL_HEADERS } from './headers-stalls.js'
import { factsOf, type HeaderFacts, type Pattern } from './pattern.js'

/**
 * Everything is anchored to the start of the message: "WARNING" or "BUG" inside an ordinary line means
 * nothing.
 */
const HEADERS: readonly Pattern[] = [...FAULT_HEADERS, ...CHECKER_HEADERS, ...STALL_HEADERS, ...LAST_HEADERS]

/** Of the thousands of lines of a log, almost none gets past this. */
const MAY_BE_HEADER = new RegExp(
  `^(?:${[
    'WARNING: |BUG|kernel |Kernel |Oops|INFO: |rcu: |watchdog: |NMI watchdog: |UBSAN: |refcount_t: ',
    'list_|ODEBUG: ',
    'usercopy: |traps: |PANIC: |kmemleak: |VFS: |CFI |Unable |Internal error: |Out of memory',
    'Memory cgroup out',
    '\\[|general |divide |invalid |stack |int3|bounds|.{1,20} invoked oom-killer',
  ].join('|')})`,
)

/** The pattern that a line fits, with what the line says, or null. */
export function matchHeader(text: string): { readonly pattern: Pattern; readonly facts: HeaderFacts } | null {
  if (!MAY_BE_HEADER.test(text)) return null
  for (const pattern of HEADERS) {
    const match = pattern.regex.exec(text)
    if (match !== null) return { pattern, facts: factsOf(pattern, match) }
  }
  return null
}

const CONSEQUENCES = [
  'Fatal exception|.*: panic_on_warn set|.*: system warned too often|Machine halted|.* stack guard hit',
  "can't return from __builtin_unreachable|kasan\\.fault=|softlockup: hung tasks|hung_task: blocked tasks",
  'RCU Stall|Hard LOCKUP|workqueue: |Attempted to kill (?:init|the idle)|Out of memory: ',
  'System is deadlocked on memory',
]

/** Panics that only say that a report just printed was fatal. */
export const CONSEQUENCE = new RegExp(`^Kernel panic - not syncing: (?:${CONSEQUENCES.join('|')})`)
