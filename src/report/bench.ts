// SPDX-License-Identifier: Apache-2.0
import type { BenchPlace } from '../pool/bench.js'
import type { Colours } from './style.js'

/** Which of the sorted samples stands for how many percent of them: nearest rank. */
const PERCENTILES = [50, 90, 99] as const

/** What samples say. Times in ns. */
export interface Percentiles {
  readonly samples: number
  readonly p50Ns: number
  readonly p90Ns: number
  readonly p99Ns: number
  readonly minNs: number
  readonly maxNs: number
}

/** What every `gmem bench --json` begins with. */
export interface BenchHead extends BenchPlace {
  readonly schema: 1
  readonly kernel: string
  readonly accelerator: string
}

export function percentilesOf(durationsNs: readonly number[]): Percentiles {
  const sorted = [...durationsNs].sort((a, b) => a - b)
  const at = (percent: number) => sorted[Math.max(0, Math.ceil((percent / 100) * sorted.length) - 1)] ?? 0
  const [p50Ns, p90Ns, p99Ns] = PERCENTILES.map(at) as [number, number, number]
  return { samples: sorted.length, p50Ns, p90Ns, p99Ns, minNs: at(0), maxNs: at(100) }
}

/** Where it was measured. */
export function headLine({ kernel, release, accelerator, processors }: BenchHead, colours: Colours): string {
  return `${colours.bold(kernel)} (${release}) on ${accelerator}, ${processors} processors`
}

/** What was not measured. */
export function leftLines({ left }: BenchHead, colours: Colours): string[] {
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

/** Three digits. */
export function ratioText(value: number): string {
  return value >= 100 ? value.toFixed(0) : value >= 10 ? value.toFixed(1) : value.toFixed(2)
}
