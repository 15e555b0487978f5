// SPDX-License-Identifier: Apache-2.0
import { basename } from 'node:path'
import type { RunResult, TargetResult, TestResult } from './schema.js'
import { type Colours, hanging, indented, table, visibleWidth } from './style.js'
import { groupBy, plural, seconds } from './values.js'

const SKIP_REASONS_MAX = 12
const SLOW_FILES_MAX = 3
/** Files faster than this are nobody's problem. */
const SLOW_FILE_MS = 1000

/** The last line of every run, for people and scripts: no colour, nothing else on the line. */
export function lastLine(run: RunResult): string {
  return `${run.passed} passed, ${run.failed} failed, ${run.skipped} skipped`
}

/** All that is said at the end, the last line included. */
export function summaryLines(run: RunResult, colours: Colours, columns: number): string[] {
  const width = Math.max(0, ...run.targets.map((target) => target.id.length))
  const context = { colours, columns, name: (target: TargetResult) => target.id.padEnd(width) }
  return [
    '',
    ...targetTable(run, context),
    ...section(
      'skipped',
      run.targets.flatMap((target) => skipLines(target, context)),
      context,
    ),
    ...section(
      'known issues',
      run.targets.flatMap((target) => knownLines(target, context)),
      context,
    ),
    ...section(
      'flaky',
      run.targets.flatMap((target) => flakyLines(target, context)),
      context,
    ),
    ...section(
      'slowest files',
      run.targets.flatMap((target) => slowLines(target, context)),
      context,
    ),
    ...section(
      'failed',
      run.targets.flatMap((target) => failedLines(target, context)),
      context,
    ),
    ...section('outside of any test', errorLines(run, context), context),
    '',
    colours.dim(`seed ${run.seed} · ${seconds(run.durationMs)} · results and console logs in`),
    colours.dim(run.artefacts),
    '',
    lastLine(run),
  ]
}

/** Where no VM can be had, every file has the same to say: once is enough. */
function errorLines(run: RunResult, { colours }: Context): string[] {
  const groups = groupBy(run.errors, ({ kind, error }) => `${kind}\0${error.message}`)
  return [...groups.values()].flatMap((same) => {
    const [{ kind, error } = { kind: '', error: { message: '' } }] = same
    const times = same.length > 1 ? ` (${same.length} times)` : ''
    return `${colours.red(kind)}${times}: ${error.message}`.split('\n')
  })
}

/** Why tests of a target were skipped, the most frequent reason first. */
export function groupSkips(target: TargetResult): { reason: string; count: number }[] {
  const skipped = target.tests.filter((test) => test.status === 'skipped')
  return [...groupBy(skipped, (test) => test.reason ?? 'no reason given')]
    .map(([reason, tests]) => ({ reason, count: tests.length }))
    .sort((a, b) => b.count - a.count)
}

interface Context {
  readonly colours: Colours
  readonly columns: number
  /** A target's id, as wide as the widest. */
  readonly name: (target: TargetResult) => string
}

/** Where the terminal is too narrow, columns that the headers above have already told go first. */
function targetTable(run: RunResult, { colours, columns }: Context): string[] {
  const all = [
    column('target', 'left', (target) => colours.bold(target.id)),
    column('kernel', 'left', (target) => target.release),
    column('accel', 'left', (target) => target.accel),
    column('passed', 'right', (target) => count(target.passed, colours.green)),
    column('failed', 'right', (target) => count(target.failed, colours.red)),
    column('skipped', 'right', (target) => count(target.skipped, colours.yellow)),
    column('known issues', 'right', (target) => count(target.knownIssues, colours.yellow)),
    ...(run.targets.some((target) => target.flaky > 0)
      ? [column('flaky', 'right', (target) => count(target.flaky, colours.yellow))]
      : []),
    ...(run.targets.some((target) => target.splats > 0)
      ? [column('splats', 'right', (target) => count(target.splats, colours.red))]
      : []),
    column('first result', 'right', (target) =>
      target.firstResultMs === null ? '-' : seconds(target.firstResultMs),
    ),
    column('time', 'right', (target) => seconds(target.durationMs)),
  ]
  for (const dropped of [[], ['kernel'], ['kernel', 'first result'], ['kernel', 'first result', 'accel']]) {
    const shown = all.filter(({ title }) => !dropped.includes(title))
    const rows = [
      shown.map(({ title }) => colours.dim(title)),
      ...run.targets.map((target) => shown.map(({ cell }) => cell(target))),
    ]
    const lines = table(
      rows,
      shown.map(({ align }) => align),
    )
    if (lines.every((line) => visibleWidth(line) <= columns) || dropped.length === 3) return lines
  }
  return []
}

interface Column {
  readonly title: string
  readonly align: 'left' | 'right'
  readonly cell: (target: TargetResult) => string
}

function column(title: string, align: Column['align'], cell: Column['cell']): Column {
  return { title, align, cell }
}

function count(n: number, colour: (text: string) => string): string {
  return n > 0 ? colour(String(n)) : String(n)
}

function section(title: string, lines: readonly string[], { colours }: Context): string[] {
  return lines.length === 0 ? [] : ['', colours.bold(title), ...indented(lines, '  ')]
}

function skipLines(target: TargetResult, { columns, name }: Context): string[] {
  const groups = groupSkips(target)
  const width = String(groups[0]?.count ?? 0).length
  const lines = groups.slice(0, SKIP_REASONS_MAX).flatMap(({ reason, count }) => {
    const head = `${name(target)}  ${String(count).padStart(width)} skipped: `
    return hanging(head, reason, columns - 2)
  })
  const left = groups.slice(SKIP_REASONS_MAX).reduce((sum, group) => sum + group.count, 0)
  return left === 0 ? lines : [...lines, `${name(target)}  ${left} more for other reasons: see result.json`]
}

function knownLines(target: TargetResult, { colours, columns, name }: Context): string[] {
  const known = target.tests.filter((test) => test.status === 'known-issue')
  return [...groupBy(known, (test) => test.knownIssue?.id ?? '?')].flatMap(([id, tests]) => {
    const symptom = tests[0]?.knownIssue?.symptom ?? ''
    const times = tests.length > 1 ? ` (${plural(tests.length, 'test')})` : ''
    return hanging(`${name(target)}  ${colours.yellow(id)}  `, symptom + times, columns - 2)
  })
}

function flakyLines(target: TargetResult, { columns, name }: Context): string[] {
  return target.tests
    .filter((test) => test.flaky)
    .flatMap((test) => {
      const text = `${test.name}: ${test.status} when tried again`
      return hanging(`${name(target)}  ${basename(test.file)}  `, text, columns - 2)
    })
}

function slowLines(target: TargetResult, { name }: Context): string[] {
  return [...target.files]
    .sort((a, b) => b.durationMs - a.durationMs)
    .slice(0, SLOW_FILES_MAX)
    .filter((file) => file.durationMs >= SLOW_FILE_MS)
    .map((file) => `${name(target)}  ${seconds(file.durationMs)}  ${basename(file.file)}`)
}

function failedLines(target: TargetResult, { colours, columns, name }: Context): string[] {
  return target.tests
    .filter((test) => test.status === 'failed')
    .flatMap((test) =>
      hanging(`${colours.red('✗')} ${name(target)}  ${place(test)}  `, test.name, columns - 2),
    )
}

function place(test: TestResult): string {
  const at = test.error?.at
  return at ? `${at.file}:${at.line}` : test.file
}
