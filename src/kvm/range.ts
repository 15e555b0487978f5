// SPDX-License-Identifier: Apache-2.0
import type { Bytes, Gpa } from '../units.js'

/** A range of guest physical addresses. */
export interface GpaRange {
  readonly gpa: Gpa
  /** In bytes. */
  readonly size: Bytes
}

/** A part of a mapping or file. */
export interface Span {
  /** From the start of the mapping or file, in bytes. */
  readonly offset: Bytes
  /** In bytes. */
  readonly size: Bytes
}

/** A part of a Memory: good wherever a GpaRange or a Span of its mapping is wanted. */
export interface MemoryRange extends GpaRange, Span {}
