// SPDX-License-Identifier: Apache-2.0
import {
  type ConversionBench,
  type ConversionSeries,
  type ConversionWay,
  conversionWays,
  type MemoryState,
} from '../pool/conversion-bench.js'
import {
  type BenchHead,
  durationText,
  headLine,
  leftLines,
  type Percentiles,
  percentilesOf,
  ratioText,
  sizeText,
} from './bench.js'
import { type Colours, coloursFor, table } from './style.js'

/** A kind of conversion, with what its samples say. Times in ns. */
export interface ConversionRow extends Omit<ConversionSeries, 'durationsNs'>, Percentiles {
  /** How many times as long as one ioctl in place, of the same size, state and direction (medians); null where there is none. */
  readonly againstInPlace: number | null
}

/** What `gmem bench convert --json` gives. */
export interface ConversionBenchReport extends BenchHead {
  readonly rows: readonly ConversionRow[]
}

/** The report of what was measured. */
export function conversionReport(
  kernel: string,
  accelerator: string,
  { series, ...bench }: ConversionBench,
): ConversionBenchReport {
  const rows = series.map(summarize)
  const rowsOfWay = (way: ConversionWay) =>
    new Map(rows.filter((row) => row.way === way).map((row) => [kindOf(row), row]))
  const inPlace = rowsOfWay('in-place')
  const related = rows.map((row) => {
    const base = inPlace.get(kindOf(row))
    return { ...row, againstInPlace: base === undefined ? null : row.p50Ns / base.p50Ns }
  })
  return { schema: 1, kernel, accelerator, ...bench, rows: related }
}

function summarize({ durationsNs, ...kind }: ConversionSeries): ConversionRow {
  return { ...kind, ...percentilesOf(durationsNs), againstInPlace: null }
}

const kindOf = ({ state, to, sizeBytes }: Pick<ConversionRow, 'state' | 'to' | 'sizeBytes'>): string =>
  `${state} ${to} ${sizeBytes}`

const wayNames: Readonly<Record<ConversionWay, string>> = {
  'in-place': 'in place',
  'in-place-pages': 'page by page',
  'two-backings': 'two backings',
}

const stateNames: Readonly<Record<MemoryState, string>> = {
  absent: 'nothing allocated',
  populated: 'allocated, not mapped',
  mapped: 'allocated and mapped',
}

/** The lines of the report, for a person. */
export function conversionLines(
  report: ConversionBenchReport,
  stream: { readonly isTTY?: boolean },
): string[] {
  const colours = coloursFor(stream)
  const groups = (Object.keys(stateNames) as MemoryState[]).flatMap((state) =>
    (['private', 'shared'] as const).map((to) => ({
      title: `to ${to}, ${stateNames[state]}`,
      rows: report.rows.filter((row) => row.state === state && row.to === to),
    })),
  )
  return [
    headLine(report, colours),
    ...groups
      .filter(({ rows }) => rows.length > 0)
      .flatMap(({ title, rows }) => ['', ...groupLines(title, rows, colours)]),
    ...leftLines(report, colours),
  ]
}

function groupLines(title: string, rows: readonly ConversionRow[], colours: Colours): string[] {
  const rank = ({ way }: ConversionRow) => conversionWays.indexOf(way)
  const sorted = [...rows].sort((a, b) => a.sizeBytes - b.sizeBytes || rank(a) - rank(b))
  const head = ['size', 'way', 'ioctls', 'p50', 'p90', 'p99', 'samples', 'against in place']
  const body = sorted.map((row) => [
    sizeText(row.sizeBytes),
    wayNames[row.way],
    `${row.calls}`,
    durationText(row.p50Ns),
    durationText(row.p90Ns),
    durationText(row.p99Ns),
    `${row.samples}`,
    row.way === 'in-place' || row.againstInPlace === null ? '' : `${ratioText(row.againstInPlace)} ×`,
  ])
  const align = ['right', 'left', 'right', 'right', 'right', 'right', 'right', 'right'] as const
  return [colours.bold(title), ...table([head, ...body], align, '  ')]
}

/** How a way is called in reports. */
export function wayName(way: ConversionWay): string {
  return wayNames[way]
}

/** How a state is called in reports. */
export function stateName(state: MemoryState): string {
  return stateNames[state]
}
