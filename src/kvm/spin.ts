// SPDX-License-Identifier: Apache-2.0
import { setTimeout as sleep } from 'node:timers/promises'
import type { Execution, Operation, RunOptions } from './execution.js'
import type { Exit } from './exits.js'
import { OP } from './monitor-protocol.js'
import { type Outcome, unwrap } from './outcome.js'
import type { GpaRange } from './range.js'
import { OPERATION_DEADLINE_MS, scaledMs } from './time.js'

const SPIN_DEADLINE_MS = 60_000
const POLL_MS = 1

/** How a vCPU spins over a range. */
export interface SpinOptions extends RunOptions {
  /** Distance between accesses, in bytes; default one page. */
  readonly stride?: bigint
  /** Called for each exit; `true` resumes the guest at the same instruction. Without it the first exit ends the spinning. */
  readonly onExit?: (exit: Exit) => boolean | Promise<boolean>
}

/** A vCPU that accesses a range again and again until stopped. */
export class Spin {
  readonly #execution: Execution
  readonly #outcome: Promise<Outcome<unknown>>
  readonly #label: string
  #settled = false
  #exits = 0

  constructor(execution: Execution, operation: Operation<bigint>, options: SpinOptions) {
    this.#execution = execution
    this.#label = operation.name
    this.#outcome = this.#spin(operation, options).finally(() => {
      this.#settled = true
    })
    // Reported by stop(), finish(), exited() or progressed(); until then it must not end the process.
    this.#outcome.catch(() => {})
  }

  /** Passes over the range so far. */
  progress(): bigint {
    return this.#execution.progress()
  }

  /** Exits that onExit has answered so far. */
  get exits(): number {
    return this.#exits
  }

  /** Waits until the guest has made so many more passes. Rejects where it exited, or made too few within the default deadline. */
  async progressed(passes = 1n): Promise<void> {
    const goal = this.progress() + passes
    const end = performance.now() + scaledMs(OPERATION_DEADLINE_MS)
    while (this.progress() < goal) {
      if (this.#settled) unwrap(this.#label, await this.#outcome)
      if (performance.now() > end)
        throw new Error(`${this.#label}: ${this.progress()} passes after the deadline, wanted ${goal}`)
      await sleep(POLL_MS)
    }
  }

  /** Ends the spinning: how many passes it made. UnexpectedExitError where it ended by itself. */
  async stop(): Promise<bigint> {
    unwrap(this.#label, await this.finish())
    return this.progress()
  }

  /** Waits until the vCPU leaves the guest by itself, at the latest at its deadline: whatever came of it. */
  exited(): Promise<Outcome<unknown>> {
    return this.#outcome
  }

  /** Ends the spinning: whatever came of it. */
  finish(): Promise<Outcome<unknown>> {
    if (!this.#settled) this.#execution.stop()
    return this.#outcome
  }

  async #spin(operation: Operation<bigint>, options: SpinOptions): Promise<Outcome<unknown>> {
    const limits = { deadlineMs: options.deadlineMs ?? scaledMs(SPIN_DEADLINE_MS) }
    let outcome: Outcome<unknown> = await this.#execution.run(operation, limits)
    while (outcome.reason !== 'DONE' && outcome.reason !== 'EXCEPTION' && outcome.reason !== 'DEADLINE') {
      if (options.onExit === undefined || !(await options.onExit(outcome))) break
      this.#exits += 1
      outcome = await this.#execution.resume(limits)
    }
    return outcome
  }
}

/** The operation behind spinRead and spinWrite. */
export function spinOperation(
  kind: 'spinRead' | 'spinWrite',
  range: GpaRange,
  stride: bigint,
): Operation<bigint> {
  if (stride < 8n) throw new TypeError(`${kind} accesses qwords: a stride of ${stride} is too small`)
  return {
    name: kind,
    op: kind === 'spinRead' ? OP.SPIN_READ : OP.SPIN_WRITE,
    args: [range.gpa, stride, (range.size + stride - 1n) / stride],
    touches: [{ gpa: range.gpa, size: range.size }],
    decode: ({ values }) => values[0],
  }
}
