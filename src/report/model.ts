// SPDX-License-Identifier: Apache-2.0
import type { SerializedError, TestCase, TestModule, TestSuite } from 'vitest/node'
import type { KnownIssueReport } from '../testing/known-issue.js'
import { projectPath, readableMessage, reportedError } from './reported-error.js'
import type { FailureKind, ReportedError, ReportedSplat, TestResult } from './schema.js'

/** What the tests and the pool leave in task.meta; every field is plain data that travelled through two channels. */
interface TestMeta {
  skipReason?: string
  knownIssue?: KnownIssueReport
  trace?: string[]
  splats?: ReportedSplat[]
  flaky?: boolean
  failure?: FailureKind
  /** Of a test whose result was replayed in another VM, in ms. */
  durationMs?: number
}

/** Which tests of a file belong to the result: with -t, vitest reports the others as skipped, which they are not. */
export type TestFilter = RegExp | undefined

const WHOLE_FILE = '(the whole file)'
const NOT_RUN: ReportedError = {
  name: 'NotRun',
  message: 'no result came: the worker of its file died, before this test or during it',
}
const VITEST_CANCELLED = 'The test run was aborted by the user.'
const CUT_SHORT = 'the run was stopped before this test had a result'

/** How to read vitest's entities. `cutShort`: the run was stopped, so that a test without a result is no failure. */
export interface Reading {
  /** Project root, absolute. */
  readonly root: string
  readonly filter: TestFilter
  readonly cutShort: boolean
}

/** All tests of a file, and an entry for each thing that kept a test from running. */
export function moduleResults(module: TestModule, reading: Reading): TestResult[] {
  const results: TestResult[] = []
  for (const test of module.children.allTests()) {
    if (isSelected(test, reading.filter)) results.push(testResult(test, reading))
  }
  for (const suite of module.children.allSuites())
    results.push(...hookFailures(suite, suite.fullName, reading))
  results.push(...hookFailures(module, WHOLE_FILE, reading))
  const isLoaded = module.children.size > 0 || module.errors().length > 0 || module.state() === 'passed'
  if (!isLoaded) results.push(unstartedFile(projectPath(module.moduleId, reading.root), reading.cutShort))
  return results
}

/** One test as it ended. A test that never ran is a failure: nothing is dropped. */
export function testResult(test: TestCase, reading: Reading): TestResult {
  const { root } = reading
  const outcome = test.result()
  const meta = test.meta() as TestMeta
  const diagnostic = test.diagnostic()
  const base = {
    file: projectPath(test.module.moduleId, root),
    name: test.fullName,
    durationMs: roundMs(meta.durationMs ?? diagnostic?.duration ?? 0),
    ...(test.location && { line: test.location.line }),
    ...(meta.splats?.length && { splats: meta.splats.map(reportedSplat) }),
    ...(meta.knownIssue && { knownIssue: reportedIssue(meta.knownIssue) }),
  }
  const hookError = blockingError(test)
  if (hookError && isWithoutResult(test, meta)) {
    const error = reportedError(hookError, test.module, root)
    return {
      ...base,
      status: 'failed',
      failure: 'not-run',
      error: { ...error, message: `did not run: ${error.message}` },
    }
  }
  if (outcome.state === 'skipped')
    return { ...base, status: 'skipped', reason: skipReason(test, meta, outcome.note) }
  if (outcome.state === 'pending') {
    if (reading.cutShort) return { ...base, status: 'skipped', reason: CUT_SHORT }
    return { ...base, status: 'failed', failure: 'not-run', error: NOT_RUN }
  }
  const errors = reportedErrors(outcome.errors ?? [], test.module, root, meta.trace)
  const flaky =
    meta.flaky ||
    diagnostic?.flaky ||
    outcome.errors?.some(({ name }) => name === 'FlakyDeath' || name === 'FlakyFailure') === true
  if (outcome.state === 'failed') {
    const failure = failureKind(meta, outcome.errors)
    return { ...base, status: 'failed', failure, ...errors, ...(flaky && { flaky }) }
  }
  return { ...base, status: meta.knownIssue ? 'known-issue' : 'passed', ...(flaky && { flaky, ...errors }) }
}

