// SPDX-License-Identifier: Apache-2.0
import { mkdir } from 'node:fs/promises'
import { Writable } from 'node:stream'
import { createVitest, type TestCase, type UserWorkspaceConfig, type Vitest } from 'vitest/node'
import { projectRoot } from '../../../src/paths.js'
import { compiledApi } from '../../../src/pool/compiled-api.js'
import type { JudgedSplat } from '../../../src/pool/guest/trouble.js'
import {
  createKernelPool,
  type KernelPool,
  type KernelPoolOptions,
  type PoolEvent,
} from '../../../src/pool/index.js'
import { createTemporaryFolder } from '../../../src/temporary.js'
import type { Ground } from './ground.js'

/** What a test of a fixture came to. */
export interface FixtureTest {
  readonly name: string
  readonly state: 'passed' | 'failed' | 'skipped' | 'pending'
  readonly errors: readonly { readonly name: string; readonly message: string }[]
  readonly failure: string | undefined
  readonly splats: readonly JudgedSplat[]
  readonly durationMs: number
}

/** A fixture file that ran in VMs of its own. */
export interface FixtureRun {
  readonly tests: readonly FixtureTest[]
  /** Errors that no test has. */
  readonly unhandled: readonly string[]
  readonly events: readonly PoolEvent[]
  /** How many VMs it took. */
  readonly vms: number
  test(name: string): FixtureTest
  /** All tests in order, each with a line that says what came of it: `failed KernelSplat/splat [WARN]`. */
  readonly outcomes: Readonly<Record<string, string>>
}

export type FixtureOptions = Partial<Omit<KernelPoolOptions, 'kernel' | 'runDir' | 'extraFiles'>> & {
  /** Called when the run has begun, with the folder where the VMs' consoles grow. */
  readonly meanwhile?: (runDir: string, signal: AbortSignal) => Promise<void>
}

/** Runs tests/harness/fixtures/NAME.test.ts on a kernel through the pool and vitest, just as a contract test file is run. */
export async function runFixture(
  ground: Ground,
  name: string,
  options: FixtureOptions = {},
): Promise<FixtureRun> {
  const { meanwhile, ...poolOptions } = options
  const folder = await createTemporaryFolder(`fixture-${name}`)
  const events: PoolEvent[] = []
  await mkdir(folder.path, { recursive: true })
  const pool = createKernelPool({
    accelerator: 'auto',
    ...poolOptions,
    kernel: ground.kernel,
    runDir: folder.path,
    extraFiles: [ground.module],
    env: { GMEM_PLANT_MODULE: ground.module, ...poolOptions.env },
    onEvent: (event) => events.push(event),
  })
  const over = new AbortController()
  const background = meanwhile?.(folder.path, over.signal)
  const exitCode = process.exitCode
  const vitest = await createEngine(name, pool)
  try {
    const { unhandledErrors } = await vitest.start([`fixtures/${name}.test.ts`])
    over.abort()
    await background
    return fixtureRun(vitest, unhandledErrors, events)
  } finally {
    over.abort()
    await vitest.close()
    await pool.close()
    await folder.remove()
    // vitest sets it when tests fail, which here they shall.
    process.exitCode = exitCode
  }
}

async function createEngine(name: string, pool: KernelPool): Promise<Vitest> {
  const project: UserWorkspaceConfig = {
    root: projectRoot,
    optimizeDeps: { noDiscovery: true, include: [] },
    resolve: { alias: compiledApi },
    test: {
      name: 'fixture',
      pool,
      include: [`tests/harness/fixtures/${name}.test.ts`],
      environment: 'node',
      testTimeout: 60_000,
      hookTimeout: 60_000,
      server: { deps: { external: [/\/dist\//] } },
    },
  }
  const silent = { config: false, root: projectRoot, watch: false, api: false, reporters: [{}] } as const
  const sink = (): Writable => new Writable({ write: (_chunk, _encoding, done) => done() })
  return await createVitest(
    'test',
    { ...silent, reporters: [...silent.reporters], projects: [project], teardownTimeout: 3_000 },
    { logLevel: 'error', server: { ws: false, hmr: false, watch: null } },
    { stdout: sink() as NodeJS.WriteStream, stderr: sink() as NodeJS.WriteStream },
  )
}

function fixtureRun(vitest: Vitest, unhandled: readonly unknown[], events: readonly PoolEvent[]): FixtureRun {
  const modules = vitest.state.getTestModules()
  const tests = modules.flatMap((module) => [...module.children.allTests()].map(fixtureTest))
  const errors = modules.flatMap((module) => module.errors().map(({ message }) => message))
  return {
    tests,
    unhandled: [
      ...errors,
      ...unhandled.map((error) => (error instanceof Error ? error.message : String(error))),
    ],
    events,
    vms: events.filter(({ type }) => type === 'booted').length,
    test: (name) => {
      const found = tests.find((test) => test.name === name)
      if (!found)
        throw new Error(
          `the fixture has no test "${name}", only ${tests.map((test) => test.name).join(', ')}`,
        )
      return found
    },
    outcomes: Object.fromEntries(tests.map((test) => [test.name, outcomeOf(test)])),
  }
}

function fixtureTest(test: TestCase): FixtureTest {
  const { state, errors } = test.result()
  const meta = test.meta() as { failure?: string; splats?: JudgedSplat[]; durationMs?: number }
  return {
    name: test.fullName,
    state,
    errors: (errors ?? []).map(({ name, message }) => ({ name: name ?? 'Error', message })),
    failure: meta.failure,
    splats: meta.splats ?? [],
    durationMs: meta.durationMs ?? test.diagnostic()?.duration ?? 0,
  }
}

function outcomeOf({ state, errors, failure, splats }: FixtureTest): string {
  const why = errors.map(({ name }) => name).join('+')
  const kind = failure === undefined ? '' : `/${failure}`
  const seen = splats.map((splat) =>
    splat.allowed === undefined ? splat.kind : `${splat.kind}: ${splat.allowed}`,
  )
  return [state, why + kind, seen.length > 0 ? `[${seen.join(', ')}]` : '']
    .filter((part) => part !== '')
    .join(' ')
}
