// SPDX-License-Identifier: Apache-2.0
import { join } from 'node:path'
import { interruptedError } from '../errors.js'
import type { KernelImage } from '../kernels/types.js'
import type { TargetResult } from '../report/schema.js'
import { childRun, type GmemChild, kernelWord, startGmem } from './child-run.js'
import type { Order, Report, Selection } from './orders.js'
import { type RunFlags, runArguments } from './run-options.js'

/**
 * A `gmem test` in a process of its own that runs tests on a kernel in several parts. It may be started before the kernel is built: then its
 * VMs come up meanwhile, and all parts run in them.
 */
export class OrderedRun {
  readonly #child: GmemChild
  readonly #output: string

  /** `folder`: for all that it leaves. */
  constructor(
    flags: RunFlags,
    readonly folder: string,
    readonly signal: AbortSignal,
  ) {
    this.#output = join(folder, 'output.txt')
    const words = ['test', ...runArguments([], flags, { isRepeated: true }), '--on-orders']
    this.#child = startGmem(words, this.#output, signal, { withOrders: true })
    // Whoever waits for a report hears of it.
    this.#child.ended.catch(() => {})
  }

  /** Has VMs come up for a kernel that is being built, and that will be like `kernel` but for its KVM modules. */
  standBy(kernel: KernelImage): void {
    this.#send({ type: 'stand-by', kernel: kernelWord(kernel), folder: this.folder })
  }

  /** Runs tests. Throws as runChild() does. */
  async test(kernel: KernelImage, part: string, selection: Selection): Promise<TargetResult> {
    const folder = join(this.folder, part)
    const report = this.#report()
    this.#send({ type: 'test', kernel: kernelWord(kernel), folder, ...selection })
    const code = await report
    if (this.signal.aborted) throw interruptedError()
    return childRun(kernel, { folder, code, output: this.#output }).target
  }

  /** Ends it, with its VMs. */
  async end(): Promise<void> {
    if (this.#child.process.connected) this.#child.process.disconnect()
    await this.#child.ended.catch(() => {})
  }

  /** A child that is gone makes the next report its exit code. */
  #send(order: Order): void {
    if (this.#child.process.connected) this.#child.process.send(order, () => {})
  }

  async #report(): Promise<number> {
    const reported = new Promise<number>((resolve) => {
      this.#child.process.once('message', (report) => resolve((report as Report).exitCode))
    })
    return await Promise.race([reported, this.#child.ended])
  }
}
