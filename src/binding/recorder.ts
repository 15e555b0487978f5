// SPDX-License-Identifier: Apache-2.0
import { describeError, isPlain, snapshot, type Trace } from './trace.js'

type Callable = (this: unknown, ...args: unknown[]) => unknown

/** Makes every call into the addon pass the trace, by replacing functions once: later calls cost one entry each. */
export class Recorder {
  readonly #trace: Trace
  readonly #names = new WeakMap<object, string>()
  readonly #counts = new Map<string, number>()
  readonly #prefixes = new Map<unknown, string>()

  constructor(trace: Trace) {
    this.#trace = trace
  }

  /** Replaces all methods of a class on its prototype. Getters stay as they are. */
  wrapClass(name: string, prototype: object): void {
    const prefix = name.charAt(0).toLowerCase() + name.slice(1)
    this.#prefixes.set(prototype, prefix)
    for (const key of Reflect.ownKeys(prototype)) {
      const descriptor = Object.getOwnPropertyDescriptor(prototype, key)
      if (key === 'constructor' || descriptor === undefined || typeof descriptor.value !== 'function')
        continue
      const call = typeof key === 'symbol' ? 'dispose' : key
      Object.defineProperty(prototype, key, {
        ...descriptor,
        value: this.#wrap(call, descriptor.value, prefix),
      })
    }
  }

  /** The same function, recorded. */
  wrapFunction(name: string, target: Callable): Callable {
    return this.#wrap(name, target, undefined)
  }

  #wrap(call: string, target: Callable, prefix: string | undefined): Callable {
    const recorder = this
    const nameOf = (value: object) => recorder.#names.get(value)
    const recorded = function (this: unknown, ...args: unknown[]): unknown {
      const object = prefix === undefined ? null : recorder.#nameOf(this, prefix)
      const entry = recorder.#trace.begin(object, call, args, nameOf)
      try {
        const result = Reflect.apply(target, this, args)
        if (isPlain(result)) {
          entry.result = result
          return result
        }
        if (result instanceof Promise) {
          result.then(
            (value) => {
              entry.result = snapshot(value, nameOf)
            },
            (error: unknown) => {
              entry.error = describeError(error)
            },
          )
          return result
        }
        recorder.#nameResult(result)
        entry.result = snapshot(result, nameOf)
        return result
      } catch (error) {
        entry.error = describeError(error)
        throw error
      }
    }
    return Object.defineProperty(recorded, 'name', { value: call })
  }

  #nameOf(value: unknown, prefix: string): string | null {
    if (typeof value !== 'object' || value === null) return null
    const known = this.#names.get(value)
    if (known !== undefined) return known
    const count = (this.#counts.get(prefix) ?? 0) + 1
    this.#counts.set(prefix, count)
    const name = `${prefix}#${count}`
    this.#names.set(value, name)
    return name
  }

  // An object is named when it is made, so that numbers follow the order of creation.
  #nameResult(result: unknown): void {
    if (typeof result !== 'object' || result === null) return
    const prefix = this.#prefixes.get(Object.getPrototypeOf(result))
    if (prefix !== undefined) this.#nameOf(result, prefix)
  }
}
