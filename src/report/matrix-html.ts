// SPDX-License-Identifier: Apache-2.0
import { familyFiles, familyName, isBadCell, type MatrixCell, type MatrixResult } from './matrix.js'
import type { ConsoleExcerpt } from './matrix-consoles.js'
import { attribute, breakable, text } from './matrix-markup.js'
import { MATRIX_STYLE } from './matrix-style.js'
import { cellSection } from './matrix-tests.js'
import { closingLine, stateWord } from './matrix-text.js'
import { outcomeOf, outcomes, trend } from './matrix-trend.js'
import type { TestResult } from './schema.js'
import { plural, seconds } from './values.js'

/** What the page says of a cell beside its counts. */
export interface CellDetails {
  readonly tests: readonly TestResult[]
  readonly consoles: readonly ConsoleExcerpt[]
}

/**
 * One page with all of a matrix: the cells, each family in each cell, and below them every test with its failure, splats and console.
 * It needs nothing from outside, and no script: a link opens the details that it leads into.
 */
export function matrixHtml(
  result: MatrixResult,
  details: ReadonlyMap<string, CellDetails>,
  earlier: readonly MatrixResult[],
): string {
  const { cells } = result
  const runs = [...earlier, result]
  const files = familyFiles(cells)
  const sections = cells.map((cell, index) =>
    cellSection(cell, `c${index}`, files, details.get(cell.name) ?? { tests: [], consoles: [] }),
  )
  return `<!doctype html>
<html lang=en><head><meta charset=utf-8><meta name=viewport content="width=device-width,initial-scale=1">
<title>gmem matrix: ${text(summary(result))}</title><style>${MATRIX_STYLE}</style></head><body>
<header><h1>gmem matrix</h1><p class=verdict>${text(closingLine(cells, result.durationMs))}</p>${aboutLine(result, earlier)}</header>
<main><h2>Cells</h2>${cellTable(cells, runs)}
<h2>Families</h2>${LEGEND}${familyTable(cells, files, runs)}
<h2>Tests</h2>${sections.join('\n')}</main></body></html>
`
}

const LEGEND = `<p class=legend><span class=good>12</span> passed
<span class=known>12 ◆1</span> passed, 1 of them a known issue of the kernel
<span class=bad>✗2</span> failed <span class=bad>⚠1</span> splats
<span class=none>–</span> all skipped. Bars are earlier runs, where not all of them ended alike.</p>`

function summary({ cells }: MatrixResult): string {
  const bad = cells.filter(isBadCell).length
  return bad === 0
    ? `${plural(cells.length, 'cell')}, all good`
    : `${bad} of ${plural(cells.length, 'cell')} bad`
}

function aboutLine(
  { startedAt, config, folder, selection }: MatrixResult,
  earlier: readonly unknown[],
): string {
  const { files, tests, all } = selection
  const which = [
    files.length === 0 ? 'every file' : `files ${files.join(', ')}`,
    all ? 'slow ones too' : '',
    tests === null ? '' : `tests /${tests}/`,
  ]
  const said = [
    `${startedAt.slice(0, 16).replace('T', ' ')} UTC`,
    which.filter((part) => part !== '').join(', '),
    config,
    `results in ${folder}`,
    earlier.length === 0 ? 'the first run of these tests' : plural(earlier.length, 'earlier run'),
  ]
  return `<p class=about>${said.map(text).join(' · ')}</p>`
}

function cellTable(cells: readonly MatrixCell[], runs: readonly MatrixResult[]): string {
  const titles = ['cell', 'passed', 'failed', 'skipped', 'known issues', 'splats', 'time', 'runs']
  const rows = cells.map((cell, index) => {
    const { name, release, accel, counts, folder } = cell
    const word = stateWord(cell)
    const about = [release, accel].filter((part) => part !== '').join(' · ')
    const numbers =
      folder === null ? [] : [counts.passed, counts.failed, counts.skipped, counts.knownIssues, counts.splats]
    const marks = ['good', 'bad', 'none', 'known', 'bad']
    const counted = titles.slice(1, 6).map((title, column) => {
      const value = numbers[column]
      const mark = value !== undefined && value > 0 ? ` class=${marks[column]}` : ''
      return `<td data-title=${attribute(title)}><span${mark}>${value ?? '·'}</span>`
    })
    const time = folder === null ? '·' : seconds(counts.durationMs)
    return `<tr${folder === null ? ' class=empty' : ''}><th scope=row><a href="#c${index}">${breakable(name)}</a>${word === '' ? '' : ` <b class=bad>${text(word)}</b>`}<small>${text(about)}</small>${counted.join('')}<td data-title=time>${time}<td class=runs>${trend(outcomes(name, runs))}`
  })
  return `<table class=cells><thead><tr>${titles.map((title) => `<th scope=col>${title}`).join('')}</thead><tbody>${rows.join('\n')}</table>`
}

function familyTable(
  cells: readonly MatrixCell[],
  files: readonly string[],
  runs: readonly MatrixResult[],
): string {
  if (files.length === 0) return '<p>No test ran.</p>'
  const head = cells.map(({ name }, index) => `<th scope=col><a href="#c${index}">${breakable(name)}</a>`)
  const rows = files.map((file, row) => {
    const own = cells.map((cell, column) => familyCell(cell, file, `#c${column}f${row}`, runs))
    return `<tr><th scope=row>${breakable(familyName(file))}${own.join('')}`
  })
  return `<div class=scroll tabindex=0 role=region aria-label="families by cell"><table class=families><thead><tr><td>${head.join('')}</thead><tbody>${rows.join('\n')}</table></div>`
}

function familyCell(cell: MatrixCell, file: string, link: string, runs: readonly MatrixResult[]): string {
  const family = cell.families.find((other) => other.file === file)
  const history = outcomes(cell.name, runs, file)
  const bars = new Set(history).size > 1 ? trend(history) : ''
  if (family === undefined) return `<td>${bars}`
  const { passed, failed, skipped, knownIssues, splats } = family
  const shown = [
    failed > 0 ? `✗${failed}` : '',
    splats > 0 ? `⚠${splats}` : '',
    passed > 0 ? String(passed) : '',
    knownIssues > 0 ? `◆${knownIssues}` : '',
  ].filter((part) => part !== '')
  const said = `${familyName(file)} on ${cell.name}: ${passed} passed, ${failed} failed, ${skipped} skipped, ${plural(knownIssues, 'known issue')}, ${plural(splats, 'splat')}`
  return `<td><a class=${outcomeOf(cell, file)} href="${link}" aria-label=${attribute(said)} title=${attribute(said)}>${shown.join(' ') || '–'}</a>${bars}`
}
