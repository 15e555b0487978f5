// SPDX-License-Identifier: Apache-2.0
import { basename } from 'node:path'
import type { ChangeKind, Comparison, TestChange } from './compare.js'
import { WORSE } from './compare.js'
import { type Colours, hanging } from './style.js'
import { groupBy, plural } from './values.js'

/** What each kind of change is called in a heading. */
const HEADINGS: Readonly<Record<ChangeKind, string>> = {
  broke: 'broke',
  flaky: 'became flaky',
  splat: 'new splat',
  skips: 'newly skipped',
  moot: 'no longer called for',
  vanished: 'vanished',
  slower: 'slower',
  fixed: 'fixed',
  steady: 'no longer flaky',
  quiet: 'splat gone',
  runs: 'no longer skipped',
  appeared: 'appeared',
  faster: 'faster',
}

/** A comparison for people: each kind of change with its tests, and a last line that says it all. */
export function comparisonLines(comparison: Comparison, colours: Colours, columns: number): string[] {
  const groups = groupBy(comparison.changes, ({ kind }) => kind)
  const sections = [...groups].flatMap(([kind, changes]) => [
    colours.bold(colourOf(kind, colours)(HEADINGS[kind])),
    ...changes.flatMap((change) => changeLines(change, columns)),
    '',
  ])
  return [...sections, closingLine(comparison)]
}

/** `B is worse than A: 1 broke, 1 newly skipped; 42 unchanged`. */
export function closingLine(comparison: Comparison): string {
  const { worse, unchanged, flakyInBoth } = comparison
  const verdict = worse ? 'B is worse than A' : 'B is not worse than A'
  const flaky = flakyInBoth > 0 ? ` (${flakyInBoth} flaky on both sides)` : ''
  const changes = changeCounts(comparison.changes)
  return `${verdict}: ${changes === '' ? '' : `${changes}; `}${unchanged} unchanged${flaky}`
}

/** `1 broke, 2 fixed`; '' where nothing changed. */
export function changeCounts(changes: readonly TestChange[]): string {
  return [...groupBy(changes, ({ kind }) => kind)]
    .map(([kind, same]) => `${same.length} ${HEADINGS[kind]}`)
    .join(', ')
}

/** One change in a line or more: the test, and what is seen. */
export function changeLines({ file, name, detail }: TestChange, columns: number): string[] {
  const test = `  ${basename(file)}  ${name}`
  return detail === '' ? [test] : [test, ...hanging('      ', detail, columns)]
}

/** What a side of a comparison is made of, in words. */
export function sideLine(side: string, what: string, runs: number): string {
  return `${side}  ${what}${runs > 1 ? `, ${plural(runs, 'run')}` : ''}`
}

function colourOf(kind: ChangeKind, colours: Colours): (text: string) => string {
  if (WORSE.includes(kind)) return colours.red
  return kind === 'vanished' || kind === 'slower' ? colours.yellow : colours.green
}
