// SPDX-License-Identifier: Apache-2.0
import { isBadCell, type MatrixCell, type MatrixResult } from './matrix.js'
import type { TestResult } from './schema.js'
import { type Colours, hanging, indented, table } from './style.js'
import { plural, seconds } from './values.js'

/** So many failed tests of a cell are named; the page has all. */
const FAILURES_MAX = 8

/** The table, what went wrong in each cell, and a last line that says it all. `failures`: of a cell, by its name. */
export function matrixLines(
  { cells, durationMs }: Pick<MatrixResult, 'cells' | 'durationMs'>,
  page: string,
  failures: ReadonlyMap<string, readonly TestResult[]>,
  colours: Colours,
  columns: number,
): string[] {
  return [
    ...matrixTable(cells, colours),
    ...cells.flatMap((cell) => troubleLines(cell, failures.get(cell.name) ?? [], colours, columns)),
    '',
    colours.dim(`every test, splat and console: ${page}`),
    closingLine(cells, durationMs),
  ]
}

/** `7.3-debug: 12 passed, 1 failed, 3 skipped`, or why there is nothing to count. */
export function cellLine({ name, state, reason, counts }: MatrixCell): string {
  if (state === 'not-built' || state === 'not-run') return `${name}: ${reason?.split('\n', 1)[0]}`
  const { passed, failed, skipped, durationMs } = counts
  const cut = state === 'interrupted' ? ', then interrupted' : ''
  return `${name}: ${passed} passed, ${failed} failed, ${skipped} skipped in ${seconds(durationMs)}${cut}`
}

function matrixTable(cells: readonly MatrixCell[], colours: Colours): string[] {
  const titles = ['cell', 'accel', 'passed', 'failed', 'skipped', 'known issues', 'splats', 'time', '']
  const rows = cells.map((cell) => {
    const { counts, accel, name } = cell
    if (cell.folder === null) return [name, ...Array<string>(7).fill('·'), colours.red(stateWord(cell))]
    return [
      name,
      accel,
      String(counts.passed),
      coloured(counts.failed, colours.red),
      coloured(counts.skipped, colours.yellow),
      String(counts.knownIssues),
      coloured(counts.splats, colours.red),
      seconds(counts.durationMs),
      colours.red(stateWord(cell)),
    ]
  })
  const align = titles.map((_, column) => (column > 1 && column < 8 ? 'right' : 'left'))
  return table([titles.map((title) => colours.dim(title)), ...rows], align)
}

/** What a cell's counts do not say; '' where they say it all. */
export function stateWord({ state, deaths }: MatrixCell): string {
  if (state === 'tested')
    return deaths > 0 ? `the kernel died ${deaths === 1 ? 'once' : `${deaths} times`}` : ''
  return { interrupted: 'interrupted', 'not-built': 'not built', 'not-run': 'did not run' }[state]
}

function coloured(count: number, colour: (text: string) => string): string {
  return count > 0 ? colour(String(count)) : '0'
}

function troubleLines(
  cell: MatrixCell,
  failures: readonly TestResult[],
  colours: Colours,
  columns: number,
): string[] {
  const reason = (cell.reason ?? '')
    .split('\n')
    .flatMap((line) => (line === '' ? [] : hanging('', line, columns - 2)))
  const log = cell.log === null ? [] : [colours.dim(`log: ${cell.log}`)]
  const tests = failures
    .slice(0, FAILURES_MAX)
    .flatMap(({ file, name, error }) => [
      `${colours.red('✗')} ${file.replace(/^.*\//, '')}  ${name}`,
      ...hanging('    ', error?.message.split('\n', 1)[0] ?? '', columns - 2),
    ])
  const rest = failures.length - FAILURES_MAX
  const more = rest > 0 ? [`and ${rest} more`] : []
  const lines = [...reason, ...log, ...tests, ...more]
  return lines.length === 0 ? [] : ['', colours.bold(cell.name), ...indented(lines, '  ')]
}

/** `6 cells: 4 good, 1 bad, 1 not built; 5 min 12 s`. */
export function closingLine(cells: readonly MatrixCell[], durationMs: number): string {
  const count = (matches: (cell: MatrixCell) => boolean): number => cells.filter(matches).length
  const parts = [
    [count((cell) => !isBadCell(cell)), 'good'],
    [count((cell) => isBadCell(cell) && cell.state === 'tested'), 'bad'],
    [count(({ state }) => state === 'interrupted'), 'interrupted'],
    [count(({ state }) => state === 'not-built'), 'not built'],
    [count(({ state }) => state === 'not-run'), 'not run'],
  ] as const
  const said = parts.filter(([number, word]) => number > 0 || word === 'good')
  return `${plural(cells.length, 'cell')}: ${said.map(([n, word]) => `${n} ${word}`).join(', ')} · ${seconds(durationMs)}`
}
