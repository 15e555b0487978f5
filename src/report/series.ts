// SPDX-License-Identifier: Apache-2.0
import { ExitCode } from '../errors.js'
import { type TestChange, WORSE } from './compare.js'
import { changeCounts, changeLines } from './compare-text.js'
import type { TargetResult } from './schema.js'
import { type Colours, hanging, indented, table, truncate } from './style.js'
import { seconds } from './values.js'

/** Of a patch that does not apply or build: why, and where all is that was printed. */
export interface Trouble {
  readonly reason: string
  readonly log: string | null
}

/** What the tests said of the source after a patch. */
export interface PointResult {
  readonly kernel: string
  readonly passed: number
  readonly failed: number
  readonly skipped: number
  readonly splats: number
  readonly durationMs: number
  /** One folder a run. */
  readonly folders: readonly string[]
}

/** A row of the table. */
export interface SeriesRow {
  /** 0 is the base. */
  readonly number: number
  readonly title: string
  readonly author: string
  /** Null for the base. 'merged': only by a three-way merge. */
  readonly applies: 'yes' | 'merged' | Trouble | null
  /** Null: not tried. */
  readonly builds: 'yes' | Trouble | null
  /** Patches before it that are left out of what was built, because they do not build. */
  readonly without: readonly number[]
  /** Null: not tested. */
  readonly result: PointResult | null
  /** The tested row that it is compared with; null for the base and where nothing was tested. */
  readonly comparedWith: number | null
  readonly changes: readonly TestChange[]
}

export interface SeriesResult {
  readonly format: 1
  readonly series: string
  readonly base: string
  readonly release: string
  readonly mode: 'every' | 'ends' | 'bisect'
  readonly folder: string
  readonly rows: readonly SeriesRow[]
  readonly exitCode: ExitCode
}

/** A target's counts, over all its runs the worst. */
export function pointResult(
  kernel: string,
  runs: readonly TargetResult[],
  folders: readonly string[],
): PointResult {
  const most = (key: 'failed' | 'skipped' | 'splats'): number => Math.max(...runs.map((run) => run[key]))
  return {
    kernel,
    passed: Math.min(...runs.map(({ passed }) => passed)),
    failed: most('failed'),
    skipped: most('skipped'),
    splats: most('splats'),
    durationMs: runs.reduce((sum, { durationMs }) => sum + durationMs, 0) / runs.length,
    folders,
  }
}

/** 125: a patch does not apply or build; 1: one makes something worse than before it; 3: only by splats; else 0. */
export function seriesExitCode(rows: readonly SeriesRow[]): ExitCode {
  if (rows.some((row) => isTrouble(row.applies) || isTrouble(row.builds))) return ExitCode.buildFailed
  const worse = rows.flatMap(({ changes }) => changes).filter(({ kind }) => WORSE.includes(kind))
  if (worse.length === 0) return ExitCode.ok
  return worse.every(({ kind }) => kind === 'splat') ? ExitCode.splat : ExitCode.testFailed
}

/** The table, what each patch changed, and what is wrong with those that do not apply or build. */
export function seriesLines(result: SeriesResult, colours: Colours, columns: number): string[] {
  const { rows } = result
  return [
    `${colours.bold(result.series)} on ${colours.bold(result.base)} (Linux ${result.release})`,
    '',
    ...seriesTable(rows, colours, columns),
    ...rows.flatMap((row) => [
      ...troubleLines(row, rows, colours, columns),
      ...changedLines(row, rows, colours, columns),
    ]),
    '',
    colours.dim(`results, consoles and logs in ${result.folder}`),
    verdictLine(result),
  ]
}

/** `patch 2/5 "…" is the first that makes something worse`, or that nothing is wrong. */
export function verdictLine({ rows, mode }: SeriesResult): string {
  const bad = rows.filter(isBad).map((row) => `${place(row, rows)} "${row.title}" ${badWord(row)}`)
  if (bad.length > 0) return `${bad.join('; ')}`
  const tested = rows.filter(({ result }) => result !== null).length
  if (mode === 'every') return `every patch applies, builds and makes nothing worse`
  return `the tip is not worse than the base (${tested} of ${rows.length} points tested; --every tests each patch)`
}

function isBad(row: SeriesRow): boolean {
  return badWord(row) !== ''
}

function badWord({ applies, builds, changes, number, comparedWith }: SeriesRow): string {
  if (isTrouble(applies)) return 'does not apply'
  if (isTrouble(builds)) return 'does not build'
  const worse = changes.filter(({ kind }) => WORSE.includes(kind))
  if (worse.length === 0) return ''
  const isExact = comparedWith === number - 1
  return `makes it worse (${changeCounts(worse)})${isExact ? '' : `, or a patch since ${comparedWith}`}`
}

function place({ number }: SeriesRow, rows: readonly SeriesRow[]): string {
  return `${number}/${rows.length - 1}`
}

export function isTrouble(value: SeriesRow['applies'] | SeriesRow['builds']): value is Trouble {
  return typeof value === 'object' && value !== null
}

function seriesTable(rows: readonly SeriesRow[], colours: Colours, columns: number): string[] {
  const titles = [
    '',
    'patch',
    'applies',
    'builds',
    'passed',
    'failed',
    'skipped',
    'splats',
    'time',
    'changed',
  ]
  const wide = Math.max(20, columns - 80)
  const cells = rows.map((row) => [
    row.number === 0 ? '-' : place(row, rows),
    truncate(row.title, wide),
    row.applies === null ? '' : isTrouble(row.applies) ? colours.red('no') : row.applies,
    builtCell(row, colours),
    count(row.result?.passed, (text) => text),
    count(row.result?.failed, colours.red),
    count(row.result?.skipped, colours.yellow),
    count(row.result?.splats, colours.red),
    row.result ? seconds(row.result.durationMs) : '·',
    changeCounts(row.changes),
  ])
  const right = ['failed', 'passed', 'skipped', 'splats', 'time']
  const align = titles.map((title) => (right.includes(title) ? 'right' : 'left'))
  return table([titles.map((title) => colours.dim(title)), ...cells], align)
}

function builtCell({ builds, without }: SeriesRow, colours: Colours): string {
  if (builds === null) return '·'
  if (isTrouble(builds)) return colours.red('no')
  return without.length === 0 ? 'yes' : `without ${without.join(', ')}`
}

function count(n: number | undefined, colour: (text: string) => string): string {
  if (n === undefined) return '·'
  return n > 0 ? colour(String(n)) : '0'
}

function troubleLines(
  row: SeriesRow,
  rows: readonly SeriesRow[],
  colours: Colours,
  columns: number,
): string[] {
  const trouble = [row.applies, row.builds].find(isTrouble)
  if (!trouble) return []
  const head = `${place(row, rows)} ${row.title}`
  const lines = trouble.reason.split('\n').flatMap((line) => hanging('', line, columns - 2))
  const log = trouble.log === null ? [] : [colours.dim(`log: ${trouble.log}`)]
  return ['', `${colours.bold(head)}: ${colours.red(badWord(row))}`, ...indented([...lines, ...log], '  ')]
}

function changedLines(
  row: SeriesRow,
  rows: readonly SeriesRow[],
  colours: Colours,
  columns: number,
): string[] {
  if (row.changes.length === 0) return []
  const against = row.comparedWith === 0 ? 'the base' : `patch ${row.comparedWith}`
  const head = `${place(row, rows)} ${row.title}`
  return [
    '',
    `${colours.bold(head)}: ${changeCounts(row.changes)}, against ${against}`,
    ...row.changes.flatMap((change) => changeLines(change, columns)),
  ]
}
