// SPDX-License-Identifier: Apache-2.0
import type { Coverage, LineCoverage } from './model.js'

/** So many of the tests chosen take each way, where so many do: which of them sees that it is broken is not known. */
const TIMES = 5

/** More lines than any test reaches. */
const LAST = 1e6

/** How far each test is from what it is about: how many lines of the kernel it reaches. `isSlow`: of tests that a usual run leaves out. */
export function distances(
  { files }: Coverage,
  isSlow: (test: string) => boolean,
): ReadonlyMap<string, number> {
  const counts = new Map<string, number>()
  for (const { lines } of files.values())
    for (const { tests } of lines.values())
      for (const test of tests) counts.set(test, (counts.get(test) ?? (isSlow(test) ? LAST : 0)) + 1)
  return counts
}

/**
 * Tests that together run each line of a function, and take each way out of each line, five times or as often as there are tests for it.
 * The nearest come first: they are quick, and what they find is what they are about.
 */
export function sampleOfFunction(
  lines: readonly LineCoverage[],
  distance: ReadonlyMap<string, number>,
): ReadonlySet<string> {
  const ways = lines.flatMap(({ tests, testsByBranch }) => [tests, ...testsByBranch])
  const chosen = new Set<string>()
  // What few tests do first: they take the common ways, too.
  for (const way of ways.sort((a, b) => a.size - b.size)) {
    const missing = TIMES - [...chosen].filter((test) => way.has(test)).length
    if (missing <= 0) continue
    const more = [...way].filter((test) => !chosen.has(test))
    more.sort((a, b) => (distance.get(a) ?? 0) - (distance.get(b) ?? 0) || (a < b ? -1 : 1))
    for (const test of more.slice(0, missing)) chosen.add(test)
  }
  return chosen
}
