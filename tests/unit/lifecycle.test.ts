// SPDX-License-Identifier: Apache-2.0
import { afterEach, describe, expect, it, type TestContext } from 'vitest'
import {
  setTestObserver,
  type TestInfo,
  type TestObserver,
  type TestResult,
} from '../../src/testing/lifecycle.js'
import { type RunOptions, runTest } from '../../src/testing/run-test.js'
import type { TargetInfo } from '../../src/testing/target.js'

const target: TargetInfo = {
  schema: 1,
  release: '7.3.4',
  version: '',
  arch: 'x86_64',
  cpuVendor: '',
  kvmError: '',
  apiVersion: 12,
  capabilities: {},
  vmTypes: [],
  ioctls: {},
  tdp: false,
  thp: false,
  hugetlbFree: 0,
  numaNodes: 1,
}
const issue = { id: 'F3', symptom: 'seen', expected: 'wanted' }
const failing = () => expect(1n).toBe(2n)

class Skipped extends Error {
  readonly code = 'VITEST_PENDING'
  constructor(readonly note?: string) {
    super('skipped')
  }
}

/** The part of vitest's context that runTest uses. */
function testContext() {
  const annotations: string[] = []
  const meta: Record<string, unknown> = {}
  const suite = { name: 'outer', suite: undefined }
  const skip = (note?: string) => {
    throw new Skipped(note)
  }
  const task = { id: '-1_2', name: 'title', file: { filepath: '/t/a.test.ts' }, suite, meta }
  const annotate = async (message: string, type: string) => void annotations.push(`${type}: ${message}`)
  const context = { task, signal: new AbortController().signal, skip, annotate } as unknown as TestContext
  return { context, meta, annotations }
}

function run(body: Parameters<typeof runTest>[2], options: Partial<RunOptions> = {}, vitest = testContext()) {
  return runTest(vitest.context, { timeoutMs: 1000, target: () => target, ...options }, body)
}

/** Installs hooks that note what they are told. */
function observe(hooks: Partial<TestObserver> = {}) {
  const seen: { info: TestInfo; result: TestResult }[] = []
  setTestObserver({
    onTestEnd: (info, result) => {
      seen.push({ info, result })
      return null
    },
    ...hooks,
  })
  return seen
}

afterEach(() => setTestObserver(null))

describe('the hooks around a test', () => {
  it('run in order, and the body waits for the first', async () => {
    const order: string[] = []
    observe({
      onTestStart: async () => {
        await new Promise((resolve) => setTimeout(resolve, 5))
        order.push('start')
      },
      check: () => void order.push('check'),
      onTestEnd: () => void order.push('end'),
    })

    await run(({ defer }) => {
      defer(() => void order.push('first deferred'))
      defer(() => void order.push('last deferred'))
      order.push('body')
    })

    expect(order).toEqual(['start', 'body', 'last deferred', 'first deferred', 'check', 'end'])
  })

  it('get the full name, file and limit, and a passed result', async () => {
    const seen = observe()

    await run(() => {}, { timeoutMs: 777 })

    expect(seen).toMatchObject([
      {
        info: { id: '-1_2', file: '/t/a.test.ts', name: 'outer > title', knownIssue: null, timeoutMs: 777 },
        result: { status: 'pass' },
      },
    ])
  })

  it('get the error of a failed one, with bigints in hexadecimal', async () => {
    const seen = observe()

    await expect(run(failing)).rejects.toThrow('expected 0x1 to be 0x2')

    expect(seen[0]?.result).toMatchObject({
      status: 'fail',
      error: { message: expect.stringContaining('0x1 to be 0x2') },
    })
  })

  it('can fail a test that passed', async () => {
    const seen = observe({ check: () => new Error('WARNING: splat') })

    await expect(run(() => {})).rejects.toThrow('WARNING: splat')

    expect(seen[0]?.result.status).toBe('fail')
  })

  it('can fail a test after its verdict', async () => {
    observe({ onTestEnd: () => new Error('a page leaked') })

    await expect(run(() => {})).rejects.toThrow('a page leaked')
  })
})

