// SPDX-License-Identifier: Apache-2.0
import { basename } from 'node:path'
import type { ReportedError, RunResult, TargetResult, TestResult } from './schema.js'
import { groupBy } from './values.js'

/**
 * A run as KTAP version 1 (Documentation/dev-tools/ktap.rst): target > file > test. Every level has its plan first, so it can
 * only be written when the level is complete.
 */
export function ktap(run: RunResult): string {
  const targets = run.targets.map((target) => targetNode(target))
  const outside = run.errors.map(({ kind, error }): Node => {
    return {
      name: `gmem ${kind}`,
      ok: false,
      directive: `ERROR ${oneLine(error.message)}`,
      log: errorLog(error),
    }
  })
  return `${block([...targets, ...outside], '').join('\n')}\n`
}

interface Node {
  readonly name: string
  readonly ok: boolean
  readonly directive?: string
  /** Diagnostic lines, printed before the result line. */
  readonly log?: readonly string[]
  readonly children?: readonly Node[]
}

function block(nodes: readonly Node[], indent: string, subtest?: string): string[] {
  return [
    `${indent}KTAP version 1`,
    ...(subtest === undefined ? [] : [`${indent}# Subtest: ${subtest}`]),
    `${indent}1..${nodes.length}`,
    ...nodes.flatMap((node, index) => nodeLines(node, index + 1, indent)),
  ]
}

function nodeLines(node: Node, number: number, indent: string): string[] {
  const name = ktapName(node.name)
  const children = node.children ? block(node.children, `${indent}  `, name) : []
  const log = (node.log ?? []).map((line) => `${indent}# ${line}`.trimEnd())
  const directive = node.directive ? ` # ${node.directive}` : ''
  return [...children, ...log, `${indent}${node.ok ? 'ok' : 'not ok'} ${number} ${name}${directive}`]
}

function targetNode(target: TargetResult): Node {
  const files = groupBy(target.tests, (test) => test.file)
  const children = [...files].map(([file, tests]) => fileNode(file, tests))
  const log = [
    `kernel: ${target.release}`,
    `accelerator: ${target.accel} (${oneLine(target.accelWhy)})`,
    ...target.deaths.map((death) => `guest kernel died: ${oneLine(death.message)}`),
  ]
  if (children.length === 0) return { name: target.id, ok: true, directive: 'SKIP no test was selected', log }
  return { name: target.id, ok: children.every((child) => child.ok), log, children }
}

function fileNode(file: string, tests: readonly TestResult[]): Node {
  const children = tests.map(testNode)
  return { name: basename(file), ok: children.every((child) => child.ok), children }
}

function testNode(test: TestResult): Node {
  const { name } = test
  switch (test.status) {
    case 'passed':
      return {
        name,
        ok: true,
        ...(test.flaky && { log: ['flaky: it failed at first', ...errorLog(test.error)] }),
      }
    case 'known-issue':
      return {
        name,
        ok: true,
        directive: `XFAIL ${oneLine(`${test.knownIssue?.id}: ${test.knownIssue?.symptom}`)}`,
      }
    case 'skipped':
      return { name, ok: true, directive: `SKIP ${oneLine(test.reason ?? '')}` }
    case 'failed':
      return { name, ok: false, ...failureDirective(test), log: failureLog(test) }
  }
}

function failureDirective(test: TestResult): { directive?: string } {
  const message = oneLine(test.error?.message ?? '')
  if (test.failure === 'timeout' || test.failure === 'hang') return { directive: `TIMEOUT ${message}` }
  if (test.failure === 'death' || test.failure === 'not-run') return { directive: `ERROR ${message}` }
  return {}
}

function failureLog(test: TestResult): string[] {
  const splats = (test.splats ?? []).flatMap((splat) => splat.text.split('\n'))
  return [...errorLog(test.error), ...(test.otherErrors ?? []).flatMap(errorLog), ...splats].map(harmless)
}

function errorLog(error: ReportedError | undefined): string[] {
  if (!error) return []
  const at = error.at ? [`at ${error.at.file}:${error.at.line}:${error.at.column}`] : []
  return [...error.message.split('\n'), ...(error.diff?.split('\n') ?? []), ...at].map(harmless)
}

/** KTAP forbids '#' in a name, parsers take a leading '- ' as a separator, and two spaces are one to a person. */
function ktapName(name: string): string {
  const clean = oneLine(name)
    .replaceAll('#', '')
    .replace(/^[-\s]+/, '')
    .replace(/\s+/g, ' ')
    .trim()
  return clean === '' ? 'unnamed' : clean
}

function oneLine(text: string): string {
  return (text.split('\n', 1)[0] ?? '').replace(/\s+/g, ' ').trim()
}

/** A line of a log that would read as a subtest header once `# ` stands before it. */
function harmless(line: string): string {
  return line.replaceAll('\r', '').replace(/^(\s*)Subtest:/, '$1Subtest ')
}
