// SPDX-License-Identifier: Apache-2.0
import { CONSEQUENCE, matchHeader } from './headers.js'
import { Report } from './report.js'
import { isTraceLine } from './stack.js'
import type { LogLine, Splat } from './types.js'

/**
 * A report's lines follow each other; after such a pause, in microseconds, the caller is at something else.
 */
const PAUSE_US = 3_000_000
/** A panic this soon after a report of the same caller, in microseconds, may be its consequence. */
const CONSEQUENCE_US = 1_000_000
/** Before its stack trace a report of form `trace` says no more than this; the rest is not its. */
const HEAD_LINES_MAX = 1200
/** An `====` banner is followed by its header at once. */
const BANNER_LINES_MAX = 4

const CUT = /^-{4,}\[ cut here \]-{4,}$/
const CALL_TRACE = /^Call [Tt]race:/
const BANNER = /^={20,}$/
const END = /^---\[ end (?:trace|Kernel panic)/
/** gmem's own marks on the console, where nothing else tells them from the kernel's words. */
const OWN = /^gmem: /

/** What comes behind a stack trace and still belongs to its report. */
const AFTER = new RegExp(
  `^(?:$|\\s|${[
    '(?:Call Trace|Modules linked in|CPU|Tainted|Hardware name|Workqueue|Stopper|RIP|Code|CR2|page|raw',
    'rcu): ?',
    'irq event stamp|hardirqs |softirqs |---\\[|Kernel Offset|Rebooting in|note: ',
    'INFO: lockdep is turned off',
    '(?:no|\\d+) locks? held by|#\\d+: |Preemption disabled|FIX |NMI backtrace|Sending NMI|task:|pool \\d+:',
    'Showing (?:busy|backtraces|all)|workqueue \\S+:|Disabling lock debugging|page dumped|\\(detected by',
    'Kernel panic - |stack backtrace:|Backtrace of|The pool ',
  ].join('|')})`,
)

/** The registers of the first oops, which the kernel shows once more behind the end of every one. */
const SUMMARY = /^(?:RIP: |Code: |RSP: |R[A-Z0-9]{2}: |FS: |CS: |CR2: |DR\d: |PKRU: |note: )/

/**
 * Finds the kernel's reports in its log. Lines of different callers (CONFIG_PRINTK_CALLER) are kept apart, so
 * that two CPUs may report at once. Push every line in order, then take what is complete, or flush what there
 * is.
 */
export class SplatDetector {
  readonly #open = new Map<string, Report>()
  /** The last report of each caller that is complete but may still get its registers or a panic. */
  readonly #closed = new Map<string, Report>()
  #done: Splat[] = []

  /** Whether a report has begun and certainly goes on. */
  get busy(): boolean {
    return [...this.#open.values()].some((report) => !report.settled)
  }

  push(line: LogLine): void {
    if (line.facility !== null && line.facility !== 0) return
    for (const text of line.text.split('\n')) if (!OWN.test(text)) this.#pushText(line, text)
  }

  /** The reports that are complete, oldest first; those that are being printed stay. */
  take(): Splat[] {
    for (const caller of [...this.#closed.keys()]) this.#emit(caller)
    const done = this.#done.sort((a, b) => a.firstSeq - b.firstSeq)
    this.#done = []
    return done
  }

  /** All reports, cut short where the log ends in the middle of one. */
  flush(): Splat[] {
    for (const caller of [...this.#open.keys()]) this.#close(caller)
    return this.take()
  }

  #pushText(line: LogLine, text: string): void {
    const report = this.#open.get(line.caller)
    if (report !== undefined && line.timeUs - report.lastTimeUs > PAUSE_US) {
      this.#close(line.caller)
      this.#pushFresh(line, text)
    } else if (report === undefined) this.#pushFresh(line, text)
    else if (line.continued) report.append(line, text)
    else if (report.phase === 'head') this.#pushHead(report, line, text)
    else this.#pushTrace(report, line, text)
  }

  #pushFresh(line: LogLine, text: string): void {
    if (line.continued || this.#extendClosed(line, text)) return
    const cut = CUT.test(text)
    const header = cut || BANNER.test(text) ? null : matchHeader(text)
    if (!cut && header === null && !BANNER.test(text)) return
    this.#emit(line.caller)
    const report = new Report(line, cut)
    report.append(line, text)
    if (header !== null) report.name(header.pattern, header.facts)
    this.#open.set(line.caller, report)
    if (header?.pattern.form === 'line') this.#close(line.caller)
  }

  /** Registers and a panic that follow a report's own end. */
  #extendClosed(line: LogLine, text: string): boolean {
    const closed = this.#closed.get(line.caller)
    if (closed === undefined || line.timeUs - closed.lastTimeUs > CONSEQUENCE_US) return false
    if (CONSEQUENCE.test(text)) {
      closed.fatal = true
      closed.phase = 'after'
      closed.append(line, text)
      this.#closed.delete(line.caller)
      this.#open.set(line.caller, closed)
      return true
    }
    const registers = closed.pattern?.form === 'cut' && SUMMARY.test(text)
    const repair = closed.pattern?.kind === 'slab' && text.startsWith('FIX ')
    if (!registers && !repair) return false
    closed.append(line, text)
    return true
  }

  #pushHead(report: Report, line: LogLine, text: string): void {
    const header = matchHeader(text)
    const form = header?.pattern.form ?? report.pattern?.form
    if (header?.pattern.form === 'line' && report.pattern !== null && report.pattern.form !== 'oom') {
      this.#close(line.caller)
      this.#pushFresh(line, text)
      return
    }
    const limit = report.pattern === null && !report.fromCut ? BANNER_LINES_MAX : HEAD_LINES_MAX
    if (header === null && form !== 'banner' && form !== 'oom' && report.lineCount >= limit) {
      this.#close(line.caller)
      this.#pushFresh(line, text)
      return
    }
    if (form === 'prefixed' && !text.startsWith('kmemleak: ')) {
      this.#close(line.caller)
      this.#pushFresh(line, text)
      return
    }
    if (header !== null) report.name(header.pattern, header.facts)
    if (header?.pattern.kind === 'panic') report.fatal = true
    report.append(line, text)
    if (CALL_TRACE.test(text)) report.phase = 'trace'
    else if (this.#isEnd(report, text) || header?.pattern.form === 'line') this.#close(line.caller)
  }

  #pushTrace(report: Report, line: LogLine, text: string): void {
    const form = report.pattern?.form
    if (CONSEQUENCE.test(text)) report.fatal = true
    else if (this.#startsAnother(report, text)) {
      this.#close(line.caller)
      this.#pushFresh(line, text)
      return
    }
    const wholeUntilEnd = form === 'banner' || form === 'oom'
    if (!wholeUntilEnd && !isTraceLine(text) && !AFTER.test(text)) {
      this.#close(line.caller)
      this.#pushFresh(line, text)
      return
    }
    report.append(line, text)
    report.phase =
      text === ' </TASK>' ? 'after' : isTraceLine(text) || CALL_TRACE.test(text) ? 'trace' : report.phase
    const header = form === 'oom' ? matchHeader(text) : null
    if (header?.pattern.kind === 'OOM') report.name(header.pattern, header.facts)
    if (this.#isEnd(report, text) || header?.pattern.kind === 'OOM') this.#close(line.caller)
  }

  #startsAnother(report: Report, text: string): boolean {
    if (CUT.test(text)) return true
    if (BANNER.test(text)) return report.pattern?.form !== 'banner'
    const header = matchHeader(text)
    return header !== null && !(report.pattern?.form === 'oom' && header.pattern.kind === 'OOM')
  }

  #isEnd(report: Report, text: string): boolean {
    if (END.test(text)) return true
    return BANNER.test(text) && report.pattern?.form === 'banner' && report.lineCount > 2
  }

  #close(caller: string): void {
    const report = this.#open.get(caller)
    if (report === undefined) return
    this.#open.delete(caller)
    this.#emit(caller)
    this.#closed.set(caller, report)
  }

  #emit(caller: string): void {
    const splat = this.#closed.get(caller)?.finish()
    this.#closed.delete(caller)
    if (splat) this.#done.push(splat)
  }
}

/** The reports in a log that is complete. */
export function detectSplats(lines: Iterable<LogLine>): Splat[] {
  const detector = new SplatDetector()
  for (const line of lines) detector.push(line)
  return detector.flush()
}

/** Folds reports with the same fingerprint and title into the first of them, with a count. */
export function foldSplats(splats: readonly Splat[]): Splat[] {
  const folded = new Map<string, Splat>()
  for (const splat of splats) {
    // Two WARNs of one function have the same stack; their lines, in the titles, tell them apart.
    const key = `${splat.fingerprint}\n${splat.title}`
    const known = folded.get(key)
    const count = (known?.count ?? 0) + splat.count
    folded.set(key, { ...(known ?? splat), count, fatal: splat.fatal || known?.fatal === true })
  }
  return [...folded.values()]
}
