// SPDX-License-Identifier: Apache-2.0
import { isBadCell, type MatrixCell, type MatrixResult } from './matrix.js'
import { attribute } from './matrix-markup.js'
import { groupBy, plural } from './values.js'

/** How something ended in one run. `known`: as good, a known issue showing; `none`: all skipped, or not there. */
export type Outcome = 'good' | 'known' | 'bad' | 'none'

const BAR_WIDTH = 4
const HEIGHT = 14
/** Heights of the bars: what is bad must be seen without colours, too. */
const BAR: Readonly<Record<Outcome, number>> = { good: 8, known: 8, bad: 14, none: 2 }

/** How a cell, or one file of it, ended. Undefined: it was not in that run. */
export function outcomeOf(cell: MatrixCell | undefined, file?: string): Outcome {
  if (cell === undefined) return 'none'
  const counts = file === undefined ? cell.counts : cell.families.find((family) => family.file === file)
  if (counts === undefined) return file === undefined || cell.folder !== null ? 'none' : 'bad'
  if (counts.failed > 0 || counts.splats > 0 || (file === undefined && isBadCell(cell))) return 'bad'
  if (counts.passed === 0) return 'none'
  // Most kernels have known issues: in the sum of a cell they would hide what differs.
  return file !== undefined && counts.knownIssues > 0 ? 'known' : 'good'
}

/** How it ended in each run, this one last; none for runs before the first that had the cell. */
export function outcomes(name: string, runs: readonly MatrixResult[], file?: string): Outcome[] {
  const cells = runs.map((run) => run.cells.find((cell) => cell.name === name))
  const first = cells.findIndex((cell) => cell !== undefined)
  return first < 0 ? [] : cells.slice(first).map((cell) => outcomeOf(cell, file))
}

/** A bar for each run, the oldest at the left; '' where there is no more than one. */
export function trend(history: readonly Outcome[]): string {
  if (history.length < 2) return ''
  const paths = [...groupBy(history.entries(), ([, outcome]) => outcome)].map(([outcome, bars]) => {
    const height = BAR[outcome]
    const shape = bars.map(([index]) => `M${index * BAR_WIDTH} ${HEIGHT - height}h3v${height}h-3z`).join('')
    return `<path class=${outcome} d="${shape}"/>`
  })
  const width = history.length * BAR_WIDTH
  const bad = history.filter((outcome) => outcome === 'bad').length
  const label = `${plural(history.length, 'run')}, ${bad} bad`
  return `<svg class=trend role=img aria-label=${attribute(label)} width=${width} height=${HEIGHT}><title>${label}</title>${paths.join('')}</svg>`
}
