// SPDX-License-Identifier: Apache-2.0
import type { ExitCode } from '../errors.js'

/**
 * What a `gmem test --on-orders` is told by the gmem that started it, over Node's channel between processes, in this order: `stand-by` once
 * or not at all, then `test` any number of times, always for the same kernel. The end of the channel is the end of the orders.
 */
export type Order =
  /** A kernel is being built that this one, which is built, will be like but for its KVM modules: have VMs ready. `folder`: for their consoles. */
  | { readonly type: 'stand-by'; readonly kernel: string; readonly folder: string }
  /** Run these tests on a kernel that is built, as -k names it; the results go to `folder`. The answer is a Report. */
  | ({ readonly type: 'test'; readonly kernel: string; readonly folder: string } & Selection)

/** Which tests. */
export interface Selection {
  /** Parts of test files' names. */
  readonly filters: readonly string[]
  /** A pattern of tests' names; left out: all. */
  readonly name?: string | undefined
}

/** What the answer to a `test` is. */
export interface Report {
  readonly exitCode: ExitCode
}
