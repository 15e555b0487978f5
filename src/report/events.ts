// SPDX-License-Identifier: Apache-2.0
import type { PoolEvent } from '../pool/options.js'

/** A target as it is known before anything of it runs. */
export interface TargetInfo {
  /** The vitest project's name: the kernel id, or `host`. */
  readonly id: string
  /** What -k was given, or `host`: what a later run would be given to test the same. */
  readonly kernel: string
  /** `uname -r` of it. */
  readonly release: string
}

/** What a target tells about itself while it runs, beside its test results: a kernel's pool, or that the host is used. */
export type TargetEvent =
  | PoolEvent
  | { readonly type: 'accelerator'; readonly accel: 'host'; readonly why: string }
