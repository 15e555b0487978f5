// SPDX-License-Identifier: Apache-2.0
import { on } from 'node:events'
import { ExitCode, usageError } from '../errors.js'
import type { KernelPool, StandbyVms } from '../pool/index.js'
import { createRunFolder } from '../report/artefacts.js'
import { Screen } from '../report/screen.js'
import type { CliContext } from './context.js'
import { defaultWorkers } from './engine.js'
import type { Order, Report } from './orders.js'
import { closeInTime } from './stopping.js'
import { TargetEvents } from './target-events.js'
import { findKernels, kernelTarget, standbyPool, type Target } from './targets.js'
import { checkFilters } from './test-files.js'
import { type TestRequest, TestRun } from './test-run.js'

/** Runs tests as it is told to (Order), in VMs that stay from one order to the next; what `request` says holds for all. */
export async function runOrderedTests(request: TestRequest, context: CliContext): Promise<ExitCode> {
  if (process.send === undefined)
    throw usageError('--on-orders is for gmem itself', 'gmem watch starts such a run.')
  const tests = new OrderedTests(request, context)
  // While somebody builds a kernel: vitest takes half a second to load.
  void import('vitest/node')
  try {
    for await (const [order] of on(process, 'message', { signal: context.signal, close: ['disconnect'] })) {
      const report = await tests.take(order as Order)
      if (report !== null) process.send(report)
    }
    return ExitCode.ok
  } finally {
    await tests.close()
  }
}

class OrderedTests {
  readonly #events = new TargetEvents()
  readonly #screen = new Screen(process.stdout)
  #standby: { readonly pool: KernelPool; readonly vms: Promise<StandbyVms> } | null = null
  #target: Target | null = null

  constructor(
    readonly request: TestRequest,
    readonly context: CliContext,
  ) {}

  async take(order: Order): Promise<Report | null> {
    const options = { ...this.request, runDir: order.folder, onEvent: this.#events.emit }
    const [kernel] = await findKernels([order.kernel], this.context)
    if (kernel === undefined) throw usageError(`${order.kernel} is no kernel`)
    if (order.type === 'stand-by') {
      if (this.request.cold) return null
      const pool = await standbyPool(kernel, options)
      this.#standby = {
        pool,
        vms: pool.standBy(this.request.workers ?? defaultWorkers([kernel])),
      }
      // Whoever takes one finds out.
      this.#standby.vms.catch(() => {})
      return null
    }
    await createRunFolder(order.folder)
    const standby = await this.#standby?.vms.catch(() => undefined)
    this.#target ??= await kernelTarget(kernel, options, standby)
    const exitCode = await this.#run(order, this.#target)
    // A run that was stopped at its deadline has closed it already.
    if (exitCode === ExitCode.timeout) await this.#closeTarget()
    return { exitCode }
  }

  async close(): Promise<void> {
    await Promise.all([this.#closeTarget(), this.#closeStandby()])
  }

  async #closeTarget(): Promise<void> {
    const target = this.#target
    this.#target = null
    if (target !== null) await closeInTime([target.close()])
  }

  async #run({ filters, name, folder }: Order & { type: 'test' }, target: Target): Promise<ExitCode> {
    const request = {
      ...this.request,
      filters,
      namePattern: name === undefined ? undefined : new RegExp(name),
    }
    checkFilters(request)
    const run = new TestRun(request, this.context, {
      screen: this.#screen,
      runDir: folder,
      events: this.#events,
    })
    return await run.on([target]).finally(() => run.environmentWritten)
  }

  async #closeStandby(): Promise<void> {
    if (this.#standby === null) return
    const { pool, vms } = this.#standby
    // In this order: what is still coming up ends at once.
    const closing = pool.close()
    await closeInTime([closing, vms.then(async (ready) => await ready.close()).catch(() => {})])
  }
}
