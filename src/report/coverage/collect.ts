// SPDX-License-Identifier: Apache-2.0
import { createHash } from 'node:crypto'
import { availableParallelism } from 'node:os'
import type { GcovFile, GcovReader } from './gcov.js'
import { Coverage } from './model.js'

/** The counters of one object, as one test left them. */
interface CounterRecord {
  readonly object: string
  readonly counters: Uint8Array
}

/** Takes what each test's kernel counted while the tests run, and reads it when they are over. */
export class CoverageCollector {
  readonly #records = new Map<string, readonly CounterRecord[]>()

  /** A test that runs again, in a fresh VM, counts once: the last time. */
  add(test: string, objects: readonly CounterRecord[]): void {
    this.#records.set(test, objects)
  }

  get tests(): number {
    return this.#records.size
  }

  /** What all tests reached. `onProgress`: how much of the work is done, 0 to 1. */
  async read(reader: GcovReader, onProgress: (fraction: number) => void): Promise<Coverage> {
    const coverage = new Coverage()
    const known = new Map<string, Promise<readonly GcovFile[]>>()
    const queue = [...this.#records]
    let done = 0
    const work = async (): Promise<void> => {
      for (let next = queue.pop(); next !== undefined; next = queue.pop()) {
        const [test, records] = next
        for (const { object, counters } of records) {
          // Many tests leave the same: above all nothing.
          const key = `${object} ${createHash('sha256').update(counters).digest('hex')}`
          const reading = known.get(key) ?? reader.read(object, counters)
          known.set(key, reading)
          coverage.add(test, await reading)
        }
        onProgress(++done / this.#records.size)
      }
    }
    await Promise.all(Array.from({ length: availableParallelism() }, work))
    return coverage
  }
}
