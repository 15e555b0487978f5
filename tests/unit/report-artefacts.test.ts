// SPDX-License-Identifier: Apache-2.0
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readlinkSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { rerunRequest, storedRequest } from '../../src/cli/rerun-request.js'
import type { TestRequest } from '../../src/cli/test-run.js'
import { createRunFolder, writeEnvironment, writeResult } from '../../src/report/artefacts.js'
import { readRun } from '../../src/report/earlier-run.js'
import { exampleRun } from './report-example.js'

let cache = ''

beforeEach(() => {
  cache = mkdtempSync(join(tmpdir(), 'gmem-artefacts-'))
  vi.stubEnv('GMEM_CACHE', cache)
})

afterEach(() => {
  vi.unstubAllEnvs()
  rmSync(cache, { recursive: true })
})

const request: TestRequest = {
  filters: ['conversion'],
  kernels: ['7.3', '~/linux'],
  host: true,
  accelerator: 'auto',
  seed: 4711,
  cold: false,
  freshVms: false,
  splats: 'fail',
  leaks: 'fail',
  allow: '',
  retries: 1,
  all: false,
  namePattern: /page/,
  watch: false,
  failOnSkip: false,
  outputs: { github: false, json: 'out.json' },
}

describe('the folder of a run', () => {
  test('is new, and latest points to it', async () => {
    const first = await createRunFolder()
    const second = await createRunFolder()

    expect(basename(first)).toMatch(/^\d{4}-\d\d-\d\dT\d\d-\d\d-\d\d\.\d{3}Z-\d+$/)
    expect(second).not.toBe(first)
    expect(readlinkSync(join(cache, 'runs', 'latest'))).toBe(second)
  })

  test('is the one that -o names, which latest points to as well', async () => {
    const folder = await createRunFolder(join(cache, 'mine'))

    expect(folder).toBe(join(cache, 'mine'))
    expect(readlinkSync(join(cache, 'runs', 'latest'))).toBe(folder)
  })

  test('is one of the newest twenty: older ones go, whatever else is there stays', async () => {
    const runs = join(cache, 'runs')
    const old = Array.from(
      { length: 25 },
      (_, day) => `2025-01-${String(day + 1).padStart(2, '0')}T00-00-00.000Z-1`,
    )
    for (const name of [...old, 'keep-me']) mkdirSync(join(runs, name), { recursive: true })

    await createRunFolder()

    expect(old.filter((name) => existsSync(join(runs, name)))).toEqual(old.slice(-19))
    expect(existsSync(join(runs, 'keep-me'))).toBe(true)
  })

  test('that cannot be made is an error that says what to do', async () => {
    writeFileSync(join(cache, 'file'), '')

    await expect(createRunFolder(join(cache, 'file', 'below'))).rejects.toMatchObject({
      exitCode: 69,
      hint: expect.stringContaining('-o DIR'),
    })
  })
})

describe('what a run leaves', () => {
  test('is its result, its environment and the configuration of its kernels', async () => {
    const folder = await createRunFolder()
    const config = join(cache, 'config')
    writeFileSync(config, 'CONFIG_KVM_SW_PROTECTED_VM=y\n')
    const kernel = {
      id: '7.3',
      release: '7.3.4-gmem',
      bzImage: '/b',
      modulesDir: null,
      config,
      vmlinux: null,
      flavour: 'plain',
      key: 'k',
    }

    await writeEnvironment(folder, storedRequest(request), [kernel])
    await writeResult(folder, exampleRun())

    const environment = JSON.parse(readFileSync(join(folder, 'environment.json'), 'utf8'))
    expect(environment).toMatchObject({
      node: process.version,
      request: { seed: 4711 },
      kernels: [{ key: 'k' }],
    })
    expect(environment.request).not.toHaveProperty('outputs')
    expect(readFileSync(join(folder, '7.3.config'), 'utf8')).toBe('CONFIG_KVM_SW_PROTECTED_VM=y\n')
    expect(await readRun()).toMatchObject({ request: { namePattern: 'page' }, run: exampleRun() })
  })

  test('cannot be read where there is no run yet', async () => {
    await expect(readRun()).rejects.toThrow(/no finished run/)
  })
})

describe('a rerun', () => {
  const earlier = (run = exampleRun()) => ({
    folder: '/f',
    request: JSON.parse(JSON.stringify(storedRequest(request))),
    run,
  })

  test('asks for the same again, without the reports', () => {
    const { outputs: _, ...same } = request

    expect(rerunRequest(earlier(), false)).toEqual({ ...same, outputs: { github: false } })
  })

  test('of what failed asks for these tests, on the targets where they failed', () => {
    const again = rerunRequest(earlier(), true)

    expect(again).toMatchObject({
      kernels: ['7.3'],
      host: false,
      filters: ['tests/kernel/conversion.test.ts'],
      seed: 4711,
    })
    expect(again?.namePattern?.test('- vcpu #2 gets a #PF & keeps "going" <on>')).toBe(true)
    expect(again?.namePattern?.test('closing the file while the VM dies')).toBe(true)
    expect(again?.namePattern?.test('closing the file while the VM dies, 2')).toBe(false)
    expect(again?.namePattern?.test('at 4K an even page')).toBe(false)
  })

  test('of a file that could not be loaded asks for all of it', () => {
    const run = exampleRun()
    Object.assign(run.targets[0]?.tests[1] ?? {}, { failure: 'not-run', name: '(the whole file)' })

    expect(rerunRequest(earlier(run), true)?.namePattern).toBeUndefined()
  })

  test('of what failed is nothing where nothing failed', () => {
    const run = {
      ...exampleRun(),
      targets: exampleRun().targets.map((target) => ({ ...target, failed: 0, tests: [] })),
    }

    expect(rerunRequest(earlier(run), true)).toBeNull()
  })

  test('of a run that does not say what it was asked for is an error', () => {
    expect(() => rerunRequest({ ...earlier(), request: {} }, false)).toThrow(/does not say/)
  })
})
