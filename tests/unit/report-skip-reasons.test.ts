// SPDX-License-Identifier: Apache-2.0
import { expect, test } from 'vitest'
import type { TestCase, Vitest } from 'vitest/node'
import { SkipReasons, skipReasons } from '../../src/report/skip-reasons.js'

interface Task {
  readonly type: 'test'
  readonly annotations: { readonly type: string; readonly message: string }[]
}

/** As much of vitest as keeps one test. */
function vitestWith(task: Task) {
  return { state: { idMap: new Map([['t1', task]]) }, config: { reporters: ['junit'] } } as unknown as Vitest
}

const ended = (meta: object) => ({ id: 't1', meta: () => meta }) as unknown as TestCase

test('why a test was skipped becomes an annotation, which JUnit and TAP show', () => {
  const task: Task = { type: 'test', annotations: [] }

  new SkipReasons(vitestWith(task)).onTestCaseResult(ended({ skipReason: 'needs luck: none left' }))

  expect(task.annotations).toEqual([{ type: 'skip-reason', message: 'needs luck: none left' }])
})

test('a test that ran gets none', () => {
  const task: Task = { type: 'test', annotations: [] }

  new SkipReasons(vitestWith(task)).onTestCaseResult(ended({}))

  expect(task.annotations).toEqual([])
})

test('however many projects have the plugin, the reporter is there once, and first', () => {
  const vitest = vitestWith({ type: 'test', annotations: [] })

  skipReasons.configureVitest({ vitest })
  skipReasons.configureVitest({ vitest })

  expect(vitest.config.reporters).toEqual([expect.any(SkipReasons), 'junit'])
})
