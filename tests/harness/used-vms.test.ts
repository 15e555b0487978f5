// SPDX-License-Identifier: Apache-2.0
import { appendFileSync, copyFileSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { type RunResult, runSchema } from '../../src/report/schema.js'
import { setUpSmallProject } from './support/small-project.js'

const small = setUpSmallProject()

/** Runs copies of a test file one after the other, the VM of one waiting for the next. */
async function runCopies(name: string, count: number, ...options: string[]): Promise<RunResult> {
  const file = (copy: number): string => join(small.root, 'tests/kernel', `${name}${copy || ''}.test.ts`)
  for (let copy = 1; copy < count; copy++) copyFileSync(file(0), file(copy))
  return await run(name, ...options)
}

async function run(...args: string[]): Promise<RunResult> {
  const json = join(small.box.path, `${args.join('')}.json`)
  await small.box.run(['test', ...args, '-k', small.image, '--jobs=1', `--json=${json}`])
  return runSchema.parse(JSON.parse(readFileSync(json, 'utf8')))
}

test('a test that fails where other files had run, and passes in a fresh VM, is flaky and says after which', async () => {
  // The second file gets the first one's VM; that it fails there costs the VM, and the third one gets a fresh one.
  const result = await runCopies('used-vm', 3)

  const flaky = result.targets[0]?.tests.filter(({ status }) => status === 'failed') ?? []
  expect(flaky).toEqual([
    expect.objectContaining({ name: 'passes in a fresh VM only', failure: 'assertion', flaky: true }),
  ])
  expect(flaky[0]?.error?.message).toMatch(
    /flaky: in a fresh VM it passed, but before that in a VM in which tests\/kernel\/used-vm\d?\.test\.ts had run before it failed: AssertionError/,
  )
  expect(result).toMatchObject({ passed: 5, failed: 1, skipped: 0 })
})

test('with --fresh-vms no file runs where another one had run', async () => {
  const result = await run('used-vm', '--fresh-vms')

  expect(result).toMatchObject({ passed: 6, failed: 0, skipped: 0 })
})

test('a test that fails in a fresh VM, too, fails as if no other file had run before', async () => {
  // The largest file is first, where no times are known.
  for (const copy of ['', '1', '2']) {
    appendFileSync(join(small.root, `tests/kernel/used-vm${copy}.test.ts`), `\n// ${'-'.repeat(1000)}`)
  }

  const result = await run('used-vm', 'fails-always')

  const failed = result.targets[0]?.tests.find(({ name }) => name === 'fails in every VM')
  expect(failed).toMatchObject({ status: 'failed', failure: 'assertion' })
  expect(failed?.flaky).toBeUndefined()
  expect(failed?.error?.message).toMatch(/^expected 1 to be 2/)
})

test('a file that leaves a setting changed leaves the files after it VMs of their own', async () => {
  const result = await runCopies('changes-setting', 4)

  expect(result).toMatchObject({ passed: 4, failed: 0, skipped: 0 })
})

test('a kernel that dies of an earlier file makes the test that ran flaky, and the report names that file', async () => {
  appendFileSync(join(small.root, 'tests/kernel/dies-later.test.ts'), `\n// ${'-'.repeat(4000)}`)

  const result = await run('dies-later', 'waits')

  const [victim] = result.targets[0]?.tests.filter(({ status }) => status === 'failed') ?? []
  expect(victim).toMatchObject({ file: 'tests/kernel/waits.test.ts', failure: 'death', flaky: true })
  expect(victim?.error?.message).toContain('flaky: in a fresh VM it passed')
  expect(victim?.error?.message).toContain('in a VM in which tests/kernel/dies-later.test.ts had run before')
  expect(result).toMatchObject({ passed: 1, failed: 1, skipped: 0 })
})
