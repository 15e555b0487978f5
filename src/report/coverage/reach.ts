// SPDX-License-Identifier: Apache-2.0
import { z } from 'zod'
import { groupBy } from '../values.js'
import type { Coverage, LineCoverage } from './model.js'
import { distances, sampleOfFunction } from './sample.js'

const reachSchema = z.object({
  /** `uname -r` of the kernel that counted. */
  release: z.string(),
  /** All that ran: `tests/kernel/mapping.test.ts > suite > title`. */
  tests: z.array(z.string()),
  /** By source file and function: the numbers of the tests in which it ran, as `0-3 7`. */
  functions: z.record(z.string(), z.record(z.string(), z.string())),
  /** Likewise a few of these tests, that take each way through the function. */
  samples: z.record(z.string(), z.record(z.string(), z.string())),
})

/** Which tests run which functions of the kernel, as `gmem coverage` found it on one. */
export interface Reach {
  readonly release: string
  /** The tests of which it is known. */
  readonly tests: ReadonlySet<string>
  /** The tests in which a function ran; null for a function that was not counted. */
  testsOf(file: string, functionName: string): ReadonlySet<string> | null
  /** Of these a few that take each way through the function, where there are any. */
  sampleOf(file: string, functionName: string): ReadonlySet<string>
  /** All functions that ran in a test. */
  functionsOf(test: string): ReadonlySet<string>
}

/**
 * The text of a reach file. `tests`: all that ran, also those that reach nothing; `isSlow`: of those that a usual run leaves out. Functions in
 * headers are left out.
 */
export function reachText(
  release: string,
  tests: readonly string[],
  coverage: Coverage,
  isSlow: (test: string) => boolean = () => false,
): string {
  const sorted = [...tests].sort()
  const numbers = new Map(sorted.map((test, number) => [test, number]))
  const functions: Record<string, Record<string, string>> = {}
  const samples: Record<string, Record<string, string>> = {}
  const distance = distances(coverage, isSlow)
  const rangesOfTests = (found: ReadonlySet<string>): string =>
    rangesOf(new Set([...found].map((test) => numbers.get(test) ?? -1)))
  for (const [path, file] of [...coverage.files].sort(([a], [b]) => (a < b ? -1 : 1))) {
    if (!path.endsWith('.c')) continue
    const names = [...file.functions.keys()].sort()
    const linesOf = groupBy([...file.lines.values()], ({ functionName }) => functionName)
    const perFunction = (find: (lines: readonly LineCoverage[]) => ReadonlySet<string>) =>
      Object.fromEntries(names.map((name) => [name, rangesOfTests(find(linesOf.get(name) ?? []))]))
    functions[path] = perFunction((lines) => new Set(lines.flatMap(({ tests }) => [...tests])))
    samples[path] = perFunction((lines) => sampleOfFunction(lines, distance))
  }
  return `${JSON.stringify({ release, tests: sorted, functions, samples }, null, 2)}\n`
}

/** Reads a reach file's text. Throws where it is none. */
export function parseReach(text: string): Reach {
  const { release, tests, functions, samples } = reachSchema.parse(JSON.parse(text))
  const named = (ranges: string): ReadonlySet<string> =>
    new Set(numbersOf(ranges).flatMap((number) => tests[number] ?? []))
  let byTest: ReadonlyMap<string, ReadonlySet<string>> | null = null
  return {
    release,
    tests: new Set(tests),
    testsOf(file, functionName) {
      const ranges = functions[file]?.[functionName]
      if (ranges === undefined) return null
      return named(ranges)
    },
    sampleOf: (file, functionName) => named(samples[file]?.[functionName] ?? ''),
    functionsOf(test) {
      byTest ??= functionsByTest(tests, functions)
      return byTest.get(test) ?? new Set()
    },
  }
}

function functionsByTest(
  tests: readonly string[],
  functions: Readonly<Record<string, Readonly<Record<string, string>>>>,
): ReadonlyMap<string, ReadonlySet<string>> {
  const found = tests.map((test) => [test, new Set<string>()] as const)
  for (const [file, ranges] of Object.entries(functions)) {
    for (const [name, numbers] of Object.entries(ranges))
      for (const number of numbersOf(numbers)) found[number]?.[1].add(`${file}:${name}`)
  }
  return new Map(found)
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
