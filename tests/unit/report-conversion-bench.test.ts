// SPDX-License-Identifier: Apache-2.0
import { describe, expect, test } from 'vitest'
import type { ConversionSeries } from '../../src/pool/conversion-bench.js'
import { durationText, sizeText } from '../../src/report/bench.js'
import { conversionLines, conversionReport } from '../../src/report/conversion-bench.js'
import { conversionPlot } from '../../src/report/conversion-plot.js'

const kind = { state: 'populated', to: 'private', sizeBytes: 4096, calls: 1 } as const
const upTo = (count: number, stepNs: number) =>
  Array.from({ length: count }, (_, index) => (index + 1) * stepNs)

const reportOf = (series: readonly ConversionSeries[]) =>
  conversionReport('7.3+inplace-conversion', 'tcg', {
    release: '7.3.4-gmem',
    processors: 2,
    memoryBytes: 2 ** 30,
    series,
    left: [{ what: 'in place, 1048576 KiB mapped', reason: 'it needs 1024 MiB of the VM' }],
  })

const report = reportOf([
  { ...kind, way: 'in-place', durationsNs: upTo(100, 10) },
  { ...kind, way: 'two-backings', durationsNs: [2000, 1000, 3000] },
  { ...kind, way: 'two-backings', to: 'shared', durationsNs: [700] },
])

describe('conversionReport()', () => {
  test('gives percentiles by nearest rank', () => {
    expect(report.rows[0]).toMatchObject({
      samples: 100,
      p50Ns: 500,
      p90Ns: 900,
      p99Ns: 990,
      minNs: 10,
      maxNs: 1000,
    })
    expect(report.rows[1]).toMatchObject({ samples: 3, p50Ns: 2000, p90Ns: 3000, p99Ns: 3000, minNs: 1000 })
  })

  test('relates a kind to the same kind in place, and to nothing where there is none', () => {
    expect(report.rows.map(({ againstInPlace }) => againstInPlace)).toEqual([1, 4, null])
  })
})

describe('conversionLines()', () => {
  test('names what was measured, the ratio, and what was not measured', () => {
    const lines = conversionLines(report, {}).join('\n')

    expect(lines).toMatch(
      /to private, allocated, not mapped\n.*\n +4K +in place +1 +500 ns +900 ns +990 ns +100\n/,
    )
    expect(lines).toMatch(/4K +two backings +1 +2\.00 µs .* 4\.00 ×\n/)
    expect(lines).toContain('in place, 1048576 KiB mapped: it needs 1024 MiB of the VM')
  })
})

describe('conversionPlot()', () => {
  test('has a point for each kind, within its panel', () => {
    const svg = conversionPlot(report)

    expect(svg.match(/<circle cx="[\d.]+" cy="[\d.]+" r="3"/g)).toHaveLength(3)
    expect(svg).not.toMatch(/NaN|Infinity|undefined/)
  })

  test('of nothing is an empty plot', () => {
    expect(conversionPlot(reportOf([]))).not.toMatch(/NaN|Infinity|undefined/)
  })
})

test.each([
  [4096, '4K'],
  [2 ** 21, '2M'],
  [2 ** 30, '1G'],
])('sizeText(%i) is %j', (size, text) => {
  expect(sizeText(size)).toBe(text)
})

test.each([
  [870, '870 ns'],
  [12_340, '12.3 µs'],
  [4_560_000, '4.56 ms'],
  [1.2e9, '1.20 s'],
])('durationText(%i) is %j', (ns, text) => {
  expect(durationText(ns)).toBe(text)
})
