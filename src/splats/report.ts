// SPDX-License-Identifier: Apache-2.0
import type { HeaderFacts, Pattern } from './pattern.js'
import { baseName, meaningfulFunctions, parseTraces } from './stack.js'
import type { LogLine, Splat, SplatKind, TaskRef } from './types.js'

/**
 * A lockdep chain may have hundreds of lines before the stack trace; a runaway report must not fill the
 * memory.
 */
const LINES_MAX = 1500

/** Kinds whose cause is what an interrupt found running, not the interrupt's own stack. */
const INTERRUPTED: ReadonlySet<SplatKind> = new Set(['RCU-stall', 'soft-lockup', 'hard-lockup', 'workqueue'])

const CPU_LINE =
  /^CPU: (\d+)(?: UID: \d+)? PID: (\d+) Comm: (.{1,20}?) (?:Kdump: loaded )?(?:Tainted|Not tainted)/
const TASK_LINE = /^task:(\S.*?) +state:\S.*? pid:(\d+)/

/** A report while it is read. */
export class Report {
  pattern: Pattern | null = null
  facts: HeaderFacts | null = null
  /** head: before the stack trace; trace: inside one; after: behind it. */
  phase: 'head' | 'trace' | 'after' = 'head'
  fatal = false
  /** How a report without any header started. */
  readonly fromCut: boolean
  readonly #lines: string[] = []
  #omitted = 0
  readonly #caller: string
  readonly firstSeq: number
  lastSeq: number
  lastTimeUs: number

  constructor(first: LogLine, fromCut: boolean) {
    this.fromCut = fromCut
    this.#caller = first.caller
    this.firstSeq = first.seq
    this.lastSeq = first.seq
    this.lastTimeUs = first.timeUs
  }

  /** Whether nothing more has to come: stack traces without an end mark end with the task's stack. */
  get settled(): boolean {
    return this.phase === 'after' && this.pattern?.form === 'trace' && !INTERRUPTED.has(this.pattern.kind)
  }

  get lineCount(): number {
    return this.#lines.length + this.#omitted
  }

  append(line: LogLine, text: string): void {
    if (this.#lines.length < LINES_MAX) this.#lines.push(text)
    else this.#omitted += 1
    this.lastSeq = line.seq
    this.lastTimeUs = line.timeUs
  }

  /** Lets the better of several header lines name the report. */
  name(pattern: Pattern, facts: HeaderFacts): void {
    const better = this.pattern === null || this.pattern.rank < pattern.rank
    this.facts =
      this.facts === null ? facts : better ? complete(facts, this.facts) : complete(this.facts, facts)
    if (better) this.pattern = pattern
  }

  /** Null where it turned out to be no report: a banner with nothing under it. */
  finish(): Splat | null {
    if (this.pattern === null && !this.fromCut) return null
    const kind = this.pattern?.kind ?? 'WARN'
    const lines = this.#lines
    const functions = kind === 'KCSAN' ? this.#racers() : this.#functions(kind)
    const first = functions[0] ?? null
    const title = this.#title(first)
    return {
      kind,
      title,
      fingerprint: [kind, ...(functions.length > 0 ? functions : [titleKey(title)])].join(':'),
      task: this.#task(),
      cpu: toNumber(this.facts?.cpu ?? this.#find(CPU_LINE)?.[1]),
      function: first,
      fileLine: this.facts?.fileLine ?? null,
      text: [...lines, ...(this.#omitted > 0 ? [`… ${this.#omitted} more lines`] : [])].join('\n').trimEnd(),
      firstSeq: this.firstSeq,
      lastSeq: this.lastSeq,
      count: 1,
      fatal: this.fatal || kind === 'panic',
    }
  }

  #functions(kind: SplatKind): string[] {
    const found = meaningfulFunctions(parseTraces(this.#lines), INTERRUPTED.has(kind))
    if (found.length > 0 || this.facts?.function === undefined) return found
    return [baseName(this.facts.function)]
  }

  /** The kernel sorts the two sides of a race by address, which changes from build to build. */
  #racers(): string[] {
    const sides = / in (\S+)(?: \/ (\S+))?$/.exec(this.facts?.title ?? '')
    return [sides?.[1], sides?.[2]]
      .filter((side) => side !== undefined)
      .map(baseName)
      .sort()
  }

  #title(first: string | null): string {
    if (this.facts === null) return 'a report that broke off after "cut here"'
    const message = this.pattern?.kind === 'WARN' ? this.#warnMessage() : null
    const titled = this.facts.title.replace(/ @$/, first === null ? '' : ` in ${first}`)
    return clean(message === null ? titled : `${titled}: ${message}`)
  }

  /** What WARN(…, "text") says: its first line, between "cut here" and the header. */
  #warnMessage(): string | null {
    const header = this.#lines.findIndex((line) => line.startsWith('WARNING: '))
    const cut = this.#lines.findIndex((line) => line.includes('[ cut here ]'))
    const message = cut >= 0 && cut + 1 < header ? this.#lines[cut + 1] : undefined
    return message === undefined || message === '' ? null : message
  }

  #find(regex: RegExp): RegExpExecArray | null {
    for (const line of this.#lines) {
      const match = regex.exec(line)
      if (match !== null) return match
    }
    return null
  }

  #task(): TaskRef | null {
    const line = this.#find(CPU_LINE)
    const named = this.facts?.comm
    if (named !== undefined) {
      const pid = this.facts?.pid ?? (line?.[3] === named ? line[2] : undefined)
      return { comm: named, pid: Number(pid ?? 0) }
    }
    if (line?.[3] !== undefined) return { comm: line[3], pid: Number(line[2]) }
    const shown = this.#find(TASK_LINE)
    if (shown?.[1] !== undefined) return { comm: shown[1], pid: Number(shown[2]) }
    // A panic after an oops has neither registers nor stack.
    return this.#caller.startsWith('T') ? { comm: '', pid: Number(this.#caller.slice(1)) } : null
  }
}

/** `facts`, with what they do not say taken from `other`. */
function complete(facts: HeaderFacts, other: HeaderFacts): HeaderFacts {
  return {
    title: facts.title,
    comm: facts.comm ?? other.comm,
    pid: facts.pid ?? other.pid,
    cpu: facts.cpu ?? other.cpu,
    fileLine: facts.fileLine ?? other.fileLine,
    function: facts.function ?? other.function,
  }
}

function toNumber(text: string | undefined): number | null {
  return text === undefined ? null : Number(text)
}

/** Without what changes from boot to boot: offsets, module names, addresses, values. */
function clean(title: string): string {
  return title
    .replace(/\+0x[0-9a-f]+\/0x[0-9a-f]+/g, '')
    .replace(/ \[[\w-]+\](?= |$)/g, '')
    .replace(/\b(?:0x)?[0-9a-f]{8,16}\b/g, '…')
    .replace(/\s+/g, ' ')
    .trim()
}

function titleKey(title: string): string {
  return title.replace(/\d+/g, 'N')
}
