// SPDX-License-Identifier: Apache-2.0
import type { ConversionBench } from './conversion-bench.js'
import type { PopulationBench } from './population-bench.js'

/** How much to measure. */
export interface BenchLimits {
  readonly sizesBytes: readonly number[]
  /** Samples of each kind, at most. */
  readonly samplesMax: number
  /** How long one kind may take, preparing included, in ms; one sample is taken anyhow. */
  readonly budgetMs: number
}

/** Where it was measured, and what was not. */
export interface BenchPlace {
  readonly release: string
  readonly processors: number
  readonly memoryBytes: number
  /** What was asked for and could not be measured, with the reason. */
  readonly left: readonly { readonly what: string; readonly reason: string }[]
}

/** What each measurement gives. */
export interface BenchResults {
  readonly convert: ConversionBench
  readonly populate: PopulationBench
}

export type BenchName = keyof BenchResults
