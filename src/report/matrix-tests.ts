// SPDX-License-Identifier: Apache-2.0
import { type FamilyCounts, familyName, type MatrixCell } from './matrix.js'
import type { ConsoleExcerpt } from './matrix-consoles.js'
import { block, text } from './matrix-markup.js'
import { stateWord } from './matrix-text.js'
import { outcomeOf } from './matrix-trend.js'
import type { ReportedError, ReportedSplat, TestResult } from './schema.js'
import { groupBy, plural, seconds } from './values.js'

/** Lines of a message, a splat or a console; result.json and the console's own file have all. */
const LINES_MAX = 120
const TRACE_MAX = 40
/** A message of so many lines is prose. */
const WRAPPED_MAX = 10

/** All of one cell: why it has no results, its consoles, and each family with its tests. `files`: the rows of the table above it. */
export function cellSection(
  cell: MatrixCell,
  id: string,
  files: readonly string[],
  {
    tests,
    consoles,
  }: { readonly tests: readonly TestResult[]; readonly consoles: readonly ConsoleExcerpt[] },
): string {
  const { name, kernel, flavour, parameters, accelerator, release, accel, reason, log, folder } = cell
  const facts = [
    `kernel ${kernel}`,
    `flavour ${flavour}`,
    parameters === '' ? 'no parameters' : `parameters ${parameters}`,
    `accelerator ${accel === '' || accel === accelerator ? accelerator : `${accelerator}: ${accel}`}`,
    release === '' ? '' : `Linux ${release}`,
    `exit code ${cell.exitCode}`,
    folder ?? '',
  ].filter((fact) => fact !== '')
  const word = stateWord(cell)
  const byFile = groupBy(tests, ({ file }) => file)
  const details = (isShown: (family: FamilyCounts) => boolean): string[] =>
    cell.families.filter(isShown).map((family) => {
      const anchor = `${id}f${files.indexOf(family.file)}`
      return familyDetails(cell, family, anchor, byFile.get(family.file) ?? [], consoles)
    })
  const isBad = ({ file }: FamilyCounts): boolean => outcomeOf(cell, file) === 'bad'
  const quiet = details((family) => !isBad(family))
  return `<section id=${id}><h3>${text(name)}${word === '' ? '' : ` <b class=bad>${text(word)}</b>`}</h3>
<p class=about>${facts.map(text).join(' · ')}</p>
${reason === null ? '' : `<div class=message>${block(reason, LINES_MAX)}</div>`}${log === null ? '' : `<p class=about>log: ${text(log)}</p>`}
${details(isBad).join('\n')}
${quiet.length === 0 ? '' : `<details class=quiet><summary>${quiet.length} ${quiet.length === 1 ? 'family' : 'families'} without a failure</summary>${quiet.join('\n')}</details>`}
${consoles
  .filter((excerpt) => !tests.some((test) => isOf(excerpt, test)))
  .map(consoleDetails)
  .join('\n')}</section>`
}

function familyDetails(
  cell: MatrixCell,
  family: FamilyCounts,
  id: string,
  tests: readonly TestResult[],
  consoles: readonly ConsoleExcerpt[],
): string {
  const outcome = outcomeOf(cell, family.file)
  const { passed, failed, skipped, knownIssues, flaky, splats } = family
  const counts = [
    failed > 0 ? `<span class=bad>${failed} failed</span>` : '',
    splats > 0 ? `<span class=bad>${plural(splats, 'splat')}</span>` : '',
    passed > 0 ? `${passed} passed` : '',
    flaky > 0 ? `<span class=known>${flaky} flaky</span>` : '',
    knownIssues > 0 ? `<span class=known>${plural(knownIssues, 'known issue')}</span>` : '',
    skipped > 0 ? `<span class=none>${skipped} skipped</span>` : '',
  ].filter((part) => part !== '')
  // The anchor is inside: following a link to it opens the details (HTML's "ancestor details revealing").
  return `<details class=family${outcome === 'bad' ? ' open' : ''}><summary><b>${text(familyName(family.file))}</b> ${counts.join(', ')} <small>${seconds(family.durationMs)}</small></summary><div id=${id}>${testLists(tests, consoles)}</div></details>`
}

