// SPDX-License-Identifier: Apache-2.0
import type { BenchPlace } from './bench.js'

/**
 * A way to fill memory of a guest_memfd that nobody has touched: the host copies into its mapping; write(2); the guest writes; fallocate(2),
 * then KVM_PRE_FAULT_MEMORY (which leaves it zero).
 */
export const populationWays = ['mapping', 'write', 'guest', 'prefault'] as const
export type PopulationWay = (typeof populationWays)[number]

/** Populations of one kind. */
export interface PopulationSeries {
  readonly way: PopulationWay
  readonly sizeBytes: number
  /** How long each took, in the order in which they were made. */
  readonly durationsNs: readonly number[]
}

/** What was measured in one VM. */
export interface PopulationBench extends BenchPlace {
  readonly series: readonly PopulationSeries[]
  /** What it takes to have the guest do next to nothing: part of each duration of `guest`; null where that was not measured. */
  readonly guestCommandNs: number | null
}
