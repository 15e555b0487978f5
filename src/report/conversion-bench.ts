// SPDX-License-Identifier: Apache-2.0
import {
  type ConversionBench,
  type ConversionSeries,
  type ConversionWay,
  conversionWays,
  type MemoryState,
} from '../pool/conversion-bench.js'
import { type Colours, coloursFor, table } from './style.js'

/** Which of the sorted samples stands for how many percent of them: nearest rank. */
const PERCENTILES = [50, 90, 99] as const

/** A kind of conversion, with what its samples say. Times in ns. */
export interface ConversionRow extends Omit<ConversionSeries, 'durationsNs'> {
  readonly samples: number
  readonly p50Ns: number
  readonly p90Ns: number
  readonly p99Ns: number
  readonly minNs: number
  readonly maxNs: number
  /** How many times as long as one ioctl in place, of the same size, state and direction (medians); null where there is none. */
  readonly againstInPlace: number | null
}

/** What `gmem bench convert --json` gives. */
export interface ConversionBenchReport {
  readonly schema: 1
  readonly kernel: string
  readonly accelerator: string
  readonly release: string
  readonly processors: number
  readonly memoryBytes: number
  readonly rows: readonly ConversionRow[]
  readonly left: ConversionBench['left']
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
  const sorted = [...durationsNs].sort((a, b) => a - b)
  const at = (percent: number) => sorted[Math.max(0, Math.ceil((percent / 100) * sorted.length) - 1)] ?? 0
  const [p50Ns, p90Ns, p99Ns] = PERCENTILES.map(at) as [number, number, number]
  return {
    ...kind,
    samples: sorted.length,
    p50Ns,
    p90Ns,
    p99Ns,
    minNs: at(0),
    maxNs: at(100),
    againstInPlace: null,
  }
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
    `${colours.bold(report.kernel)} (${report.release}) on ${report.accelerator}, ${report.processors} processors`,
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

function leftLines({ left }: ConversionBenchReport, colours: Colours): string[] {
  if (left.length === 0) return []
  return ['', colours.bold('not measured'), ...left.map(({ what, reason }) => `  ${what}: ${reason}`)]
}

/** `4K`, `16M`, `1G`. */
export function sizeText(sizeBytes: number): string {
  const units = ['', 'K', 'M', 'G', 'T']
  const power = Math.min(units.length - 1, Math.floor(Math.log2(sizeBytes) / 10))
  return `${sizeBytes / 1024 ** power}${units[power]}`
}

/** `870 ns`, `12.3 µs`, `4.56 ms`, `1.20 s`. */
export function durationText(ns: number): string {
  const [unit = 'ns', scale = 1] =
    ns >= 1e9 ? ['s', 1e9] : ns >= 1e6 ? ['ms', 1e6] : ns >= 1e3 ? ['µs', 1e3] : ['ns', 1]
  return `${ratioText(ns / scale)} ${unit}`
}

function ratioText(value: number): string {
  return value >= 100 ? value.toFixed(0) : value >= 10 ? value.toFixed(1) : value.toFixed(2)
}

/** How a way is called in reports. */
export function wayName(way: ConversionWay): string {
  return wayNames[way]
}

/** How a state is called in reports. */
export function stateName(state: MemoryState): string {
  return stateNames[state]
}
