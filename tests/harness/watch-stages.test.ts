// SPDX-License-Identifier: Apache-2.0
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, expect, test, vi } from 'vitest'
import { OrderedRun } from '../../src/cli/ordered-run.js'
import { stagesOf } from '../../src/cli/watch-stages.js'
import { resolveKernel } from '../../src/kernels/index.js'
import type { KernelImage } from '../../src/kernels/types.js'
import { projectRoot } from '../../src/paths.js'
import { parseReach } from '../../src/report/coverage/reach.js'
import { runSchema, type TargetResult } from '../../src/report/schema.js'
import { Sandbox } from './support/run-gmem.js'

/** Some of their tests punch holes, some do not, and some are skipped. */
const FILES = ['punch-hole', 'memslot-sharing']
/** For a VM that boots and is saved, and three runs, in ms. */
const RUNS_MS_MAX = 600_000

let box: Sandbox
let kernel: KernelImage

beforeAll(async () => {
  kernel = await resolveKernel()
  box = await Sandbox.create()
  vi.stubEnv('GMEM_CACHE', box.cache)
  vi.stubEnv('TMPDIR', box.temporary)
})
afterAll(async () => await box.remove())
afterEach(async () => expect(await box.leftovers()).toEqual([]))

async function run(name: string, filters: readonly string[], ...options: string[]): Promise<TargetResult> {
  const json = join(box.path, `${name}.json`)
  await box.run(['test', ...filters, ...options, '-k', kernel.bzImage, '--seed=1', `--json=${json}`])
  const [target] = runSchema.parse(JSON.parse(readFileSync(json, 'utf8'))).targets
  if (target === undefined) throw new Error(`${json} has no target`)
  return target
}

const isEarly = (name: string): boolean => name.includes('-early-')

/** A child of this process, with the sandbox's cache. */
function orderedRun(name: string): OrderedRun {
  return new OrderedRun({ seed: '1' }, join(box.path, name), new AbortController().signal)
}

const keys = (...targets: TargetResult[]): string[] =>
  targets.flatMap(({ tests }) => tests.map(({ file, name, status }) => `${file} > ${name}: ${status}`)).sort()

test(
  'the tests that run a function, and the rest, are together those of one run, each once',
  async () => {
    const reach = parseReach(readFileSync(join(projectRoot, 'tests/kernel/reach.json'), 'utf8'))
    const whole = await run('whole', FILES)
    const changed = new Map([['virt/kvm/guest_memfd.c', ['kvm_gmem_punch_hole']]])
    const stages = stagesOf(whole, changed, reach, { filters: FILES, withSlow: false })
    if (stages === null) throw new Error('there are no parts')

    const parts = orderedRun('parts')
    // As if it was still being built.
    parts.standBy(kernel)
    const first = await parts.test(kernel, 'first', stages.first)
    const rest = await parts.test(kernel, 'rest', stages.rest)
    await parts.end()

    expect(first.tests).toHaveLength(stages.first.tests)
    expect(rest.passed + rest.failed).toBe(stages.rest.tests)
    expect(stages.first.tests).toBeGreaterThan(10)
    expect(stages.rest.tests).toBeGreaterThan(5)
    expect(keys(first, rest)).toEqual(keys(whole))
    // The VMs that stood by served both parts, and no other was needed.
    expect(first).toMatchObject({ accel: whole.accel, restored: true, deaths: [] })
    expect(rest).toMatchObject({ accel: whole.accel, restored: true, deaths: [] })
    const consoles = readdirSync(join(box.path, 'parts'), { recursive: true, encoding: 'utf8' })
    expect(consoles.filter((name) => /console-.*\.log$/.test(name)).every(isEarly)).toBe(true)
    expect(consoles.some(isEarly)).toBe(true)
  },
  RUNS_MS_MAX,
)

test(
  'VMs that stood by for a kernel that did not build are gone with the run',
  async () => {
    const parts = orderedRun('unbuilt')
    parts.standBy(kernel)
    await box.vm()

    await parts.end()

    expect(box.processes()).toEqual([])
  },
  RUNS_MS_MAX,
)

test('a run that cannot be had says why', async () => {
  const parts = orderedRun('nothing')
  const gone = { ...kernel, bzImage: join(box.path, 'no-such-image') }

  await expect(parts.test(gone, 'all', { filters: FILES })).rejects.toThrow(/no-such-image/)
  await parts.end()
})

test('gmem test --on-orders by hand is a usage error', async () => {
  const { exitCode, stderr } = await box.run(['test', '--on-orders'])

  expect(stderr).toContain('gmem watch starts such a run')
  expect(exitCode).toBe(2)
})
