// SPDX-License-Identifier: Apache-2.0
import { readFileSync } from 'node:fs'
import { basename, resolve } from 'node:path'
import type { Position, ReportedError, ReportedSplat, TestResult } from './schema.js'
import { type Colours, indented, truncate } from './style.js'

/** Beyond this, the middle of a message is left out on the terminal: the start says what, the end is a console's last words. */
const MESSAGE_LINES_MAX = 72
const MESSAGE_LINES_HEAD = 12
/** How many of a test's last kernel calls are shown; result.json has them all. */
const TRACE_LINES_MAX = 8
const INDENT = '    '

export interface FailureContext {
  readonly target: string
  /** Project root, absolute. */
  readonly root: string
  readonly colours: Colours
  /** Columns that a line of source code may take. */
  readonly columns: number
  /** How often each splat was printed before, by fingerprint: the same one is shown once. */
  readonly seenSplats: Map<string, number>
}

/** A failed (or flaky) test as lines: what, where, which bytes, what the kernel said. */
export function failureLines(test: TestResult, context: FailureContext): string[] {
  const { colours } = context
  const [mark, note] =
    test.status === 'failed'
      ? [colours.red('✗'), '']
      : [colours.yellow('~'), ' (flaky: passed when tried again)']
  const title = `${mark} ${colours.bold(context.target)}  ${basename(test.file)}  ${colours.bold(test.name)}${note}`
  const errors = [test.error, ...(test.otherErrors ?? [])].filter((error) => error !== undefined)
  const known = test.knownIssue
    ? [`recorded as known issue ${test.knownIssue.id}: ${test.knownIssue.symptom}`]
    : []
  return [
    '',
    title,
    ...indented(known, INDENT),
    ...errors.flatMap((error) => indented(errorLines(error, context), INDENT)),
    ...(test.splats ?? []).flatMap((splat) => indented(splatLines(splat, context), INDENT)),
    '',
  ]
}

function errorLines(error: ReportedError, { root, colours, columns }: FailureContext): string[] {
  const [first = '', ...rest] = shorten(error.message.split('\n'))
  const name = error.name === 'AssertionError' ? '' : `${error.name}: `
  return [
    colours.red(name + first),
    ...rest,
    ...(error.diff ? ['', ...diffLines(error.diff, colours), ''] : []),
    ...(error.at ? [colours.cyan(`at ${error.at.file}:${error.at.line}:${error.at.column}`)] : []),
    ...(error.at ? codeFrame(error.at, root, colours, columns - INDENT.length) : []),
    ...(error.trace ? traceLines(error.trace, colours) : []),
  ]
}

function diffLines(diff: string, colours: Colours): string[] {
  return diff.split('\n').map((line) => {
    if (line.startsWith('-')) return colours.green(line)
    return line.startsWith('+') ? colours.red(line) : colours.dim(line)
  })
}

/** The lines around a position, as they are on disk; nothing where the file cannot be read. */
export function codeFrame(
  { file, line, column }: Position,
  root: string,
  colours: Colours,
  columns: number,
): string[] {
  let source: string[]
  try {
    source = readFileSync(resolve(root, file), 'utf8').split('\n')
  } catch {
    return []
  }
  if (line > source.length) return []
  const first = Math.max(1, line - 2)
  const gutter = String(line + 1).length
  return source.slice(first - 1, line + 1).flatMap((text, index) => {
    const number = first + index
    const prefix = `  ${String(number).padStart(gutter)} │ `
    const shown = truncate(`${prefix}${text}`, columns)
    if (number !== line) return [colours.dim(shown)]
    const caret = prefix.length + column - 1
    const marked = `${colours.red('❯')}${shown.slice(1)}`
    return caret < columns ? [marked, colours.red(`${' '.repeat(caret)}^`)] : [marked]
  })
}

function traceLines(trace: readonly string[], colours: Colours): string[] {
  const shown = trace.slice(-TRACE_LINES_MAX)
  const title =
    shown.length < trace.length
      ? `the last ${shown.length} of its ${trace.length} kernel calls`
      : 'its kernel calls'
  return [colours.dim(`${title}:`), ...shown.map((line) => colours.dim(`  ${line}`))]
}

function splatLines(splat: ReportedSplat, { colours, seenSplats }: FailureContext): string[] {
  const key = splat.fingerprint ?? splat.text
  const seen = seenSplats.get(key) ?? 0
  seenSplats.set(key, seen + 1)
  const title = colours.magenta(`kernel splat, ${splat.kind}: ${splat.title}`)
  const allowed = splat.allowed ? [colours.dim(`allowed: ${splat.allowed}`)] : []
  if (seen > 0) return [title, colours.dim(`  shown above; this is number ${seen + 1}`), ...allowed]
  return [
    title,
    ...allowed,
    ...shorten(splat.text.trimEnd().split('\n')).map((line) => colours.dim(`  ${line}`)),
  ]
}

function shorten(lines: readonly string[]): string[] {
  if (lines.length <= MESSAGE_LINES_MAX) return [...lines]
  const tail = MESSAGE_LINES_MAX - MESSAGE_LINES_HEAD
  const left = lines.length - MESSAGE_LINES_MAX
  return [
    ...lines.slice(0, MESSAGE_LINES_HEAD),
    `… ${left} lines more in result.json …`,
    ...lines.slice(-tail),
  ]
}
