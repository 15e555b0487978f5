// SPDX-License-Identifier: Apache-2.0
import { copyFileSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { type RunResult, runSchema } from '../../src/report/schema.js'
import { type StartedGmem, until } from './support/run-gmem.js'
import { setUpSmallProject } from './support/small-project.js'

/** From the signal to the end of gmem, in ms, on a machine that does other things too; seen on a quiet one: below 3000. */
const STOP_MS_MAX = 15_000

const small = setUpSmallProject()

function folder(name: string): string {
  return join(small.box.path, name)
}

function resultOf(name: string): RunResult {
  return runSchema.parse(JSON.parse(readFileSync(join(folder(name), 'result.json'), 'utf8')))
}

/** A run in whose VM the long test runs now. */
async function startLong(name: string, ...options: string[]): Promise<StartedGmem> {
  const gmem = small.box.start(['test', 'long', '-k', small.image, '-o', folder(name), ...options])
  const isRunning = (): true | null => (consoles(name).includes('the long one runs') ? true : null)
  const runs = until('the long test to run', isRunning).catch(() => gmem.kill('SIGKILL'))
  if ((await Promise.race([runs, gmem.ended])) === true) return gmem
  const { stdout, stderr } = await gmem.ended
  throw new Error(`the long test did not run:\n${stdout}\n${stderr}`)
}

function consoles(name: string): string {
  try {
    const files = readdirSync(folder(name)).filter((file) => file.startsWith('console-'))
    return files.map((file) => readFileSync(join(folder(name), file), 'utf8')).join('\n')
  } catch {
    return ''
  }
}

// In this order: what the first one leaves behind must not be in the way of the next ones.

test('a kill -9 of gmem while its first VM boots takes QEMU along', async () => {
  const gmem = small.box.start(['test', 'passes', '-k', small.image])
  await small.box.vm()

  gmem.kill('SIGKILL')

  await gmem.ended
  expect(await small.box.leftovers()).toEqual([])
})

test('two runs at once that both save the same VM do not get into each other’s way', async () => {
  const args = ['test', 'passes', '-k', small.image]

  const runs = await Promise.all([small.box.run(args), small.box.run(args)])

  expect(runs.map(({ lastLine }) => lastLine)).toEqual(Array(2).fill('1 passed, 0 failed, 0 skipped'))
  expect(runs.map(({ exitCode }) => exitCode)).toEqual([0, 0])
  expect(readdirSync(join(small.box.cache, 'saved'))).toHaveLength(1)
})

test('gmem kernel build saves a VM, and the first test on the kernel restores it', async () => {
  const saved = join(small.box.cache, 'saved')
  rmSync(saved, { recursive: true })
  const build = await small.box.run(['kernel', 'build', small.image])
  expect(build.stdout).toMatch(/^ready \S+ is 7\./)
  expect(build.exitCode).toBe(0)
  expect(readdirSync(saved)).toHaveLength(1)

  const { stdout, exitCode } = await small.box.run(['test', 'passes', '-k', small.image])

  expect(stdout).toMatch(/Linux 7\.\S+ · restored in/)
  expect(exitCode).toBe(0)
})

test('a file that changed KVM and then ran no test leaves the files after it VMs of their own', async () => {
  const file = (copy: string): string => join(small.root, 'tests/kernel', `changes-kvm${copy}.test.ts`)
  for (const copy of ['-2', '-3', '-4']) copyFileSync(file(''), file(copy))

  const run = await small.box.run(['test', 'changes-kvm', '-k', small.image, '--jobs=1'])

  expect(run.lastLine).toBe('0 passed, 0 failed, 4 skipped')
})

describe('a test that expects a wrong byte after a conversion', () => {
  test('fails with the gpa and both values, on the terminal and in the JSON', async () => {
    const json = folder('wrong.json')

    const run = await small.box.run(['test', 'wrong-byte', '-k', small.image, `--json=${json}`, '--seed=7'])

    const message = /0x0 at gpa 0x1000_?3000, wanted 0xaa/
    const result = runSchema.parse(JSON.parse(readFileSync(json, 'utf8')))
    const [broken, other] = result.targets[0]?.tests ?? []
    expect(run.stdout).toContain('expects a wrong byte after a conversion')
    expect(run.stdout).toMatch(message)
    expect(run.stdout).toContain('wrong-byte.test.ts:')
    expect(broken).toMatchObject({ status: 'failed', failure: 'assertion' })
    expect(broken?.error?.message).toMatch(message)
    expect(other).toMatchObject({ name: 'is not concerned', status: 'passed' })
    expect(result).toMatchObject({ seed: 7, exitCode: 1, passed: 1, failed: 1, skipped: 0 })
    expect(run.lastLine).toBe('1 passed, 1 failed, 0 skipped')
    expect(run.exitCode).toBe(1)
  })

  test('is all that gmem rerun --failed runs, each time', async () => {
    const failed = await small.box.run(['rerun', '--failed'])
    const failedAgain = await small.box.run(['rerun', '--failed'])

    expect(failed.stdout).toContain('expects a wrong byte after a conversion')
    expect(failed.lastLine).toBe('0 passed, 1 failed, 0 skipped')
    expect(failed.exitCode).toBe(1)
    expect(failedAgain.lastLine).toBe('0 passed, 1 failed, 0 skipped')
  })

  test('goes as JSON to the standard output, and nothing else does', async () => {
    const { exitCode, stdout, stderr } = await small.box.run(['test', 'passes', '-k', small.image, '--json'])

    expect(runSchema.parse(JSON.parse(stdout))).toMatchObject({ passed: 1, failed: 0, exitCode: 0 })
    expect(stderr.trimEnd().split('\n').at(-1)).toBe('1 passed, 0 failed, 0 skipped')
    expect(exitCode).toBe(0)
  })

  test('a name that no test has is exit code 2', async () => {
    const { exitCode, stdout } = await small.box.run([
      'test',
      'passes',
      '-k',
      small.image,
      '-t',
      'no such name',
    ])

    expect(stdout).toContain("no test's name matches /no such name/")
    expect(exitCode).toBe(2)
  })
})

test('a QEMU that is killed from outside fails the test that ran, and no other', async () => {
  const gmem = await startLong('killed', '--retries=0')

  process.kill(await small.box.vm(), 'SIGKILL')

  const { exitCode, stdout, lastLine } = await gmem.ended
  const { tests, deaths } = resultOf('killed').targets[0] ?? { tests: [], deaths: [] }
  expect(tests.map(({ name, status }) => `${name}: ${status}`)).toEqual([
    'the first one: passed',
    'the long one: failed',
    'the last one: passed',
  ])
  expect(tests[1]?.failure).toBe('death')
  expect(stdout).toContain('QEMU was killed by SIGKILL from outside')
  expect(deaths).toEqual([expect.objectContaining({ test: 'the long one' })])
  expect(lastLine).toBe('2 passed, 1 failed, 0 skipped')
  expect(exitCode).toBe(5)
})

describe('Ctrl-C', () => {
  test('while a test runs keeps the results so far', async () => {
    const gmem = await startLong('stopped')
    const signalledMs = performance.now()

    gmem.kill('SIGINT')

    const { exitCode, stdout, lastLine } = await gmem.ended
    expect(performance.now() - signalledMs).toBeLessThan(STOP_MS_MAX)
    expect(stdout).toContain('the run was interrupted; what it had is reported')
    expect(lastLine).toMatch(/^1 passed, 0 failed, \d+ skipped$/)
    expect(resultOf('stopped').errors).toEqual([expect.objectContaining({ kind: 'interrupted' })])
    expect(exitCode).toBe(130)
  })

  test.each([
    ['test', ['test', 'passes', '--cold']],
    ['probe', ['probe', '--accel=tcg']],
    ['shell', ['shell']],
  ])('while the VM of gmem %s starts', async (_command, args) => {
    const gmem = small.box.start([...args, '-k', small.image])
    await small.box.vm()
    const signalledMs = performance.now()

    gmem.kill('SIGINT')

    const { exitCode } = await gmem.ended
    expect(performance.now() - signalledMs).toBeLessThan(STOP_MS_MAX)
    expect(exitCode).toBe(130)
  })
})

describe('kill -9', () => {
  test('of gmem while a test runs takes QEMU along', async () => {
    const gmem = await startLong('dead')

    gmem.kill('SIGKILL')

    await gmem.ended
    expect(await small.box.leftovers()).toEqual([])
  })

  test('of gmem leaves a folder that the next gmem removes', async () => {
    const gmem = small.box.start(['probe', '-k', small.image])
    await small.box.vm()
    gmem.kill('SIGKILL')
    await gmem.ended
    expect(readdirSync(small.box.temporary)).toEqual([expect.stringContaining(`gmem-${gmem.pid}-probe-`)])

    const { exitCode, stdout } = await small.box.run(['probe', '-k', small.image, '--json'])

    expect(JSON.parse(stdout)).toMatchObject({ kvmError: '', apiVersion: 12 })
    expect(exitCode).toBe(0)
    expect(readdirSync(small.box.temporary)).toEqual([])
  })
})

describe('gmem shell with a pipe', () => {
  test('prints what the lines give, and nothing else', async () => {
    const { exitCode, stdout } = await small.box.run(['shell', '-k', small.image], { input: '1+1' })

    expect(stdout).toBe('2')
    expect(exitCode).toBe(0)
  })

  test('waits for what a line awaits', async () => {
    const input = [
      "vm = Kvm.open().createVm({ type: 'SW_PROTECTED' }); 'a VM'",
      "memory = vm.addMemory({ gpa: gpa(0x10000000), size: pages(16), guestMemfd: {} }); 'memory'",
      "vcpu = vm.createVcpu(); 'a vCPU'",
      'value = await vcpu.read64(memory.gpaOf(pages(3)))',
      'value + 1n',
    ].join('\n')

    const { exitCode, stdout } = await small.box.run(['shell', '-k', small.image], { input })

    expect(stdout.split('\n')).toEqual(["'a VM'", "'memory'", "'a vCPU'", '0n', '1n'])
    expect(exitCode).toBe(0)
  })
})
