// SPDX-License-Identifier: Apache-2.0
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import type { ObjectCounters } from '../protocol.js'

/** Documentation/dev-tools/gcov.rst; the folders below it repeat the path in which the kernel was built. */
const GCOV_ROOT = '/sys/kernel/debug/gcov'
const COUNTERS = '.gcda'

/** What the kernel counted of its own execution, in a kernel that was built to (the gcov flavour). */
export class CoverageReader {
  #files: readonly string[] | null = null

  /** Sets all counters to 0. */
  reset(): void {
    writeFileSync(join(GCOV_ROOT, 'reset'), '0')
  }

  /** The counters of every object that counts, as gcov reads them. */
  read(): ObjectCounters[] {
    this.#files ??= readdirSync(GCOV_ROOT, { recursive: true, encoding: 'utf8' }).filter((path) =>
      path.endsWith(COUNTERS),
    )
    return this.#files.map((path) => ({
      object: basename(path, COUNTERS),
      counters: new Uint8Array(readFileSync(join(GCOV_ROOT, path))),
    }))
  }
}
