// SPDX-License-Identifier: Apache-2.0

/** How long a test took, over all its runs, in ms. */
export interface Timing {
  readonly minMs: number
  readonly medianMs: number
  readonly maxMs: number
  readonly runs: number
}

/** How many times as long, at least; and without any overlap of the two sides. */
const FACTOR_MIN = 1.5
/** A smaller difference is the scheduler's, in ms. */
const DIFFERENCE_MS_MIN = 250
/** Fewer say nothing: on a busy machine one run of a test was seen to take four times as long as the next. */
const RUNS_MIN = 3

export function timingOf(durationsMs: readonly number[]): Timing | null {
  const sorted = [...durationsMs].sort((a, b) => a - b)
  const [minMs] = sorted
  const maxMs = sorted.at(-1)
  const medianMs = sorted[Math.floor(sorted.length / 2)]
  if (minMs === undefined || maxMs === undefined || medianMs === undefined) return null
  return { minMs, medianMs, maxMs, runs: sorted.length }
}

/** Whether B takes longer than A by more than what two runs of the same kernel differ by: all of B above all of A, of three runs each. */
export function isSlower(a: Timing, b: Timing): boolean {
  if (Math.min(a.runs, b.runs) < RUNS_MIN) return false
  if (b.medianMs - a.medianMs < DIFFERENCE_MS_MIN) return false
  return b.minMs > a.maxMs && b.medianMs > a.medianMs * FACTOR_MIN
}

export function isFaster(a: Timing, b: Timing): boolean {
  return isSlower(b, a)
}
