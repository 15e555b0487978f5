// SPDX-License-Identifier: Apache-2.0
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { execa } from 'execa'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import {
  CoverageCollector,
  coverageHtml,
  GcovReader,
  lcovOf,
  parseUnreachable,
  reportSubject,
  shareText,
} from '../../src/report/coverage/index.js'

/** Line numbers matter: see the expectations. */
const PROGRAM = `int sign(int value) {
  if (value < 0)
    return -1;
  return value > 0;
}
int never(void) {
  return 7;
}
int main(int argc, char **argv) {
  return argc > 5 ? never() : sign(argc) - 1;
}
`
const SUBJECT = { file: 'counted.c', title: 'a program', functions: /^(sign|never)$/ }

let folder: string
let counters: Uint8Array

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'gmem-coverage-test-'))
  writeFileSync(join(folder, 'counted.c'), PROGRAM)
  await execa('gcc', ['--coverage', '-O0', '-c', 'counted.c'], { cwd: folder })
  await execa('gcc', ['--coverage', '-o', 'counted', 'counted.o'], { cwd: folder })
  await execa('./counted', { cwd: folder })
  counters = readFileSync(join(folder, 'counted.gcda'))
})
afterAll(() => rmSync(folder, { recursive: true, force: true }))

async function coverageOf(...tests: string[]) {
  const collector = new CoverageCollector()
  for (const name of tests) collector.add(name, [{ object: 'counted', counters }])
  return await collector.read(new GcovReader(folder), () => {})
}

test('lines and branches are counted over all tests, each line with the tests that reach it', async () => {
  const coverage = await coverageOf('one', 'other')

  const lines = coverage.files.get('counted.c')?.lines
  expect(lines?.get(2)).toMatchObject({ count: 2, functionName: 'sign', branches: [0, 2] })
  expect([...(lines?.get(2)?.tests ?? [])].sort()).toEqual(['one', 'other'])
  expect(lines?.get(3)).toMatchObject({ count: 0, tests: new Set() })
})

test('a test that ran twice counts once', async () => {
  const coverage = await coverageOf('one', 'one')

  expect(coverage.files.get('counted.c')?.lines.get(2)?.count).toBe(1)
})

test('an object whose notes are not there gives nothing', async () => {
  expect(await new GcovReader(folder).read('other', counters)).toEqual([])
})

test('counters that are none are an error that names the object', async () => {
  await expect(new GcovReader(folder).read('counted', Buffer.from('nonsense'))).rejects.toThrow('counted')
})

test('a folder without notes is an error that says what to do', () => {
  expect(() => new GcovReader('/proc/sys/kernel/random')).toThrow('holds no notes')
})

describe('a report on some functions', () => {
  test('has the share of their lines and branches', async () => {
    const report = reportSubject(SUBJECT, await coverageOf('one'), PROGRAM, [])

    // sign: lines 1, 2 and 4 of 4; never: none of 2.
    expect(report.line).toEqual({ reached: 3, total: 6 })
    expect(report.branch).toEqual({ reached: 1, total: 2 })
    expect(shareText(report.line)).toBe('50.0 % (3 of 6)')
  })

  test('counts what cannot be reached apart', async () => {
    const unreachable = parseUnreachable(
      '# nobody calls it\ncounted.c never\n  reason: no caller\ncounted.c sign: return -1\n  reason: none is negative\n',
    )

    const report = reportSubject(SUBJECT, await coverageOf('one'), PROGRAM, unreachable)

    expect(report.line).toEqual({ reached: 3, total: 3 })
    expect(report.apart.lines).toBe(3)
    expect(report.lines.find(({ number }) => number === 3)?.unreachable).toBe('none is negative')
  })

  test('counts ways out that cannot be taken apart, and the line itself not', async () => {
    const unreachable = parseUnreachable(
      'counted.c sign: if (value < 0)\n  branches: 1\n  reason: none is negative\n',
    )

    const report = reportSubject(SUBJECT, await coverageOf('one'), PROGRAM, unreachable)

    expect(report.line).toEqual({ reached: 3, total: 6 })
    expect(report.branch).toEqual({ reached: 1, total: 1 })
    expect(report.apart).toEqual({ lines: 0, branches: 1 })
    expect(report.refuted).toEqual([])
    expect(coverageHtml('', [report])).toMatch(/<details class=hit><summary> +2 .*none is negative/)
  })

  test('counts what was reached in spite of the list, and says so', async () => {
    const unreachable = parseUnreachable(
      'counted.c sign: return value\n  reason: x\ncounted.c sign: if (value < 0)\n  branches: 2\n  reason: x\n',
    )

    const report = reportSubject(SUBJECT, await coverageOf('one'), PROGRAM, unreachable)

    expect(report.line).toEqual({ reached: 3, total: 6 })
    expect(report.branch).toEqual({ reached: 1, total: 1 })
    expect(report.refuted).toEqual([
      'counted.c:2 (sign): has 1 ways out that were never taken, not 2',
      'counted.c:4 (sign): was reached, first by one',
    ])
  })

  test('is a page with every line, its count and its tests', async () => {
    const page = coverageHtml('a <title>', [reportSubject(SUBJECT, await coverageOf('a test'), PROGRAM, [])])

    expect(page).toContain('<h1>a &lt;title&gt;</h1>')
    expect(page).toMatch(
      /<details class=part><summary> +2 +1 {3}if \(value &lt; 0\) \[-\+\]<\/summary><ul><li>a test/,
    )
    expect(page).toMatch(/<details class=miss><summary> +3 +0 /)
    expect(page).not.toContain('int main')
  })
})

test('the lcov file names each line and branch', async () => {
  const lines = lcovOf(await coverageOf('one'), '/src').split('\n')

  expect(lines).toEqual(
    expect.arrayContaining([
      'SF:/src/counted.c',
      'FNDA:1,sign',
      'FNDA:0,never',
      'DA:2,1',
      'DA:3,0',
      'BRDA:2,0,0,0',
      'BRDA:2,0,1,1',
    ]),
  )
})

describe('the list of what cannot be reached', () => {
  test.each([
    ['a reason without an entry', '  reason: x\n', 'line 1'],
    ['an entry without a reason', 'a.c f\nb.c g\n', 'line 2'],
    ['an entry at the end without a reason', 'a.c f\n', 'no reason'],
    ['ways out of a whole function', 'a.c f\n  branches: 1\n', 'line 2'],
    ['no ways out', 'a.c f: x\n  branches: 0\n', 'line 2'],
  ])('refuses %s', (_what, text, message) => {
    expect(() => parseUnreachable(text)).toThrow(message)
  })
})
