// SPDX-License-Identifier: Apache-2.0
import type { MergePart } from '../../src/report/merge-parts.js'
import type { RunResult, TargetResult, TestResult } from '../../src/report/schema.js'
import { parseShard } from '../../src/report/shard.js'
import { exampleRun, exampleTarget } from './report-example.js'

/** What of a part differs from the example. */
export interface PartFields {
  readonly shard?: string
  readonly targets?: readonly TargetResult[]
  readonly run?: Partial<RunResult>
  readonly request?: Readonly<Record<string, unknown>>
  readonly commit?: string | null
  /** Of its kernel 7.3. */
  readonly key?: string
}

/** A result as a folder of `gmem test -o` called `given` would give it. */
export function part(given: string, fields: PartFields = {}): MergePart {
  const { shard, targets = [kernel([])], run, request, commit = 'c0ffee', key = 'k' } = fields
  const parsed = shard === undefined ? null : parseShard(shard)
  const sum = (count: 'passed' | 'failed' | 'skipped'): number =>
    targets.reduce((total, target) => total + target[count], 0)
  return {
    given,
    folder: `/parts/${given}`,
    run: {
      ...exampleRun(),
      artefacts: '/runner/result',
      seed: 0,
      ...(parsed && { shard: parsed }),
      passed: sum('passed'),
      failed: sum('failed'),
      skipped: sum('skipped'),
      targets: [...targets],
      ...run,
    },
    environment: {
      gmem: { commit },
      request: { filters: [], kernels: ['7.3'], host: false, all: false, failOnSkip: false, ...request },
      kernels: [{ id: '7.3', key }],
    },
  }
}

/** The target 7.3, with these tests and the files that they are in. */
export function kernel(tests: readonly TestResult[], fields: Partial<TargetResult> = {}): TargetResult {
  const files = [...new Set(tests.map(({ file }) => file))].map((file) => ({ file, durationMs: 100 }))
  return { ...exampleTarget('7.3', [...tests]), files, ...fields }
}

/** A test of the file tests/kernel/FILE.test.ts. */
export function tested(file: string, name: string, fields: Partial<TestResult> = {}): TestResult {
  return { file: `tests/kernel/${file}.test.ts`, name, status: 'passed', durationMs: 1, ...fields }
}
