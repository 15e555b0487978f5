// SPDX-License-Identifier: Apache-2.0
import { z } from 'zod'
import type { Coverage } from './model.js'

const reachSchema = z.object({
  /** `uname -r` of the kernel that counted. */
  release: z.string(),
  /** All that ran: `tests/kernel/mapping.test.ts > suite > title`. */
  tests: z.array(z.string()),
  /** By source file and function: the numbers of the tests in which it ran, as `0-3 7`. */
  functions: z.record(z.string(), z.record(z.string(), z.string())),
})

/** Which tests run which functions of the kernel, as `gmem coverage` found it on one. */
export interface Reach {
  readonly release: string
  /** The tests of which it is known. */
  readonly tests: ReadonlySet<string>
  /** The tests in which a function ran; null for a function that was not counted. */
  testsOf(file: string, functionName: string): ReadonlySet<string> | null
}

/** The text of a reach file. `tests`: all that ran, also those that reach nothing. Functions in headers are left out. */
export function reachText(release: string, tests: readonly string[], coverage: Coverage): string {
  const sorted = [...tests].sort()
  const numbers = new Map(sorted.map((test, number) => [test, number]))
  const functions: Record<string, Record<string, string>> = {}
  for (const [path, file] of [...coverage.files].sort(([a], [b]) => (a < b ? -1 : 1))) {
    if (!path.endsWith('.c')) continue
    const reached = new Map([...file.functions.keys()].sort().map((name) => [name, new Set<number>()]))
    for (const line of file.lines.values())
      for (const test of line.tests) reached.get(line.functionName)?.add(numbers.get(test) ?? -1)
    functions[path] = Object.fromEntries([...reached].map(([name, found]) => [name, rangesOf(found)]))
  }
  return `${JSON.stringify({ release, tests: sorted, functions }, null, 2)}\n`
}

/** Reads a reach file's text. Throws where it is none. */
export function parseReach(text: string): Reach {
  const { release, tests, functions } = reachSchema.parse(JSON.parse(text))
  return {
    release,
    tests: new Set(tests),
    testsOf(file, functionName) {
      const ranges = functions[file]?.[functionName]
      if (ranges === undefined) return null
      return new Set(numbersOf(ranges).flatMap((number) => tests[number] ?? []))
    },
  }
}

function rangesOf(numbers: ReadonlySet<number>): string {
  const ranges: [number, number][] = []
  for (const number of [...numbers].sort((a, b) => a - b)) {
    const last = ranges.at(-1)
    if (last !== undefined && last[1] === number - 1) last[1] = number
    else ranges.push([number, number])
  }
  return ranges.map(([from, to]) => (from === to ? `${from}` : `${from}-${to}`)).join(' ')
}

function numbersOf(ranges: string): number[] {
  return ranges.split(' ').flatMap((range) => {
    const [from, to = from] = range.split('-').map(Number)
    if (range === '' || from === undefined || to === undefined) return []
    return Array.from({ length: to - from + 1 }, (_, index) => from + index)
  })
}
