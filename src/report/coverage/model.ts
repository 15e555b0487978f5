// SPDX-License-Identifier: Apache-2.0
import type { GcovFile } from './gcov.js'

/** A line of source that has code. */
export interface LineCoverage {
  /** How often it ran, in all tests. */
  count: number
  readonly functionName: string
  /** How often each way out of it was taken. */
  readonly branches: number[]
  /** Names of the tests in which it ran. */
  readonly tests: Set<string>
  /** And of those in which each way out of it was taken. */
  readonly testsByBranch: Set<string>[]
}

/** One source file. */
export interface FileCoverage {
  readonly lines: Map<number, LineCoverage>
  readonly functions: Map<string, { readonly start: number; readonly end: number }>
}

/** What the tests of a run have reached. */
export class Coverage {
  readonly files = new Map<string, FileCoverage>()

  /** Adds what one test reached. */
  add(test: string, files: readonly GcovFile[]): void {
    for (const file of files) this.#addFile(test, file)
  }

  #addFile(test: string, { file: path, functions, lines }: GcovFile): void {
    const file = this.files.get(path) ?? { lines: new Map(), functions: new Map() }
    this.files.set(path, file)
    for (const { name, start_line, end_line } of functions)
      file.functions.set(name, { start: start_line, end: end_line })
    for (const { line_number, count, function_name = '', branches } of lines) {
      const line = file.lines.get(line_number) ?? {
        count: 0,
        functionName: function_name,
        branches: [],
        tests: new Set<string>(),
        testsByBranch: [],
      }
      file.lines.set(line_number, line)
      line.count += count
      if (count > 0) line.tests.add(test)
      branches
        .filter((branch) => !branch.throw)
        .forEach((branch, index) => {
          line.branches[index] = (line.branches[index] ?? 0) + branch.count
          const takers = line.testsByBranch[index] ?? new Set()
          line.testsByBranch[index] = takers
          if (branch.count > 0) takers.add(test)
        })
    }
  }
}
