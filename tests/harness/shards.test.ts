// SPDX-License-Identifier: Apache-2.0
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { execa } from 'execa'
import { beforeAll, describe, expect, test } from 'vitest'
import { projectRoot } from '../../src/paths.js'
import { type RunResult, runSchema, type TestResult } from '../../src/report/schema.js'
import type { GmemRun } from './support/run-gmem.js'
import { setUpSmallProject } from './support/small-project.js'

/** Of the small project; one has a test that fails. */
const FILES = ['converts', 'passes', 'wrong-byte']
/** For a VM that boots and is saved, and three runs, on a machine that does other things too, in ms. */
const RUNS_MS_MAX = 900_000

const small = setUpSmallProject()

const folder = (name: string): string => join(small.box.path, name)
const read = (name: string): string => readFileSync(folder(name), 'utf8')
const result = (name: string): RunResult => runSchema.parse(JSON.parse(read(join(name, 'result.json'))))

async function gmem(...args: string[]): Promise<GmemRun> {
  return await small.box.run(args)
}

async function run(name: string, ...options: string[]): Promise<GmemRun> {
  return await gmem('test', ...FILES, '-k', small.image, '--seed=7', '-o', folder(name), ...options)
}

async function merge(...args: string[]): Promise<GmemRun> {
  return await gmem('report', 'merge', ...args.map((arg) => (arg.startsWith('-') ? arg : folder(arg))))
}

/** What two runs of the same tests have in common. */
const outcomes = ({ targets }: RunResult): unknown =>
  targets.map(({ id, kernel, release, accel, passed, failed, skipped, tests }) => ({
    about: [id, kernel, release, accel, passed, failed, skipped],
    tests: tests.map(({ file, name, status, failure, error }: TestResult) => [
      file,
      name,
      status,
      failure,
      error?.message,
    ]),
  }))