describe('a recorded result', () => {
  const never = () => {
    throw new Error('the body ran')
  }

  it('of a pass is reported without running the body', async () => {
    observe({ replay: () => ({ status: 'pass', durationMs: 3 }) })

    await run(never)
  })

  it('of a failure fails with the recorded error', async () => {
    const error = { name: 'AssertionError', message: 'as before', stack: 'AssertionError: as before\n at x' }
    observe({ replay: () => ({ status: 'fail', durationMs: 3, error }) })

    await expect(run(never)).rejects.toMatchObject(error)
  })

  it('of a skip skips for the same reason', async () => {
    observe({ replay: () => ({ status: 'skip', durationMs: 0, reason: 'no TDP' }) })

    await expect(run(never)).rejects.toMatchObject({ code: 'VITEST_PENDING', note: 'no TDP' })
  })

  it('of a known issue keeps its report', async () => {
    const vitest = testContext()
    const knownIssue = { ...issue, seen: 'as before' }
    observe({ replay: () => ({ status: 'pass', durationMs: 3, knownIssue }) })

    await run(never, {}, vitest)

    expect(vitest.meta.knownIssue).toEqual(knownIssue)
  })
})

describe('a test with an unmet need', () => {
  it('is skipped, with the reason, before any hook and without a word to the host', async () => {
    const vitest = testContext()
    const seen = observe()
    const needs = [{ name: 'luck', unmet: () => 'none left' }]

    await expect(run(() => {}, { needs }, vitest)).rejects.toMatchObject({ note: 'needs luck: none left' })

    expect(vitest.meta.skipReason).toBe('needs luck: none left')
    expect(vitest.annotations).toEqual([])
    expect(seen).toEqual([])
  })
})

describe('a known issue', () => {
  it('passes where it shows, and is reported', async () => {
    const vitest = testContext()
    const seen = observe()

    await run(failing, { knownIssue: issue }, vitest)

    expect(vitest.meta.knownIssue).toMatchObject({ id: 'F3', seen: expect.stringContaining('0x1 to be 0x2') })
    expect(seen[0]?.result).toMatchObject({ status: 'pass', knownIssue: { id: 'F3' } })
  })

  it('turns red where it does not', async () => {
    await expect(run(() => {}, { knownIssue: issue })).rejects.toThrow(/F3 did not show on 7\.3\.4/)
  })

  it('is an ordinary test on other releases', async () => {
    const knownIssue = { ...issue, kernels: ['7.2'] }

    await run(() => {}, { knownIssue })
    await expect(run(failing, { knownIssue })).rejects.toThrow('expected 0x1 to be 0x2')
  })

  it('that shows as a splat is skipped where nobody looks for splats', async () => {
    const knownIssue = { ...issue, shows: 'splat' as const }

    await expect(run(() => {}, { knownIssue })).rejects.toMatchObject({
      note: expect.stringMatching(/splat detection/),
    })
  })

  it('that shows as a splat passes with one', async () => {
    const seen = observe({ detectsSplats: true, check: () => new Error('WARNING') })

    await run(() => {}, { knownIssue: { ...issue, shows: 'splat' } })

    expect(seen[0]?.result.status).toBe('pass')
  })
})

describe('the time limit', () => {
  it('ends a test that hangs, aborts its signal and still cleans up', async () => {
    const done: string[] = []

    const hanging = run(
      async ({ signal, defer }) => {
        defer(() => void done.push('cleaned up'))
        signal.addEventListener('abort', () => done.push('aborted'))
        await new Promise(() => {})
      },
      { timeoutMs: 20 },
    )

    await expect(hanging).rejects.toThrow('the test did not finish within 20 ms')
    expect(done).toEqual(['aborted', 'cleaned up'])
  })
})

describe('clean-up', () => {
  it('that fails fails the test', async () => {
    const body = ({ defer }: { defer: (step: () => void) => void }) =>
      defer(() => {
        throw new Error('could not restore')
      })

    await expect(run(body)).rejects.toThrow('could not restore')
  })

  it('that fails does not hide what the body failed with', async () => {
    const body = ({ defer }: { defer: (step: () => void) => void }) => {
      defer(() => {
        throw new Error('could not restore')
      })
      failing()
    }

    await expect(run(body)).rejects.toThrow('expected 0x1 to be 0x2')
  })

  it('runs for a body that skips, which stays a skip', async () => {
    const vitest = testContext()
    const seen = observe()

    await expect(run(() => vitest.context.skip('not here'), {}, vitest)).rejects.toMatchObject({
      note: 'not here',
    })

    expect(seen[0]?.result).toMatchObject({ status: 'skip', reason: 'not here' })
  })
})