/** The entry for a file of which nothing ran. */
export function unstartedFile(file: string, cutShort: boolean): TestResult {
  const base = { file, name: WHOLE_FILE, durationMs: 0 }
  if (cutShort) return { ...base, status: 'skipped', reason: CUT_SHORT }
  const message = 'no test of this file ran: its worker or its VM did not start, or vanished'
  return { ...base, status: 'failed', failure: 'not-run', error: { name: 'NotRun', message } }
}

function reportedErrors(
  errors: readonly SerializedError[],
  module: TestModule,
  root: string,
  trace: string[] | undefined,
): { error?: ReportedError; otherErrors?: ReportedError[] } {
  const [first, ...others] = errors.map((error) => reportedError(error, module, root))
  if (!first) return {}
  const traced = trace?.length ? { ...first, trace: [...trace] } : first
  return { error: traced, ...(others.length > 0 && { otherErrors: others }) }
}

/** Only what the schema promises: the detector knows more about a report. */
function reportedSplat({
  kind,
  title,
  text,
  fingerprint,
  fileLine,
  function: name,
  count,
  allowed,
}: ReportedSplat): ReportedSplat {
  return {
    kind,
    title,
    text,
    ...(fingerprint && { fingerprint }),
    ...(fileLine && { fileLine }),
    ...(name && { function: name }),
    ...(count && { count }),
    ...(allowed && { allowed }),
  }
}

function reportedIssue(issue: KnownIssueReport): NonNullable<TestResult['knownIssue']> {
  const { id, symptom, expected, kernels, seen } = issue
  return { id, symptom, expected, seen: readableMessage(seen), ...(kernels && { kernels: [...kernels] }) }
}

function isSelected(test: TestCase, filter: TestFilter): boolean {
  return !filter || filter.test(test.fullName.replaceAll(' > ', ' ')) || filter.test(test.fullName)
}

function skipReason(test: TestCase, meta: TestMeta, note: string | undefined): string {
  if (meta.skipReason) return meta.skipReason
  if (note === VITEST_CANCELLED) return CUT_SHORT
  if (note) return note
  if (test.options.mode === 'todo') return 'to do: the test is not written yet'
  return 'skipped in the source (test.skip, or test.only on another one) without a reason'
}

/** By the classes of the errors: the pool and src/testing name them so that this can be told. */
function failureKind(meta: TestMeta, errors: readonly SerializedError[]): FailureKind {
  if (meta.failure) return meta.failure
  const names = errors.map((error) => error.name ?? '')
  if (names.some((name) => name === 'GuestDied' || name === 'FlakyDeath')) return 'death'
  if (names.includes('GuestHang')) return 'hang'
  if (names.includes('TestTimeoutError')) return 'timeout'
  if (errors.some((error) => /^(Test|Hook) timed out in \d+ ?ms/.test(error.message))) return 'timeout'
  if (names.length > 0 && names.every((name) => /Splat/.test(name))) return 'splat'
  if (names.length > 0 && names.every((name) => /Splat|Leak/.test(name))) return 'leak'
  return 'assertion'
}

/** The error of the nearest suite or file around a test: a beforeAll hook that threw, for example. */
function blockingError(test: TestCase): SerializedError | undefined {
  let parent: TestSuite | TestModule = test.parent
  for (;;) {
    const [cause] = parent.errors()
    if (cause || parent.type === 'module') return cause
    parent = parent.parent
  }
}

/** vitest reports what a failed hook kept from running as skipped, or leaves it pending; a skip of its own has a reason. */
function isWithoutResult(test: TestCase, meta: TestMeta): boolean {
  const outcome = test.result()
  if (outcome.state === 'pending') return true
  return outcome.state === 'skipped' && test.options.mode === 'run' && !meta.skipReason && !outcome.note
}

/** An entry for a file that could not be loaded, or a hook that failed where no test can be blamed. */
function hookFailures(entity: TestSuite | TestModule, name: string, { root }: Reading): TestResult[] {
  const module = entity.type === 'module' ? entity : entity.module
  const errors = entity.errors()
  const blamed = [...entity.children.allTests()].some((test) =>
    isWithoutResult(test, test.meta() as TestMeta),
  )
  if (errors.length === 0 || blamed) return []
  return [
    {
      file: projectPath(module.moduleId, root),
      name,
      status: 'failed',
      failure: failureKind({}, errors) === 'assertion' ? 'not-run' : failureKind({}, errors),
      durationMs: 0,
      ...reportedErrors(errors, module, root, undefined),
    },
  ]
}

function roundMs(ms: number): number {
  return Math.round(ms * 1000) / 1000
}
