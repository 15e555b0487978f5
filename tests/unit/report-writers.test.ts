// SPDX-License-Identifier: Apache-2.0
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { githubAnnotations, githubSummary, writeStepSummary } from '../../src/report/github.js'
import { junit } from '../../src/report/junit.js'
import { exampleRun } from './report-example.js'

describe('JUnit', () => {
  test('has a suite for each file on each target, with its counts', () => {
    const suites = junit(exampleRun()).match(/<testsuite [^>]*>/g)

    expect(suites).toEqual([
      expect.stringContaining('name="7.3: tests/kernel/conversion.test.ts"'),
      expect.stringContaining('name="host: tests/kernel/fd.test.ts"'),
    ])
    expect(suites?.[0]).toContain('tests="7" failures="3" errors="0" skipped="1"')
  })

  test('keeps the reason of a skip', () => {
    expect(junit(exampleRun())).toContain(
      '<skipped message="needs VM type SNP: KVM_CAP_VM_TYPES reports only DEFAULT, SW_PROTECTED"/>',
    )
  })

  test('marks a known issue, which is no failure', () => {
    const [, testcase] =
      /<testcase [^>]*name="SIGKILL is prompt"[^>]*>([\s\S]*?)<\/testcase>/.exec(junit(exampleRun())) ?? []

    expect(testcase).toContain('<property name="known-issue" value="F1: SIGKILL waits for the whole range"/>')
    expect(testcase).not.toContain('<failure')
  })

  test('escapes names, and drops what XML cannot hold', () => {
    const run = exampleRun()
    Object.assign(run.targets[0]?.tests[1]?.error ?? {}, { message: 'got \u0000\u001b[31m<&"\u001b[39m' })

    const text = junit(run)

    expect(text).toContain('name="- vcpu #2 gets a #PF &amp; keeps &quot;going&quot; &lt;on&gt;"')
    expect(text).toContain('message="got &lt;&amp;&quot;"')
  })
})

describe('GitHub', () => {
  test('gets an annotation at the line of each failure', () => {
    expect(githubAnnotations(exampleRun())[0]).toBe(
      '::error file=tests/kernel/conversion.test.ts,line=24,col=5,' +
        'title=7.3%3A - vcpu #2 gets a #PF & keeps "going" <on>::expected 0xaa to be 0x0%0ASubtest: looks like a header',
    )
  })

  test('gets at most the ten annotations that it shows', () => {
    const run = exampleRun()
    const failed = run.targets[0]?.tests[1]
    if (failed) run.targets[0]?.tests.push(...Array.from({ length: 20 }, () => failed))

    expect(githubAnnotations(run)).toHaveLength(10)
  })

  test('gets a summary whose table and lists nothing in a name can break', () => {
    const run = exampleRun()
    Object.assign(run.targets[0]?.tests[4] ?? {}, { reason: 'a | b\n<script>' })

    const summary = githubSummary(run)

    expect(summary).toContain('### gmem: 4 passed, 3 failed, 1 skipped')
    expect(summary).toContain('| 7.3 | 7.3.4-gmem | tcg | 3 | 3 | 1 | 1 | 3.10 s |')
    expect(summary).toContain('- 7.3: 1 test: a \\| b &lt;script&gt;')
  })

  describe('step summary', () => {
    let folder = ''
    beforeEach(() => {
      folder = mkdtempSync(join(tmpdir(), 'gmem-summary-'))
      vi.stubEnv('GITHUB_STEP_SUMMARY', join(folder, 'summary.md'))
    })
    afterEach(() => {
      vi.unstubAllEnvs()
      rmSync(folder, { recursive: true })
    })

    test('is appended to: other steps of the job have written there', async () => {
      await writeStepSummary(exampleRun())
      await writeStepSummary(exampleRun())

      expect(readFileSync(join(folder, 'summary.md'), 'utf8').match(/### gmem/g)).toHaveLength(2)
    })
  })
})
