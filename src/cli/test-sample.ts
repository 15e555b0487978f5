// SPDX-License-Identifier: Apache-2.0
import type { Reach } from '../report/coverage/reach.js'
import type { TestResult } from '../report/schema.js'
import { testKey } from '../report/test-counts.js'

/** What a test file costs beside its tests, in ms: loading it in an emulated guest. */
const FILE_MS = 300

interface Candidate {
  readonly test: TestResult
  readonly runs: readonly string[]
}

/**
 * Of tests that run functions that changed, some for a start: those that take each way through these functions, and more, so that together
 * they run every function that all of them run.
 */
export function sampleOf(
  tests: readonly TestResult[],
  reach: Reach,
  changed: ReadonlyMap<string, readonly string[]>,
): TestResult[] {
  const near = new Set(
    [...changed].flatMap(([file, names]) => names.flatMap((name) => [...reach.sampleOf(file, name)])),
  )
  const sample = tests.filter((test) => near.has(testKey(test)))
  return [...sample, ...coverOf(tests, sample, reach)]
}

/** Tests that run what is run by `tests` and not by `covered`: the most functions per time first. */
function coverOf(tests: readonly TestResult[], covered: readonly TestResult[], reach: Reach): TestResult[] {
  const candidates = new Set<Candidate>(
    tests.map((test) => ({ test, runs: [...reach.functionsOf(testKey(test))] })),
  )
  const wanted = new Set([...candidates].flatMap(({ runs }) => runs))
  for (const test of covered) for (const name of reach.functionsOf(testKey(test))) wanted.delete(name)
  const files = new Set(covered.map(({ file }) => file))
  const chosen: TestResult[] = []
  for (;;) {
    let best: { candidate: Candidate; worth: number } | null = null
    for (const candidate of candidates) {
      const { test, runs } = candidate
      const gain = runs.filter((name) => wanted.has(name)).length
      const worth = gain / (test.durationMs + (files.has(test.file) ? 0 : FILE_MS) + 1)
      if (gain > 0 && worth > (best?.worth ?? 0)) best = { candidate, worth }
    }
    if (best === null) return chosen
    const { test, runs } = best.candidate
    candidates.delete(best.candidate)
    files.add(test.file)
    chosen.push(test)
    for (const name of runs) wanted.delete(name)
  }
}
