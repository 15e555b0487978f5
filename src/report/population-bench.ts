// SPDX-License-Identifier: Apache-2.0
import {
  type PopulationBench,
  type PopulationSeries,
  type PopulationWay,
  populationWays,
} from '../pool/population-bench.js'
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
import { coloursFor, table } from './style.js'

/** A kind of population, with what its samples say. Times in ns. */
export interface PopulationRow extends Omit<PopulationSeries, 'durationsNs'>, Percentiles {
  /** How many times as long as a copy of the same size into the mapping (medians); null where there is none. */
  readonly againstMapping: number | null
}

/** What `gmem bench populate --json` gives. */
export interface PopulationBenchReport extends BenchHead {
  readonly rows: readonly PopulationRow[]
  readonly guestCommandNs: PopulationBench['guestCommandNs']
}

/** The report of what was measured. */
export function populationReport(
  kernel: string,
  accelerator: string,
  { series, ...bench }: PopulationBench,
): PopulationBenchReport {
  const rows = series.map(({ durationsNs, ...kind }) => ({ ...kind, ...percentilesOf(durationsNs) }))
  const mapping = new Map(
    rows.filter(({ way }) => way === 'mapping').map(({ sizeBytes, p50Ns }) => [sizeBytes, p50Ns]),
  )
  const related = rows.map((row) => {
    const base = mapping.get(row.sizeBytes)
    return { ...row, againstMapping: base === undefined ? null : row.p50Ns / base }
  })
  return { schema: 1, kernel, accelerator, ...bench, rows: related }
}

const wayNames: Readonly<Record<PopulationWay, string>> = {
  mapping: 'copy into the mapping',
  write: 'write()',
  guest: 'the guest writes',
  prefault: 'fallocate, prefault',
}

/** The lines of the report, for a person. */
export function populationLines(
  report: PopulationBenchReport,
  stream: { readonly isTTY?: boolean },
): string[] {
  const colours = coloursFor(stream)
  const rank = ({ way }: PopulationRow) => populationWays.indexOf(way)
  const rows = [...report.rows].sort((a, b) => a.sizeBytes - b.sizeBytes || rank(a) - rank(b))
  const head = ['size', 'way', 'p50', 'p90', 'p99', 'MiB/s', 'samples', 'against the mapping']
  const body = rows.map((row) => [
    sizeText(row.sizeBytes),
    wayNames[row.way],
    durationText(row.p50Ns),
    durationText(row.p90Ns),
    durationText(row.p99Ns),
    ratioText((row.sizeBytes / 2 ** 20 / row.p50Ns) * 1e9),
    `${row.samples}`,
    row.way === 'mapping' || row.againstMapping === null ? '' : `${ratioText(row.againstMapping)} ×`,
  ])
  const align = ['right', 'left', 'right', 'right', 'right', 'right', 'right', 'right'] as const
  const { guestCommandNs } = report
  return [
    headLine(report, colours),
    '',
    ...table([head, ...body], align, '  '),
    ...(guestCommandNs === null
      ? []
      : [
          '',
          `  the guest's command itself takes ${durationText(guestCommandNs)}, which is part of its times`,
        ]),
    ...leftLines(report, colours),
  ]
}
