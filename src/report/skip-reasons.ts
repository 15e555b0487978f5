// SPDX-License-Identifier: Apache-2.0
import type { Reporter, TestCase, Vitest } from 'vitest/node'

/**
 * Makes an annotation of why a test was skipped: vitest's JUnit and TAP reporters show those, and read no meta. Here and not in the test,
 * where it is three round trips to the host for each of hundreds of tests.
 */
export class SkipReasons implements Reporter {
  constructor(readonly vitest: Vitest) {}

  onTestCaseResult(test: TestCase): void {
    const { skipReason } = test.meta()
    const task = this.vitest.state.idMap.get(test.id)
    if (skipReason === undefined || task?.type !== 'test') return
    task.annotations.push({ type: 'skip-reason', message: skipReason })
  }
}

/** A vite plugin for projects that adds it, once, to whatever reporters were asked for. */
export const skipReasons = {
  name: 'gmem:skip-reasons',
  configureVitest({ vitest }: { readonly vitest: Vitest }): void {
    const reporters: unknown[] = vitest.config.reporters
    // Before the others, which read what it leaves.
    if (!reporters.some((reporter) => reporter instanceof SkipReasons))
      reporters.unshift(new SkipReasons(vitest))
  },
}
