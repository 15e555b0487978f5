// SPDX-License-Identifier: Apache-2.0
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'
import { type Stage, stagesOf } from '../../src/cli/watch-stages.js'
import { resolveKernel } from '../../src/kernels/index.js'
import { projectRoot } from '../../src/paths.js'
import { parseReach } from '../../src/report/coverage/reach.js'
import { runSchema, type TargetResult } from '../../src/report/schema.js'
import { Sandbox } from './support/run-gmem.js'

/** Some of their tests punch holes, some do not, and some are skipped. */
const FILES = ['punch-hole', 'memslot-sharing']
/** For a VM that boots and is saved, and three runs, in ms. */
const RUNS_MS_MAX = 600_000

let box: Sandbox

beforeAll(async () => {
  box = await Sandbox.create()
})
afterAll(async () => await box.remove())
afterEach(async () => expect(await box.leftovers()).toEqual([]))

async function run(name: string, filters: readonly string[], ...options: string[]): Promise<TargetResult> {
  const { bzImage } = await resolveKernel()
  const json = join(box.path, `${name}.json`)
  await box.run(['test', ...filters, ...options, '-k', bzImage, '--seed=1', `--json=${json}`])
  const [target] = runSchema.parse(JSON.parse(readFileSync(json, 'utf8'))).targets
  if (target === undefined) throw new Error(`${json} has no target`)
  return target
}

const runStage = async (name: string, stage: Stage): Promise<TargetResult> =>
  await run(name, stage.filters, `--name=${stage.name}`)

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

    const first = await runStage('first', stages.first)
    const rest = await runStage('rest', stages.rest)

    expect(first.tests).toHaveLength(stages.first.tests)
    expect(rest.passed + rest.failed).toBe(stages.rest.tests)
    expect(stages.first.tests).toBeGreaterThan(10)
    expect(stages.rest.tests).toBeGreaterThan(5)
    expect(keys(first, rest)).toEqual(keys(whole))
  },
  RUNS_MS_MAX,
)
