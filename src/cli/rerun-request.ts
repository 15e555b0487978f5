// SPDX-License-Identifier: Apache-2.0
import { GmemError, usageError } from '../errors.js'
import type { EarlierRun } from '../report/earlier-run.js'
import type { RunResult, TargetResult, TestResult } from '../report/schema.js'
import { namesPattern } from './name-pattern.js'
import type { TestRequest } from './test-run.js'

/** A request as it is kept in environment.json: the reports of the earlier run are not repeated. */
export function storedRequest(request: TestRequest): Record<string, unknown> {
  const { namePattern, outputs: _outputs, directory: _directory, ...rest } = request
  return { ...rest, namePattern: namePattern?.source }
}

/** What to ask for to repeat a run, or what failed in it; null where nothing failed. */
export function rerunRequest({ folder, request, run }: EarlierRun, onlyFailed: boolean): TestRequest | null {
  const stored = request as Partial<Omit<TestRequest, 'namePattern'>> & { namePattern?: string }
  if (!Array.isArray(stored.kernels) || !Array.isArray(stored.filters) || typeof stored.seed !== 'number') {
    throw new GmemError(`${folder}/environment.json does not say what the run was asked for`)
  }
  const { namePattern, ...rest } = stored as Omit<TestRequest, 'namePattern'> & { namePattern?: string }
  const whole: TestRequest = {
    ...rest,
    ...(namePattern === undefined ? {} : { namePattern: new RegExp(namePattern) }),
    outputs: { github: false },
  }
  if (!onlyFailed) return { ...whole, seed: seedOf(run.targets, stored.seed) }
  const narrowed = onlyTheFailed(run)
  // The failed files are not divided once more.
  return narrowed && { ...whole, shard: undefined, ...narrowed }
}

type Narrowed = Pick<TestRequest, 'kernels' | 'host' | 'filters' | 'namePattern' | 'seed'>

function onlyTheFailed(run: RunResult): Narrowed | null {
  const targets = run.targets.filter((target) => target.failed > 0)
  const failed = targets.flatMap((target) => target.tests.filter((test) => test.status === 'failed'))
  if (failed.length === 0) return null
  return {
    kernels: targets.map((target) => target.kernel).filter((kernel) => kernel !== 'host'),
    host: targets.some((target) => target.kernel === 'host'),
    filters: [...new Set(failed.map((test) => test.file))],
    seed: seedOf(targets, run.seed),
    namePattern: failed.some(isNoTest)
      ? undefined
      : new RegExp(`^${namesPattern(failed.map(({ name }) => name))}$`),
  }
}

/** Merged targets may have seeds of their own, and a run has one. */
function seedOf(targets: readonly TargetResult[], seed: number): number {
  const seeds = [...new Set(targets.map((target) => target.seed ?? seed))]
  if (seeds.length <= 1) return seeds[0] ?? seed
  throw usageError(
    `the merged targets had different seeds: ${seeds.join(', ')}`,
    'Run the parts again one by one: gmem rerun --run PART.',
  )
}

/** A file that could not be loaded, or a hook: there is no name to ask for, so whole files run. */
function isNoTest(test: TestResult): boolean {
  return test.failure === 'not-run'
}