describe('two shards, one with a test that fails', () => {
  let whole: GmemRun
  let shards: readonly GmemRun[]
  let merged: GmemRun

  beforeAll(async () => {
    whole = await run('whole')
    shards = [await run('one', '--shard=1/2'), await run('two', '--shard=2/2')]
    merged = await merge('two', 'one', '-o', 'merged', `--junit=${folder('junit.xml')}`)
  }, RUNS_MS_MAX)

  test('have each file once, and say so', () => {
    const files = ['one', 'two'].map((name) => result(name).targets.flatMap(({ files }) => files))

    expect(files.map(({ length }) => length)).toEqual([2, 1])
    expect(new Set(files.flat().map(({ file }) => file)).size).toBe(3)
    expect(shards.map(({ stdout }) => /^shard .*$/m.exec(stdout)?.[0])).toEqual([
      'shard 1/2: 2 of 3 test files',
      'shard 2/2: 1 of 3 test files',
    ])
    expect(result('two').shard).toEqual({ index: 2, count: 2 })
  })

  test('merged are what one whole run gives: tests, statuses, counts, exit code, last line', () => {
    expect(outcomes(result('merged'))).toEqual(outcomes(result('whole')))
    expect(result('whole')).toMatchObject({ passed: 3, failed: 1, skipped: 0, seed: 7, exitCode: 1 })
    expect(result('merged')).toMatchObject({ passed: 3, failed: 1, skipped: 0, seed: 7, exitCode: 1 })
    expect([merged.lastLine, merged.exitCode]).toEqual([whole.lastLine, whole.exitCode])
    expect(merged.stdout).toContain('✗ ')
    expect(merged.stdout).toContain('got 0x0 at gpa 0x10003000, wanted 0xaa')
    expect(read('junit.xml')).toContain('expects a wrong byte after a conversion')
  })

  test('merged have the consoles of both', () => {
    const consoles = (name: string): string[] =>
      readdirSync(folder(name)).filter((file) => file.startsWith('console-'))

    expect(consoles('one').length).toBeGreaterThan(0)
    expect(consoles('merged')).toHaveLength(consoles('one').length + consoles('two').length)
  })

  test('merged are what gmem compare reads', async () => {
    const { exitCode, lastLine } = await gmem('compare', folder('whole'), folder('merged'))

    expect(lastLine).toBe('B is not worse than A: 4 unchanged')
    expect(exitCode).toBe(0)
  })

  test('merged are what the workflow compares with a baseline, without escape sequences in the summary', async () => {
    const script = join(projectRoot, 'scripts/compare-summary.mjs')
    const env = { GITHUB_ACTIONS: 'true' }
    const { stdout } = await execa(process.execPath, [script, folder('whole'), folder('merged')], { env })

    expect(stdout).toMatch(/^### \S+, against the baseline\n\n```\nA {2}/)
    expect(stdout).toMatch(/\nB is not worse than A: 4 unchanged\n```\n*$/)
  })

  test('merged are what gmem rerun --failed runs, undivided', async () => {
    const { lastLine, exitCode } = await gmem('rerun', '--failed', '--run', folder('merged'))

    expect(lastLine).toBe('0 passed, 1 failed, 0 skipped')
    expect(exitCode).toBe(1)
  })

  test('are no whole without each other', async () => {
    const { exitCode, stderr } = await merge('one', '-o', 'none')

    expect(stderr).toMatch(/^error: shard 2\/2 of \S+ \(7\.\S+, (kvm|tcg)\) is missing$/m)
    expect(stderr).toContain(`Given: ${folder('one')} is 1/2 of `)
    expect(existsSync(folder('none'))).toBe(false)
    expect(exitCode).toBe(2)
  })

  test('are too many with one of them twice, or with the same test of another run', async () => {
    cpSync(folder('one'), folder('copy'), { recursive: true })
    const other = result('whole')
    const [first] = other.targets[0]?.tests ?? []
    Object.assign(first ?? {}, { status: 'failed', failure: 'assertion' })
    mkdirSync(folder('other'))
    writeFileSync(join(folder('other'), 'result.json'), JSON.stringify(other))
    cpSync(join(folder('whole'), 'environment.json'), join(folder('other'), 'environment.json'))

    const twice = await merge('one', 'copy', 'two', '-o', 'none')
    const differing = await merge('one', 'two', 'other', '-o', 'none')

    expect(twice.stderr).toContain('is there twice: ')
    expect(differing.stderr).toContain(
      `: passed in ${folder('two')}, failed (assertion) in ${folder('other')}`,
    )
    expect([twice.exitCode, differing.exitCode]).toEqual([2, 2])
    for (const name of ['copy', 'other']) rmSync(folder(name), { recursive: true })
  })

  test('are not written over something', async () => {
    const { exitCode, stderr } = await merge('one', 'two', '-o', 'merged')

    expect(stderr).toContain('the folder is not empty')
    expect(exitCode).toBe(2)
  })
})

test('a shard without a file passes, and says that it has nothing to do', {
  timeout: RUNS_MS_MAX,
}, async () => {
  const empty = await gmem('test', 'passes', '-k', small.image, '--shard=2/2', '-o', folder('empty'))

  expect(empty.stdout).toContain('shard 2/2: 0 of 1 test file')
  expect(empty.stdout).toContain('shard 2/2 has no test: that is for gmem report merge to judge')
  expect(empty.lastLine).toBe('0 passed, 0 failed, 0 skipped')
  expect(empty.exitCode).toBe(0)
})

test.each([
  ['--shard=0/2', "argument '0/2' is invalid. it must be I/N, I from 1 to N"],
  ['--shard=3/2', "argument '3/2' is invalid. it must be I/N, I from 1 to N"],
  ['--shard=a/b', "argument 'a/b' is invalid. it must be I/N, I from 1 to N"],
  ['--shard=1/2 --watch', '--shard and --watch do not go together'],
])('gmem test %s is exit code 2 before anything starts', async (options, message) => {
  const { exitCode, stdout, stderr } = await gmem('test', ...options.split(' '))

  expect(stderr).toContain(message)
  expect(stdout).toBe('')
  expect(exitCode).toBe(2)
})
