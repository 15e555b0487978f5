// SPDX-License-Identifier: Apache-2.0

/** What the kernel complained about, in the field's own words. */
export const SPLAT_KINDS = [
  'WARN',
  'BUG',
  'Oops',
  'KASAN',
  'KMSAN',
  'KCSAN',
  'UBSAN',
  'KFENCE',
  'lockdep',
  'atomic-sleep',
  'preemptible',
  'spinlock',
  'RCU-stall',
  'soft-lockup',
  'hard-lockup',
  'hung-task',
  'workqueue',
  'refcount',
  'list-corruption',
  'bad-page',
  'slab',
  'usercopy',
  'debugobjects',
  'kmemleak',
  'double-fault',
  'stack-overflow',
  'panic',
  /** The kernel started anew on a console where it had started already. */
  'reboot',
  /** The OOM killer chose somebody: reported, but not the kernel's mistake (see `isSplat`). */
  'OOM',
  /** A taint flag rose and no report in the log explains it. */
  'taint',
  /** Log records were overwritten before they were read: what they said is unknown. */
  'lost-log',
] as const

export type SplatKind = (typeof SPLAT_KINDS)[number]

/** The task that a report names. */
export interface TaskRef {
  /** TASK_COMM_LEN: at most 15 bytes. '' where the report names only the pid. */
  readonly comm: string
  readonly pid: number
}

/** One report of the kernel. Plain data: it travels between guest and host. */
export interface Splat {
  readonly kind: SplatKind
  /** One line, without addresses, offsets, CPU or pid. */
  readonly title: string
  /** The same for the same bug on any boot: the kind and the first functions of the stack, joined by `:`. */
  readonly fingerprint: string
  /** Whose context or, for a hung task, who hangs; null where the report does not say. */
  readonly task: TaskRef | null
  readonly cpu: number | null
  /** The first function on the stack that does not belong to the reporting itself. */
  readonly function: string | null
  /** `mm/slub.c:1257` as the report gives it. */
  readonly fileLine: string | null
  /** The report as it was printed, without time and caller. */
  readonly text: string
  /** /dev/kmsg sequence numbers; on the console: line numbers from 0. */
  readonly firstSeq: number
  readonly lastSeq: number
  /** How often it was printed: reports with the same fingerprint and title are folded into the first. */
  readonly count: number
  /** The kernel panicked because of it, or said that it would. */
  readonly fatal: boolean
  /** Which earlier test it belongs to, where the task's name tells that it is not the one that runs. */
  readonly earlierTest?: string
}

/** One line of the kernel log, wherever it was read. */
export interface LogLine {
  readonly seq: number
  /** Since boot, in microseconds. */
  readonly timeUs: number
  /** `T123` (task), `C1` (interrupt on a CPU), or '' where the kernel has no CONFIG_PRINTK_CALLER. */
  readonly caller: string
  /** syslog facility: 0 is the kernel, anything else user space; null where the source does not tell. */
  readonly facility: number | null
  /** The rest of a line that another CPU's message had cut in two. */
  readonly continued: boolean
  readonly text: string
}

/** False for what is worth knowing but not the kernel's mistake. */
export function isSplat(splat: Splat): boolean {
  return splat.kind !== 'OOM'
}
