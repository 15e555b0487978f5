// SPDX-License-Identifier: Apache-2.0
import { createHash } from 'node:crypto'
import { availableParallelism } from 'node:os'
import type { GcovReader } from './gcov.js'
import { Coverage } from './model.js'

/** The counters of one object, as one test left them. */
interface CounterRecord {
  readonly object: string
  readonly counters: Uint8Array
}

interface AlikeRecords extends CounterRecord {
  readonly tests: string[]
}

/** Takes what each test's kernel counted while the tests run, and reads it when they are over. */
export class CoverageCollector {
  readonly #records = new Map<string, readonly CounterRecord[]>()

  /** A test that runs again, in a fresh VM, counts once: the last time. */
  add(test: string, objects: readonly CounterRecord[]): void {
    this.#records.set(test, objects)
  }

  /** Names of those that ran. */
  get tests(): readonly string[] {
    return [...this.#records.keys()]
  }

  /** What all tests reached. `onProgress`: how much of the work is done, 0 to 1. */
  async read(reader: GcovReader, onProgress: (fraction: number) => void): Promise<Coverage> {
    const coverage = new Coverage()
    const queue = this.#alike()
    const total = queue.length
    const work = async (): Promise<void> => {
      for (let next = queue.pop(); next !== undefined; next = queue.pop()) {
        const files = await reader.read(next.object, next.counters)
        for (const test of next.tests) coverage.add(test, files)
        onProgress(1 - queue.length / total)
      }
    }
    await Promise.all(Array.from({ length: availableParallelism() }, work))
    return coverage
  }

  /** Each content once, with the tests that left it: many leave the same, above all nothing. */
  #alike(): AlikeRecords[] {
    const alike = new Map<string, AlikeRecords>()
    for (const [test, records] of this.#records) {
      for (const { object, counters } of records) {
        const key = `${object} ${createHash('sha256').update(counters).digest('hex')}`
        const known = alike.get(key)
        if (known) known.tests.push(test)
        else alike.set(key, { object, counters, tests: [test] })
      }
    }
    return [...alike.values()]
  }
}
