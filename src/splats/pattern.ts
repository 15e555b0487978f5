// SPDX-License-Identifier: Apache-2.0
import type { SplatKind } from './types.js'

/**
 * How a report goes on after its header. `line`: it does not. `trace`: up to the end of its stack trace.
 * `cut`: up to `---[ end trace`. `banner`: up to the next `====`. `oom`: up to the kill. `prefixed`: while
 * the lines carry the subsystem's prefix.
 */
export type Form = 'line' | 'trace' | 'cut' | 'banner' | 'oom' | 'prefixed'

/** A line that starts a report, or that says in it what it is about. */
export interface Pattern {
  readonly kind: SplatKind
  readonly form: Form
  /** Of several such lines in one report, the one with the highest rank names it. */
  readonly rank: number
  readonly regex: RegExp
  /** With `$<group>` for what the line says, and ` @` at the end where "in FUNCTION" belongs. */
  readonly title: string
}

/** What a header line says about its report. */
export interface HeaderFacts {
  /** May still end in ` @`. */
  readonly title: string
  readonly comm?: string | undefined
  readonly pid?: string | undefined
  readonly cpu?: string | undefined
  readonly fileLine?: string | undefined
  readonly function?: string | undefined
}

/** Parts of header lines; the group names are those that `factsOf` reads. */
export const PART = {
  symbol: String.raw`(?<fn>[\w.$]+)(?:\+0x[0-9a-f]+\/0x[0-9a-f]+)?(?: \[[^\]]+\])?`,
  otherSymbol: String.raw`(?<other>[\w.$]+)(?:\+0x[0-9a-f]+\/0x[0-9a-f]+)?(?: \[[^\]]+\])?`,
  task: String.raw`(?<comm>.{1,20})\/(?<pid>\d+)`,
  cpu: String.raw`CPU#(?<cpu>\d+)`,
  at: String.raw`(?<at>\S+?:\d+)`,
} as const

/** One pattern; a string is taken as a regular expression anchored to the start of the message. */
export function header(kind: SplatKind, form: Form, rank: number, regex: string, title: string): Pattern {
  return { kind, form, rank, regex: new RegExp(`^${regex}`), title }
}

/** What `match` says, by the groups of its pattern. */
export function factsOf(pattern: Pattern, match: RegExpExecArray): HeaderFacts {
  const groups = match.groups ?? {}
  return {
    title: pattern.title.replace(/\$<(\w+)>/g, (_, name: string) => groups[name] ?? ''),
    comm: groups.comm,
    pid: groups.pid,
    cpu: groups.cpu,
    fileLine: groups.at,
    function: groups.fn,
  }
}