function testLists(tests: readonly TestResult[], consoles: readonly ConsoleExcerpt[]): string {
  const isTold = (test: TestResult): boolean =>
    test.status === 'failed' || test.flaky === true || (test.splats ?? []).length > 0
  const told = tests.filter(isTold).map((test) => toldTest(test, consoles))
  const rest = tests.filter((test) => !isTold(test))
  const known = rest.filter(({ status }) => status === 'known-issue').map(knownIssue)
  const passed = rest.filter(({ status }) => status === 'passed')
  const skipped = groupBy(
    rest.filter(({ status }) => status === 'skipped'),
    ({ reason }) => reason ?? '',
  )
  const reasons = [...skipped].map(
    ([reason, same]) =>
      `<details><summary><span class=none>${same.length} skipped</span> ${text(reason)}</summary>${nameList(same)}</details>`,
  )
  const good =
    passed.length === 0
      ? ''
      : `<details><summary><span class=good>${passed.length} passed</span></summary>${nameList(passed)}</details>`
  return [...told, ...known, good, ...reasons].join('')
}

function nameList(tests: readonly TestResult[]): string {
  const items = tests.map(
    ({ name, durationMs, status }) =>
      `<li>${text(name)}${status === 'passed' ? ` <small>${seconds(durationMs)}</small>` : ''}`,
  )
  return `<ul>${items.join('')}</ul>`
}

/** A test that failed, passed at the second try, or made the kernel complain. */
function toldTest(test: TestResult, consoles: readonly ConsoleExcerpt[]): string {
  const { name, status, failure, error, otherErrors = [], splats = [], flaky } = test
  const mark = status === 'failed' ? '<span class=bad>✗</span>' : '<span class=known>~</span>'
  const kind = status === 'failed' ? (failure ?? '') : flaky ? 'flaky: passed when tried again' : ''
  const own = consoles.filter((excerpt) => isOf(excerpt, test))
  return `<article><h4>${mark} ${text(name)} <small>${text(kind)}</small></h4>${test.knownIssue ? knownLine(test.knownIssue) : ''}
${[error, ...otherErrors].map((one) => (one === undefined ? '' : errorBlock(one))).join('')}
${splats.map(splatDetails).join('')}${own.map(consoleDetails).join('')}</article>`
}

/** Whether the kernel died there during this test. */
function isOf({ test: name }: ConsoleExcerpt, { name: full, status, flaky }: TestResult): boolean {
  if (name === null || (status !== 'failed' && !flaky)) return false
  return full === name || full.endsWith(` > ${name}`)
}

function errorBlock({ name, message, diff, at, trace = [] }: ReportedError): string {
  const place = at === undefined ? '' : `<p class=about>${text(`${at.file}:${at.line}:${at.column}`)}</p>`
  const difference = diff === undefined ? '' : block(diff, LINES_MAX)
  const calls =
    trace.length === 0
      ? ''
      : `<details><summary>its last kernel calls</summary>${block(trace.slice(-TRACE_MAX).join('\n'), TRACE_MAX)}</details>`
  const said = block(name === 'AssertionError' ? message : `${name}: ${message}`, LINES_MAX)
  // What a console says keeps its lines, and scrolls.
  const isShort = message.split('\n').length <= WRAPPED_MAX
  return `${isShort ? `<div class=message>${said}</div>` : said}${difference}${place}${calls}`
}

function splatDetails({ kind, title, text: report, allowed }: ReportedSplat): string {
  const pass = allowed === undefined ? '' : ` <small>allowed: ${text(allowed)}</small>`
  return `<details><summary><span class=bad>⚠ ${text(kind)}</span> ${text(title)}${pass}</summary>${block(report, LINES_MAX)}</details>`
}

function knownIssue({ name, knownIssue: issue }: TestResult): string {
  return `<article><h4><span class=known>◆</span> ${text(name)} <small>known issue</small></h4>${issue ? knownLine(issue) : ''}</article>`
}

function knownLine({ id, symptom, expected, seen }: NonNullable<TestResult['knownIssue']>): string {
  const more = [
    expected === undefined ? '' : `expected: ${expected}`,
    seen === undefined ? '' : `seen: ${seen}`,
  ]
  const lines = more.filter((line) => line !== '').map((line) => `<br>${text(line)}`)
  return `<p><b class=known>${text(id)}</b> ${text(symptom)}${lines.join('')}</p>`
}

function consoleDetails({ file, test, text: end }: ConsoleExcerpt): string {
  const during = test === null ? '' : `, where the kernel died during “${text(test)}”`
  return `<details><summary>the end of ${text(file)}${during}</summary>${block(end, LINES_MAX)}</details>`
}
