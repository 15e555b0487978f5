// SPDX-License-Identifier: Apache-2.0
import { escapeMarkup } from '../values.js'
import type { LineCoverage } from './model.js'
import type { Share, SubjectLine, SubjectReport } from './summary.js'

/** A line that more tests reach than this names the first of them only. */
const TESTS_SHOWN_MAX = 20

/** One page with the source of every subject: each line with its count, and the tests that reach it. */
export function coverageHtml(title: string, reports: readonly SubjectReport[]): string {
  const rows = reports.map(
    ({ subject, line, branch, apart }) =>
      `<tr><td><a href="#${subject.file}">${escapeMarkup(subject.title)}</a><td>${subject.file}<td class=n>${shareText(line)}<td class=n>${shareText(branch)}<td class=n>${apart.lines} lines, ${apart.branches} branches`,
  )
  const sections = reports.map(
    ({ subject, lines }) =>
      `<h2 id="${subject.file}">${escapeMarkup(subject.title)} <small>${subject.file}</small></h2><pre>${source(lines)}</pre>`,
  )
  return `<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content="width=device-width">
<title>${escapeMarkup(title)}</title><style>${STYLE}</style><h1>${escapeMarkup(title)}</h1>
<p>A line is <span class=hit>reached</span>, <span class=part>reached with a way out that was never taken</span>,
<span class=miss>not reached</span>, or <span class=apart>out of reach on this kind of machine</span> (the reason is behind it, and it is counted apart).
Click on a count for the tests.</p>
<table><tr><th>what<th>file<th>lines<th>branches<th>out of reach${rows.join('')}</table>
${sections.join('\n')}</html>
`
}

/** `97.5 % (278 of 285)`. */
export function shareText({ reached, total }: Share): string {
  return total === 0 ? '-' : `${((100 * reached) / total).toFixed(1)} % (${reached} of ${total})`
}

function source(lines: readonly SubjectLine[]): string {
  let last = 0
  return lines
    .map((line) => {
      const gap = last !== 0 && line.number !== last + 1 ? '<span class=gap>…</span>\n' : ''
      last = line.number
      return gap + sourceLine(line)
    })
    .join('')
}

function sourceLine({ number, text, coverage, unreachable, apart }: SubjectLine): string {
  const head = `${String(number).padStart(5)} `
  const code = escapeMarkup(text)
  if (coverage === null) return `<span class=none>${head}${' '.repeat(9)}${code}</span>\n`
  const count = String(coverage.count).padStart(8)
  const branches =
    coverage.branches.length === 0
      ? ''
      : ` [${coverage.branches.map((taken) => (taken > 0 ? '+' : '-')).join('')}]`
  const why = unreachable === null ? '' : `   ← ${escapeMarkup(unreachable)}`
  const kind = apart === 'line' ? 'apart' : classOf(coverage, apart.branches)
  return `<details class=${kind}><summary>${head}${count} ${code}${branches}${why}</summary>${testList(coverage.tests)}</details>`
}

/** `apart`: so many of its ways out cannot be taken. */
function classOf({ count, branches }: LineCoverage, apart: number): string {
  if (count === 0) return 'miss'
  return branches.filter((taken) => taken === 0).length > apart ? 'part' : 'hit'
}

function testList(tests: ReadonlySet<string>): string {
  const shown = [...tests].slice(0, TESTS_SHOWN_MAX).map((test) => `<li>${escapeMarkup(test)}`)
  const rest = tests.size > shown.length ? `<li>and ${tests.size - shown.length} more` : ''
  return `<ul>${shown.join('')}${rest || (shown.length === 0 ? '<li>no test' : '')}</ul>`
}

const STYLE = `
:root{color-scheme:light dark;--hit:#1a7f3726;--part:#9a670040;--miss:#cf222e33;--apart:#8882}
body{font:16px/1.45 system-ui,sans-serif;margin:1rem auto;max-width:80rem;padding:0 1rem}
pre{font:13px/1.35 ui-monospace,monospace;overflow-x:auto;tab-size:8}
pre>*{display:block;white-space:pre}summary{list-style:none;cursor:pointer}ul{white-space:normal;margin:.2rem 0 .4rem 10rem}
.hit{background:var(--hit)}.part{background:var(--part)}.miss{background:var(--miss)}.apart{background:var(--apart)}.none,.gap{opacity:.75}
table{border-collapse:collapse;display:block;overflow-x:auto}td,th{padding:.2rem .8rem .2rem 0;text-align:left}.n{font-variant-numeric:tabular-nums}`
