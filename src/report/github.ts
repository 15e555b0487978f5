// SPDX-License-Identifier: Apache-2.0
import { appendFile } from 'node:fs/promises'
import type { RunResult, TargetResult, TestResult } from './schema.js'
import { groupSkips } from './summary.js'
import { escapeMarkup, plural, seconds } from './values.js'

/** GitHub shows ten annotations of a kind for a step; the rest is in the step summary. */
const ANNOTATIONS_MAX = 10

/** Failed tests as workflow commands: GitHub shows them at the test's line in the diff. */
export function githubAnnotations(run: RunResult): string[] {
  const failed = run.targets.flatMap((target) => {
    return target.tests.filter((test) => test.status === 'failed').map((test) => annotation(target, test))
  })
  const outside = run.errors.map(
    ({ kind, error }) => `::error title=${property(`gmem: ${kind}`)}::${data(error.message)}`,
  )
  return [...outside, ...failed].slice(0, ANNOTATIONS_MAX)
}

/** Appends the run to the file that $GITHUB_STEP_SUMMARY names, where it is set. */
export async function writeStepSummary(run: RunResult): Promise<void> {
  const file = process.env.GITHUB_STEP_SUMMARY
  if (file) await appendFile(file, `${githubSummary(run)}\n`)
}

/** A run as markdown: a table of the targets, then what a reader must act on. */
export function githubSummary(run: RunResult): string {
  const rows = run.targets.map((target) =>
    row([
      target.id,
      target.release,
      target.accel,
      target.passed,
      target.failed,
      target.skipped,
      target.knownIssues,
      seconds(target.durationMs),
    ]),
  )
  return [
    `### gmem: ${run.passed} passed, ${run.failed} failed, ${run.skipped} skipped`,
    '',
    row(['target', 'kernel', 'accel', 'passed', 'failed', 'skipped', 'known issues', 'time']),
    '| --- | --- | --- | ---: | ---: | ---: | ---: | ---: |',
    ...rows,
    ...section(
      'Outside of any test',
      run.errors.map(({ kind, error }) => `- **${kind}**: ${cell(error.message)}`),
    ),
    ...section('Failed', run.targets.flatMap(failedItems)),
    ...section('Known issues', run.targets.flatMap(knownItems)),
    ...section('Skipped', run.targets.flatMap(skipItems)),
  ].join('\n')
}

function annotation(target: TargetResult, test: TestResult): string {
  const at = test.error?.at
  const place = at
    ? `file=${property(at.file)},line=${at.line},col=${at.column}`
    : `file=${property(test.file)}`
  const text = [test.error?.message ?? '', ...(test.splats ?? []).map((splat) => splat.title)].join('\n')
  return `::error ${place},title=${property(`${target.id}: ${test.name}`)}::${data(text)}`
}

function failedItems(target: TargetResult): string[] {
  return target.tests
    .filter((test) => test.status === 'failed')
    .map((test) => {
      const at = test.error?.at
      const place = at ? `\`${at.file}:${at.line}\`` : `\`${test.file}\``
      const text = [test.error?.message, test.error?.diff, ...(test.splats ?? []).map((splat) => splat.text)]
      return `<details><summary>${escapeMarkup(target.id)}: ${escapeMarkup(test.name)} (${place})</summary>\n\n${fenced(text.filter(Boolean).join('\n\n'))}\n</details>`
    })
}

function knownItems(target: TargetResult): string[] {
  return target.tests
    .filter((test) => test.status === 'known-issue')
    .map(
      (test) =>
        `- ${target.id}: **${cell(test.knownIssue?.id ?? '')}** ${cell(test.knownIssue?.symptom ?? '')}`,
    )
}

function skipItems(target: TargetResult): string[] {
  return groupSkips(target).map(
    ({ reason, count }) => `- ${target.id}: ${plural(count, 'test')}: ${cell(reason)}`,
  )
}

function section(title: string, lines: readonly string[]): string[] {
  return lines.length === 0 ? [] : ['', `#### ${title}`, '', ...lines]
}

function row(cells: readonly (string | number)[]): string {
  return `| ${cells.map((text) => cell(String(text))).join(' | ')} |`
}

function cell(text: string): string {
  return escapeMarkup(text)
    .replaceAll('|', '\\|')
    .replace(/\s*\n\s*/g, ' ')
}

/** A code block that its own contents cannot end. */
function fenced(text: string): string {
  const longest = Math.max(2, ...[...text.matchAll(/`+/g)].map((match) => match[0].length))
  const fence = '`'.repeat(longest + 1)
  return `${fence}\n${text}\n${fence}`
}

function data(text: string): string {
  return text.replaceAll('%', '%25').replaceAll('\r', '%0D').replaceAll('\n', '%0A')
}

function property(text: string): string {
  return data(text).replaceAll(':', '%3A').replaceAll(',', '%2C')
}
