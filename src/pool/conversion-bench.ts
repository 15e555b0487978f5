// SPDX-License-Identifier: Apache-2.0
import type { Sharing } from '../kvm/index.js'
import type { BenchPlace } from './bench.js'

/**
 * A way to convert: one ioctl on the guest_memfd for the whole range, one for each of its pages, or KVM_SET_MEMORY_ATTRIBUTES on the VM
 * where a page has two backings.
 */
export const conversionWays = ['in-place', 'in-place-pages', 'two-backings'] as const
export type ConversionWay = (typeof conversionWays)[number]

/**
 * What the range is like before it is converted: nothing allocated; allocated, but in nobody's page tables; or mapped by the guest
 * and, where it is shared, by the host.
 */
export const memoryStates = ['absent', 'populated', 'mapped'] as const
export type MemoryState = (typeof memoryStates)[number]

/** Conversions of one kind. */
export interface ConversionSeries {
  readonly way: ConversionWay
  readonly state: MemoryState
  readonly to: Sharing
  readonly sizeBytes: number
  /** ioctls for one conversion. */
  readonly calls: number
  /** How long each conversion took, in the order in which they were made. */
  readonly durationsNs: readonly number[]
}

/** What was measured in one VM. */
export interface ConversionBench extends BenchPlace {
  readonly series: readonly ConversionSeries[]
}
