// SPDX-License-Identifier: Apache-2.0
import { availableParallelism, freemem } from 'node:os'
import { join } from 'node:path'
import type {
  createVitest,
  InlineConfig,
  Reporter,
  TestSequencerConstructor,
  TestSpecification,
  Vitest,
} from 'vitest/node'
import { cacheRoot, projectRoot } from '../paths.js'
import { currentSignalHandlers } from '../pool/signal-handlers.js'
import { linesTo, type Screen } from '../report/screen.js'
import { type Shard, shardText } from '../report/shard.js'
import { compareTexts, groupBy } from '../report/values.js'
import type { Target } from './targets.js'

/** What one VM may take of the host's memory, with QEMU's own share, in bytes. */
export const VM_BYTES = 1.5 * 2 ** 30
/** Test files that run at once, at most, where the machine would carry more. */
export const WORKERS_MAX = 8

type ViteOptions = NonNullable<Parameters<typeof createVitest>[2]>

export interface EngineOptions {
  readonly targets: readonly Target[]
  readonly reporters: readonly Reporter[]
  readonly screen: Screen
  readonly seed: number
  readonly watch: boolean
  readonly workers?: number | undefined
  readonly namePattern?: RegExp | undefined
  readonly shard?: Shard | undefined
  /** Called with the test files of the shard and all that there are: vitest tells its reporters of all of them. */
  readonly onSharded?: (own: readonly TestSpecification[], all: readonly TestSpecification[]) => void
}

/**
 * vitest, set up to start fast: no config file to look for and bundle, no dependency scan, no file watcher, no web socket, no
 * type checker. Seen on 2 busy cores: 0.3 s to load it, 0.06 s to set it up.
 */
export async function createEngine(options: EngineOptions): Promise<Vitest> {
  const node = await import('vitest/node')
  class ByTarget extends node.BaseSequencer {
    override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
      return takeTurns(await super.sort(files))
    }

    /** vitest's own division, of files in an order that is the same wherever the shards run: that in which targets were read is not. */
    override async shard(files: TestSpecification[]): Promise<TestSpecification[]> {
      const own = await super.shard(files.toSorted((a, b) => compareTexts(a.project.name, b.project.name)))
      options.onSharded?.(own, files)
      return own
    }
  }
  const handlers = currentSignalHandlers()
  const vitest = await node.createVitest('test', testOptions(options, ByTarget), viteOptions(options), {
    // vitest's own words go through the screen, so that they do not land in the middle of the status line.
    stdout: linesTo(options.screen),
    stderr: linesTo(options.screen),
  })
  handlers.removeNew()
  return vitest
}

function testOptions(
  options: EngineOptions,
  sequencer: TestSequencerConstructor,
): InlineConfig & { config: false } {
  return {
    config: false,
    root: projectRoot,
    watch: options.watch,
    api: false,
    reporters: [...options.reporters],
    projects: options.targets.map(({ project }) => project),
    sequence: { seed: options.seed, sequencer },
    passWithNoTests: true,
    allowOnly: !process.env.CI,
    teardownTimeout: 3_000,
    maxWorkers: options.workers ?? defaultWorkers(options.targets),
    ...(options.namePattern === undefined ? {} : { testNamePattern: options.namePattern }),
    ...(options.shard === undefined ? {} : { shard: shardText(options.shard) }),
  }
}

function viteOptions({ watch }: EngineOptions): ViteOptions {
  return {
    // Run times are kept here: the next run starts what failed, and what takes long, first.
    cacheDir: join(cacheRoot(), 'vitest'),
    logLevel: 'error',
    optimizeDeps: { noDiscovery: true, include: [] },
    server: { ws: false, hmr: false, ...(watch ? {} : { watch: null }) },
  }
}

/** The targets' files in turns, so that the first results of a fast target do not wait for the VMs of a slow one. */
function takeTurns(files: readonly TestSpecification[]): TestSpecification[] {
  const queues = [...groupBy(files, ({ project }) => project.name).values()]
  const longest = Math.max(0, ...queues.map((queue) => queue.length))
  return Array.from({ length: longest }, (_, turn) => queues.flatMap((queue) => queue[turn] ?? [])).flat()
}

/**
 * As many as there are processors, and at least one a target. VMs need memory, too, and one more of them keeps the processors busy while
 * the others wait: each VM that a test closes waits some 20 ms for RCU (kvm_mmu_uninit_vm's rcu_barrier).
 */
export function defaultWorkers(targets: readonly Pick<Target, 'kernel'>[]): number {
  const processors = availableParallelism()
  const hasVms = targets.some(({ kernel }) => kernel !== null)
  const wanted = hasVms ? Math.min(processors + 1, Math.floor(freemem() / VM_BYTES)) : processors
  return Math.max(targets.length, Math.min(wanted, WORKERS_MAX))
}
