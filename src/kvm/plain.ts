// SPDX-License-Identifier: Apache-2.0
import { Attempt } from './attempt.js'
import { MemoryAttempt } from './attempt-memory.js'
import type { Execution } from './execution.js'
import { type Outcome, unwrap } from './outcome.js'

/** Attempt's operations, resolving to the value instead of the outcome. */
export type Plain = {
  [Name in keyof Attempt]: Attempt[Name] extends (...args: infer Args) => Promise<Outcome<infer Value>>
    ? (...args: Args) => Promise<Value>
    : never
}

type Operation = (...args: unknown[]) => Promise<Outcome<unknown>>

/** What a Vcpu inherits: every operation of Attempt in its plain form, next to `attempt` itself. */
class PlainBase {
  /** The operations in the form that returns whatever happened. */
  readonly attempt: Attempt
  readonly #execution: Execution

  constructor(execution: Execution) {
    this.#execution = execution
    this.attempt = new Attempt(execution)
  }

  /** Runs an operation of `attempt` for its value. */
  protected async plain(name: keyof Attempt, args: unknown[]): Promise<unknown> {
    // SAFETY: every method of Attempt returns a promise of an Outcome; Plain's type holds callers to its parameters.
    const operation = this.attempt[name] as Operation
    const outcome = await operation.apply(this.attempt, args)
    // The label is for the error alone: making it costs more than the rest of this.
    return outcome.reason === 'DONE' ? outcome.value : unwrap(this.#execution.label, outcome)
  }
}

const operations = [MemoryAttempt, Attempt].flatMap(({ prototype }) => Object.getOwnPropertyNames(prototype))

for (const name of operations) {
  if (name === 'constructor' || name === 'run') continue
  Object.defineProperty(PlainBase.prototype, name, {
    configurable: true,
    writable: true,
    value(this: { plain: (name: string, args: unknown[]) => Promise<unknown> }, ...args: unknown[]) {
      return this.plain(name, args)
    },
  })
}

/** The base class of Vcpu: PlainBase with the methods that the loop above gave it. */
export const PlainOperations = PlainBase as new (execution: Execution) => PlainBase & Plain
