// SPDX-License-Identifier: Apache-2.0

import { type ConversionWay, conversionWays, memoryStates } from '../pool/conversion-bench.js'
import { durationText, sizeText } from './bench.js'
import { type ConversionBenchReport, type ConversionRow, stateName, wayName } from './conversion-bench.js'
import { escapeMarkup } from './values.js'

const PANEL = { width: 380, height: 240 }
const MARGIN = { left: 64, top: 72, right: 16, bottom: 48, between: 76 }
const COLOURS: Readonly<Record<ConversionWay, string>> = {
  'in-place': '#1f6fb4',
  'in-place-pages': '#d1662a',
  'two-backings': '#3a8f4d',
}

interface Scale {
  readonly min: number
  readonly max: number
}

/**
 * The medians of a report over the size, both axes logarithmic: a panel for each state and direction, a line for each way. From each point
 * a thin line goes up to the 99th percentile.
 */
export function conversionPlot(report: ConversionBenchReport): string {
  const directions = ['private', 'shared'] as const
  const sizes = scaleOf(report.rows.map(({ sizeBytes }) => sizeBytes))
  const times = scaleOf(report.rows.flatMap(({ p50Ns, p99Ns }) => [p50Ns, p99Ns]))
  const width = MARGIN.left + 2 * PANEL.width + MARGIN.between + MARGIN.right
  const height = MARGIN.top + memoryStates.length * (PANEL.height + MARGIN.between)
  const panels = memoryStates.flatMap((state, line) =>
    directions.map((to, column) => {
      const x = MARGIN.left + column * (PANEL.width + MARGIN.between)
      const y = MARGIN.top + line * (PANEL.height + MARGIN.between)
      const rows = report.rows.filter((row) => row.state === state && row.to === to)
      const title = `to ${to}, ${stateName(state)}`
      return `<g transform="translate(${x} ${y})">${panel(title, rows, sizes, times)}</g>`
    }),
  )
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}" font-family="sans-serif" font-size="11">`,
    '<rect width="100%" height="100%" fill="white"/>',
    text(
      { x: MARGIN.left, y: 24, size: 15 },
      `Conversion latency, ${report.kernel} on ${report.accelerator}`,
    ),
    ...legend(),
    ...panels,
    '</svg>',
    '',
  ].join('\n')
}

function legend(): string[] {
  return conversionWays.map((way, index) => {
    const x = MARGIN.left + index * 130
    return `<circle cx="${x + 4}" cy="42" r="4" fill="${COLOURS[way]}"/>${text({ x: x + 14, y: 46 }, wayName(way))}`
  })
}

function panel(title: string, rows: readonly ConversionRow[], sizes: Scale, times: Scale): string {
  const x = (sizeBytes: number) => position(sizeBytes, sizes) * PANEL.width
  const y = (ns: number) => PANEL.height - position(ns, times) * PANEL.height
  const lines = conversionWays.map((way) => {
    const own = rows.filter((row) => row.way === way).sort((a, b) => a.sizeBytes - b.sizeBytes)
    const points = own.map(({ sizeBytes, p50Ns }) => `${round(x(sizeBytes))},${round(y(p50Ns))}`)
    const marks = own.map(({ sizeBytes, p50Ns, p99Ns }) => {
      const [at, low, high] = [x(sizeBytes), y(p50Ns), y(p99Ns)].map(round)
      return `<path d="M${at} ${low}V${high}" stroke="${COLOURS[way]}" stroke-opacity="0.4"/><circle cx="${at}" cy="${low}" r="3" fill="${COLOURS[way]}"/>`
    })
    return `<polyline points="${points.join(' ')}" fill="none" stroke="${COLOURS[way]}" stroke-width="1.5"/>${marks.join('')}`
  })
  return [
    `<rect width="${PANEL.width}" height="${PANEL.height}" fill="none" stroke="#999"/>`,
    text({ x: 0, y: -8, size: 12 }, title),
    ...ticks(times, 10).map(
      (ns) =>
        `<path d="M0 ${round(y(ns))}H${PANEL.width}" stroke="#e4e4e4"/>${text({ x: -6, y: y(ns) + 4, anchor: 'end' }, durationText(ns))}`,
    ),
    ...ticks(sizes, 16).map((size) =>
      text({ x: x(size), y: PANEL.height + 16, anchor: 'middle' }, sizeText(size)),
    ),
    ...lines,
  ].join('')
}

function scaleOf(values: readonly number[]): Scale {
  const positive = values.filter((value) => value > 0)
  const min = Math.min(...positive)
  const max = Math.max(...positive)
  return positive.length === 0 || min === max ? { min: (min || 1) / 2, max: (max || 1) * 2 } : { min, max }
}

function position(value: number, { min, max }: Scale): number {
  return Math.log(Math.max(value, min) / min) / Math.log(max / min)
}

/** Powers of the base within a scale, those of sizes counted from one page. */
function ticks({ min, max }: Scale, base: number): number[] {
  const unit = base === 16 ? 4096 : 1
  const first = Math.ceil(Math.log(min / unit) / Math.log(base) - 1e-9)
  const last = Math.floor(Math.log(max / unit) / Math.log(base) + 1e-9)
  return Array.from({ length: Math.max(0, last - first + 1) }, (_, index) => unit * base ** (first + index))
}

function text(
  at: { readonly x: number; readonly y: number; readonly size?: number; readonly anchor?: 'middle' | 'end' },
  content: string,
): string {
  const size = at.size === undefined ? '' : ` font-size="${at.size}"`
  const anchor = at.anchor === undefined ? '' : ` text-anchor="${at.anchor}"`
  return `<text x="${round(at.x)}" y="${round(at.y)}"${size}${anchor}>${escapeMarkup(content)}</text>`
}

function round(value: number): number {
  return Math.round(value * 10) / 10
}
