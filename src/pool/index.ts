// SPDX-License-Identifier: Apache-2.0
import type { PoolOptions, PoolWorker } from 'vitest/node'
import { KernelPoolWorker } from './kernel-worker.js'
import type { KernelPoolOptions } from './options.js'
import { SessionSource } from './source.js'
import type { StandbyVms } from './standby.js'

export { probeInGuest, type ShellTerminal, shellInGuest } from './in-guest.js'
export type { KernelPoolOptions, PoolEvent } from './options.js'
export type { StandbyVms } from './standby.js'

/** A vitest pool whose workers are VMs of one kernel. */
export interface KernelPool {
  readonly name: string
  readonly createPoolWorker: (options: PoolOptions) => PoolWorker
  /** Settles when the VM that `warmUp` asked for needs nothing more of this process for a while. */
  readonly underWay: Promise<void>
  /** Copies of this kernel's saved VM that come up, without KVM, for a kernel that is still being built. */
  standBy(count: number): Promise<StandbyVms>
  /** Ends the VMs that wait for a next file; more files may come. */
  endIdle(): Promise<void>
  /** Ends every VM that no file has, for good. */
  close(): Promise<void>
}

/**
 * A kernel as a vitest project: give it as the project's `pool`. With `warmUp` the first VM starts at once, so that it is there
 * when vitest has found its test files.
 */
export function createKernelPool(options: KernelPoolOptions & { readonly warmUp?: boolean }): KernelPool {
  const source = new SessionSource(options)
  if (options.warmUp) source.warmUp()
  return {
    name: 'gmem',
    createPoolWorker: () => new KernelPoolWorker(source),
    underWay: options.warmUp ? source.underWay : Promise.resolve(),
    standBy: (count) => source.standBy(count),
    endIdle: () => source.endIdle(),
    close: () => source.close(),
  }
}
