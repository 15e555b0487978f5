// SPDX-License-Identifier: Apache-2.0
import { header, PART, type Pattern } from './pattern.js'

const { symbol, otherSymbol, task, cpu, at } = PART

/** mm/kasan, mm/kfence, mm/kmsan, kernel/kcsan, lib/ubsan.c */
const SANITIZERS: readonly Pattern[] = [
  header('KASAN', 'banner', 20, `BUG: KASAN: (?<what>.+?)(?: in ${symbol})?$`, 'KASAN: $<what> @'),
  header('KFENCE', 'banner', 20, `BUG: KFENCE: (?<what>.+?)(?: in ${symbol})?$`, 'KFENCE: $<what> @'),
  header('KMSAN', 'banner', 20, `BUG: KMSAN: (?<what>.+?)(?: in ${symbol})?$`, 'KMSAN: $<what> @'),
  header(
    'KCSAN',
    'banner',
    20,
    `BUG: KCSAN: (?<what>.+?) in ${symbol} \\/ ${otherSymbol}$`,
    'KCSAN: $<what> in $<fn> / $<other>',
  ),
  header('KCSAN', 'banner', 20, `BUG: KCSAN: (?<what>.+?) in ${symbol}$`, 'KCSAN: $<what> in $<fn>'),
  header('UBSAN', 'cut', 20, `UBSAN: (?<what>.+) in ${at}(?::\\d+)?$`, 'UBSAN: $<what> in $<at>'),
]

const LOCKDEP_WARNINGS = [
  'possible (?:circular locking dependency|recursive locking|irq lock inversion dependency) detected',
  '\\S+-safe -> \\S+-unsafe lock order detected',
  'inconsistent lock state',
  'Nested lock was not taken',
  'bad (?:unlock balance|contention) detected',
  'held lock freed',
  'lock held when returning to user space',
  'chain_key collision',
  'suspicious RCU usage',
]

/** kernel/locking/{lockdep,spinlock_debug}.c */
const LOCKING: readonly Pattern[] = [
  header('lockdep', 'trace', 15, `WARNING: (?<what>${LOCKDEP_WARNINGS.join('|')})`, '$<what> @'),
  header('lockdep', 'trace', 15, `WARNING: ${task} still has locks held!$`, 'task still has locks held @'),
  header('lockdep', 'trace', 15, '\\[ (?:BUG|INFO): (?<what>.+?)!? \\]$', '$<what> @'),
  header('lockdep', 'trace', 15, 'INFO: (?<what>trying to register non-static key)', '$<what> @'),
  header('lockdep', 'trace', 15, 'BUG: (?<what>MAX_[A-Z_]+ too low)!', '$<what> @'),
  header(
    'spinlock',
    'trace',
    15,
    `BUG: (?<what>(?:spin|rw)lock \\S.*?) on ${cpu}, ${task}`,
    'BUG: $<what> @',
  ),
]

/** kernel/sched/core.c, lib/smp_processor_id.c, kernel/workqueue.c */
const SCHEDULING: readonly Pattern[] = [
  header(
    'atomic-sleep',
    'trace',
    15,
    `BUG: (?<what>scheduling while atomic|scheduling in a non-blocking section): ${task}/`,
    'BUG: $<what> @',
  ),
  header(
    'atomic-sleep',
    'trace',
    15,
    'BUG: (?<what>sleeping function called from invalid context|assuming (?:atomic|non migratable) context)' +
      ` at ${at}`,
    'BUG: $<what> @',
  ),
  header(
    'preemptible',
    'trace',
    15,
    `BUG: (?<what>using \\S+\\(\\) in preemptible) \\[[0-9a-f]+\\] code: ${task}`,
    'BUG: $<what> code @',
  ),
  header('workqueue', 'trace', 15, 'BUG: (?<what>workqueue lockup)', 'BUG: $<what> @'),
  header('workqueue', 'trace', 15, 'BUG: (?<what>workqueue leaked [\\w, ]+)', 'BUG: $<what> @'),
]

export const CHECKER_HEADERS: readonly Pattern[] = [...SANITIZERS, ...LOCKING, ...SCHEDULING]
