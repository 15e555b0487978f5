// SPDX-License-Identifier: Apache-2.0
import { fileURLToPath } from 'node:url'
import { execa } from 'execa'
import { beforeAll, describe, expect, test } from 'vitest'
import { type RunResult, runSchema, type TestResult } from '../../src/report/schema.js'

const driver = fileURLToPath(new URL('./report-fixtures/driver.ts', import.meta.url))

interface Seen {
  readonly terminal: string
  readonly run: RunResult
}

/** A real vitest run of fixtures with gmem's reporters, on two projects; see report-fixtures/driver.ts. */
async function runFixtures(files: readonly string[], pattern = ''): Promise<Seen> {
  const { VITEST: _, TEST: __, NODE_ENV: ___, ...env } = process.env
  const { stdout, stderr } = await execa('node', ['--import', 'tsx', driver, pattern, ...files], {
    env: { ...env, NO_COLOR: '1' },
    extendEnv: false,
    reject: false,
  })
  return { terminal: stdout, run: runSchema.parse(JSON.parse(stderr.slice(stderr.indexOf('{"format"')))) }
}

function named({ run }: Seen, name: string, target = 0): Partial<TestResult> {
  return run.targets[target]?.tests.find((each) => each.name === name) ?? {}
}

describe('a run with every outcome', { timeout: 180_000 }, () => {
  let seen: Seen
  beforeAll(async () => {
    seen = await runFixtures(['outcomes', 'unloadable'])
  }, 180_000)

  test('ends with the counts, which are those of the result', () => {
    const { passed, failed, skipped } = seen.run

    expect(seen.terminal.trimEnd().split('\n').at(-1)).toBe(
      `${passed} passed, ${failed} failed, ${skipped} skipped`,
    )
    expect({ passed, failed, skipped }).toEqual({ passed: 9, failed: 14, skipped: 7 })
  })

  test('counts each target apart, and every test of it once', () => {
    const [first, second] = seen.run.targets

    expect(first).toMatchObject({
      id: '7.3',
      passed: 4,
      failed: 7,
      skipped: 4,
      knownIssues: 1,
      flaky: 1,
      splats: 1,
    })
    expect(second).toMatchObject({ id: 'host', passed: 5, failed: 7, skipped: 3 })
    expect(first?.tests).toHaveLength(15)
  })

  test('gives every skip its reason', () => {
    expect(named(seen, 'with needs > skips with a reason in its meta').reason).toBe(
      'needs VM type SNP: not there',
    )
    expect(named(seen, 'with needs > skips with a note').reason).toBe('needs patience')
    expect(named(seen, 'with needs > skips without a word').reason).toContain('without a reason')
  })

  test('names the place and the values of a failure, in hex', () => {
    expect(named(seen, 'sees the wrong byte')).toMatchObject({
      status: 'failed',
      failure: 'assertion',
      line: 12,
      error: {
        message: 'expected 0xaa to be 0x0',
        at: { file: 'outcomes.fixture.ts', line: 14, column: 17 },
        trace: ['#1 vm#1.setMemoryAttributes(0x10000000, 0x1000, 0x8, 0x0)'],
      },
    })
    expect(seen.terminal).toContain('    at outcomes.fixture.ts:14:17\n')
    expect(seen.terminal).toContain('    ❯ 14 │   expect(0xaan).toBe(0n)\n')
  })

  test('shows the difference of two exits', () => {
    expect(named(seen, 'compares two exits').error?.diff).toContain('-   "gpa": 0x2000,\n+   "gpa": 0x1000,')
  })

  test('reports a known issue as such, and not as a failure', () => {
    expect(named(seen, 'meets a known issue')).toMatchObject({
      status: 'known-issue',
      knownIssue: { id: 'F9' },
    })
    expect(seen.terminal).toContain('\nknown issues\n  7.3   F9  it is wrong\n')
  })

  test('tells how a test failed', () => {
    expect(named(seen, 'splats')).toMatchObject({
      failure: 'splat',
      splats: [{ kind: 'WARN', fingerprint: 'f' }],
    })
    expect(named(seen, 'takes too long')).toMatchObject({ failure: 'timeout' })
    expect(seen.run.exitCode).toBe(124)
  })

  test('shows that a test was flaky, with what it failed by', () => {
    expect(named(seen, 'passes at the second try')).toMatchObject({
      status: 'passed',
      flaky: true,
      error: { message: 'expected 1 to be 2' },
    })
    expect(seen.terminal).toContain('~ 7.3   outcomes.fixture.ts  passes at the second try (flaky')
  })

  test('fails what a hook kept from running, and a hook that nobody else can be blamed for', () => {
    expect(named(seen, 'behind a hook that fails > does not run')).toMatchObject({
      failure: 'not-run',
      error: { message: 'did not run: no memory' },
    })
    expect(named(seen, 'behind a hook that fails')).toEqual({})
    expect(named(seen, 'before a hook that fails')).toMatchObject({
      error: { message: 'left something behind' },
    })
    expect(named(seen, 'before a hook that fails > passes all the same')).toMatchObject({ status: 'passed' })
  })

  test('fails a file that cannot be loaded', () => {
    const inFile = seen.run.targets[0]?.tests.filter((each) => each.file === 'unloadable.fixture.ts')

    expect(inFile).toMatchObject([
      { status: 'failed', failure: 'not-run', error: { message: 'the file is broken' } },
    ])
  })

  test('prints every failure once a target', () => {
    expect(seen.terminal.match(/^✗ 7\.3 {3}unloadable\.fixture\.ts {2}\(the whole file\)$/gm)).toHaveLength(1)
    expect(
      seen.terminal.match(/^✗ 7\.3 {3}outcomes\.fixture\.ts {2}behind a hook that fails/gm),
    ).toHaveLength(1)
  })

  test('says when the first result came, once a target', () => {
    expect(seen.terminal.match(/^· 7\.3 {3}first result after [\d.]+ s: passes$/gm)).toHaveLength(1)
    expect(seen.run.targets[0]?.firstResultMs).toBeGreaterThan(0)
  })

  test('draws no escape sequences into a pipe', () => {
    expect(seen.terminal).not.toContain('\u001b')
  })
})

describe('a run that is narrowed by a name', { timeout: 180_000 }, () => {
  test('knows nothing of the other tests: they were not skipped', async () => {
    const seen = await runFixtures(['outcomes'], '^with needs skips with a note$')

    expect(seen.run.targets[0]?.tests.map((each) => each.name)).toEqual(['with needs > skips with a note'])
    expect(seen.terminal.trimEnd().split('\n').at(-1)).toBe('0 passed, 0 failed, 2 skipped')
    expect(seen.run.exitCode).toBe(4)
  })
})

describe('a run whose worker is killed', { timeout: 180_000 }, () => {
  test('loses no test, and goes on with the next file', async () => {
    const seen = await runFixtures(['dying', 'empty'])

    expect(named(seen, 'takes its worker along')).toMatchObject({ status: 'failed', failure: 'not-run' })
    expect(named(seen, 'comes after it')).toMatchObject({ status: 'failed', failure: 'not-run' })
    expect(named(seen, 'passes')).toMatchObject({ status: 'passed' })
    expect(seen.run.errors[0]?.error.message).toContain('Worker exited unexpectedly')
    expect(seen.run.exitCode).toBe(1)
  })
})
