// SPDX-License-Identifier: Apache-2.0
import type { ReportedError, RunResult, TargetResult, TestResult } from './schema.js'
import { escapeMarkup, groupBy, stripAnsi } from './values.js'

/**
 * A run as JUnit XML: a testsuite for each file on each target, so that the same test on two kernels is two test cases. Written
 * here and not by vitest's reporter, which drops the reasons of skipped tests and knows no targets.
 */
export function junit(run: RunResult): string {
  const suites = run.targets.flatMap((target) => targetSuites(target, run.startedAt))
  const errors = run.errors.map(({ kind, error }) => outsideSuite(kind, error))
  const totals = { tests: run.passed + run.failed + run.skipped, failures: run.failed, skipped: run.skipped }
  const root = { name: 'gmem', ...totals, errors: run.errors.length, time: xmlSeconds(run.durationMs) }
  return [
    '<?xml version="1.0" encoding="UTF-8"?>',
    ...element('testsuites', root, [...suites.flat(), ...errors.flat()]),
    '',
  ].join('\n')
}

type Attributes = Readonly<Record<string, string | number | undefined>>

function targetSuites(target: TargetResult, timestamp: string): string[][] {
  return [...groupBy(target.tests, (test) => test.file)].map(([file, tests]) => {
    const properties = element('properties', {}, [
      ...element('property', { name: 'kernel', value: target.release }),
      ...element('property', { name: 'accelerator', value: `${target.accel}: ${target.accelWhy}` }),
    ])
    return element(
      'testsuite',
      {
        name: `${target.id}: ${file}`,
        timestamp,
        hostname: target.release,
        tests: tests.length,
        failures: tests.filter((test) => test.status === 'failed').length,
        errors: 0,
        skipped: tests.filter((test) => test.status === 'skipped').length,
        time: xmlSeconds(tests.reduce((total, test) => total + test.durationMs, 0)),
      },
      [...properties, ...tests.flatMap((test) => testCase(target, test))],
    )
  })
}

function testCase(target: TargetResult, test: TestResult): string[] {
  const attributes = {
    classname: `${target.id}.${test.file}`,
    name: test.name,
    file: test.file,
    line: test.error?.at?.line ?? test.line,
    time: xmlSeconds(test.durationMs),
  }
  return element('testcase', attributes, [
    ...(test.knownIssue
      ? element(
          'properties',
          {},
          element('property', {
            name: 'known-issue',
            value: `${test.knownIssue.id}: ${test.knownIssue.symptom}`,
          }),
        )
      : []),
    ...(test.status === 'skipped' ? element('skipped', { message: test.reason }) : []),
    ...(test.status === 'failed' ? failure(test) : []),
    ...(test.flaky && test.status === 'passed'
      ? element('system-out', {}, [xmlText(`flaky: ${errorText(test.error)}`)])
      : []),
  ])
}

function failure(test: TestResult): string[] {
  const errors = [test.error, ...(test.otherErrors ?? [])].map(errorText)
  const splats = (test.splats ?? []).map((splat) => splat.text)
  const attributes = { type: test.failure, message: test.error?.message.split('\n', 1)[0] }
  return element('failure', attributes, [xmlText([...errors, ...splats].join('\n\n'))])
}

function outsideSuite(kind: string, error: ReportedError): string[] {
  const problem = element('error', { type: kind, message: error.message.split('\n', 1)[0] }, [
    xmlText(errorText(error)),
  ])
  const attributes = { name: `gmem: ${kind}`, tests: 1, failures: 0, errors: 1, skipped: 0 }
  return element('testsuite', attributes, element('testcase', { classname: 'gmem', name: kind }, problem))
}

function errorText(error: ReportedError | undefined): string {
  if (!error) return ''
  return [`${error.name}: ${error.message}`, error.diff, error.stack].filter(Boolean).join('\n')
}

function element(name: string, attributes: Attributes, children: readonly string[] = []): string[] {
  const pairs = Object.entries(attributes).filter(([, value]) => value !== undefined)
  const open = `<${[name, ...pairs.map(([key, value]) => `${key}="${xmlText(String(value))}"`)].join(' ')}`
  if (children.length === 0) return [`${open}/>`]
  return [
    `${open}>`,
    ...children.map((line) => (line.startsWith('<') || line.startsWith(' ') ? `  ${line}` : line)),
    `</${name}>`,
  ]
}

/** XML 1.0 has no way to write most control characters, not even escaped. */
function xmlText(text: string): string {
  return (
    escapeMarkup(stripAnsi(text))
      .replaceAll('"', '&quot;')
      // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is removed.
      .replace(/[\u0000-\u0008\u000b\u000c\u000e-\u001f\ufffe\uffff]/g, '')
  )
}

function xmlSeconds(ms: number): string {
  return (ms / 1000).toFixed(3)
}
