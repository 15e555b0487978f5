// SPDX-License-Identifier: Apache-2.0
import type { TestContext } from 'vitest'
import { type GmemContext, TestScope } from './context.js'
import { hexifyError } from './hexify.js'
import { judgeKnownIssue, type KnownIssue, knownOn, type RawVerdict } from './known-issue.js'
import {
  recordError,
  reviveError,
  type TestInfo,
  type TestObserver,
  type TestResult,
  testObserver,
} from './lifecycle.js'
import './meta.js'
import { firstUnmet, type Need } from './needs.js'
import { probeTarget } from './probe-target.js'
import type { TargetInfo } from './target.js'
import { TestTimeoutError } from './timeouts.js'
import { startTrace, TRACE_LINES_MAX, takeTrace } from './trace.js'

const LAST_CALLS_SHOWN = 3

/** What the body runs under. */
export interface RunOptions {
  readonly needs?: readonly Need[]
  /** Scaled. */
  readonly timeoutMs: number
  readonly knownIssue?: KnownIssue
  /** Where the target's facts come from; default probeTarget. */
  readonly target?: () => TargetInfo
}

/** Runs a test's body between the harness's hooks, and throws what the test fails with. */
export async function runTest(
  vitest: TestContext,
  options: RunOptions,
  body: (context: GmemContext) => void | Promise<void>,
): Promise<void> {
  const observer = testObserver()
  const info = infoOf(vitest, options)
  const recorded = observer.replay?.(info) ?? null
  if (recorded !== null) return replay(vitest, recorded)
  await skipUnmet(vitest, options, observer)
  await observer.onTestStart?.(info)
  startTrace()
  const startedAt = performance.now()
  const failure = await bodyFailure(vitest, options, body)
  const complaint = (await observer.check?.(info, () => bodyFailure(vitest, options, body))) ?? null
  const end = (result: Omit<TestResult, 'durationMs'>) =>
    observer.onTestEnd?.(info, { ...result, durationMs: performance.now() - startedAt })
  if (isSkip(failure)) {
    await end({ status: 'skip', reason: failure.note ?? '' })
    throw failure
  }
  const error = verdict(vitest, options, { failure: hexifyError(failure), complaint })
  if (error !== null) keepTrace(vitest)
  // An assertion that failed is more than what the kernel said besides.
  if (error !== complaint) delete info.meta.failure
  const late = await end(error === null ? passed(vitest) : { status: 'fail', error: recordError(error) })
  if (late === null || late === undefined) {
    if (error !== null) throw error
    return
  }
  keepTrace(vitest)
  throw late
}

function passed({ task }: TestContext): Omit<TestResult, 'durationMs'> {
  const { knownIssue } = task.meta
  return knownIssue === undefined ? { status: 'pass' } : { status: 'pass', knownIssue }
}

function infoOf(vitest: TestContext, options: RunOptions): TestInfo {
  const { task } = vitest
  const names = [task.name]
  for (let suite = task.suite; suite !== undefined && suite.name !== ''; suite = suite.suite)
    names.unshift(suite.name)
  return {
    id: task.id,
    file: task.file.filepath,
    name: names.join(' > '),
    knownIssue: options.knownIssue?.id ?? null,
    timeoutMs: options.timeoutMs,
    meta: task.meta as Record<string, unknown>,
  }
}

function replay(vitest: TestContext, recorded: TestResult): void {
  // vitest measures the replay; what counts is how long the test took when it ran.
  Object.assign(vitest.task.meta, recorded.meta, { durationMs: recorded.durationMs })
  if (recorded.status === 'skip') vitest.skip(recorded.reason)
  if (recorded.knownIssue !== undefined) vitest.task.meta.knownIssue = recorded.knownIssue
  if (recorded.status === 'fail')
    throw reviveError(recorded.error ?? { name: 'Error', message: 'failed before' })
}

async function skipUnmet(vitest: TestContext, options: RunOptions, observer: TestObserver): Promise<void> {
  const reason = (await firstUnmet(options.needs ?? [], targetOf(options))) ?? undetectable(options, observer)
  if (reason === null) return
  // No annotation here: three round trips to the host for each of hundreds of tests. report/skip-reasons.ts makes them there.
  vitest.task.meta.skipReason = reason
  vitest.skip(reason)
}

function undetectable({ knownIssue }: RunOptions, observer: TestObserver): string | null {
  if (knownIssue?.shows !== 'splat' || observer.detectsSplats === true) return null
  return `needs splat detection: known issue ${knownIssue.id} shows in the kernel log only`
}

// What the body or its clean-up threw, null where neither did.
async function bodyFailure(
  vitest: TestContext,
  options: RunOptions,
  body: (context: GmemContext) => void | Promise<void>,
): Promise<unknown> {
  const scope = new TestScope(
    () => vitest.signal,
    (message, type) => void vitest.annotate(message, type),
  )
  let timer: NodeJS.Timeout | undefined
  const timeout = new Promise<never>((_, reject) => {
    timer = setTimeout(() => {
      const error = new TestTimeoutError(options.timeoutMs, keepTrace(vitest).slice(-LAST_CALLS_SHOWN))
      scope.abort(error)
      reject(error)
    }, options.timeoutMs)
  })
  let failure: unknown = null
  try {
    await Promise.race([Promise.resolve(scope).then(body), timeout])
  } catch (error) {
    failure = error ?? new Error(`the body threw ${error}`)
  } finally {
    clearTimeout(timer)
  }
  try {
    await scope.cleanUp()
  } catch (error) {
    failure ??= error
  }
  return failure
}

// Adds the calls since the last time to the trace that reporters see, and returns it.
function keepTrace(vitest: TestContext): readonly string[] {
  const { meta } = vitest.task
  meta.trace = [...(meta.trace ?? []), ...takeTrace()].slice(-TRACE_LINES_MAX)
  return meta.trace
}

function targetOf({ target = probeTarget }: RunOptions): TargetInfo {
  return target()
}

// What the test fails with, or null.
function verdict(vitest: TestContext, options: RunOptions, raw: RawVerdict): unknown {
  const { knownIssue } = options
  const { release } = targetOf(options)
  if (knownIssue === undefined || !knownOn(knownIssue, release)) return raw.failure ?? raw.complaint
  try {
    vitest.task.meta.knownIssue = judgeKnownIssue(knownIssue, release, raw)
    return null
  } catch (error) {
    return error
  }
}

// vitest's ctx.skip() throws a PendingError, which has to reach vitest.
function isSkip(error: unknown): error is Error & { readonly note?: string } {
  return error instanceof Error && 'code' in error && error.code === 'VITEST_PENDING'
}
