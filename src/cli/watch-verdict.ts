// SPDX-License-Identifier: Apache-2.0
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { firstLine, GmemError } from '../errors.js'
import type { KernelImage } from '../kernels/types.js'
import { projectRoot } from '../paths.js'
import type { Reach } from '../report/coverage/reach.js'
import type { TargetResult } from '../report/schema.js'
import type { CliContext } from './context.js'
import type { OrderedRun } from './ordered-run.js'
import type { Selection } from './orders.js'
import { duration } from './progress.js'
import type { RunFlags } from './run-options.js'
import { TEST_FOLDER } from './test-files.js'
import { type ChangedFunctions, joined, onlyTestsOf, type Stages, stagesOf } from './watch-stages.js'

/** What `gmem coverage` found that the tests of the contract run, on the default kernel. */
const REACH_FILE = join(projectRoot, TEST_FOLDER, 'reach.json')

/** What is watched, and with what it is tested. */
export interface WatchRequest {
  readonly tree: string
  readonly filters: readonly string[]
  /** With a seed: all rounds make the same choices. */
  readonly flags: RunFlags
}

/** One build and run. */
export interface Round {
  /** For its results. */
  readonly folder: string
  /** What was saved, for people. */
  readonly what: string
  /** The result of the round before. */
  readonly before: TargetResult | null
  /** The kernel of the round before, where the tree has changed since; else null. */
  readonly earlier: KernelImage | null
  /** All that has changed since; null where that is not known function by function. */
  readonly changed: ChangedFunctions | null
}

/** A kernel, and what its tests gave. */
export interface Judged {
  readonly target: TargetResult
  readonly kernel: KernelImage
}

/**
 * Builds, runs, and says what came of it: first of the tests that run what was changed, where that is known, then of all. Null where there
 * is no result: it does not build, or something was saved meanwhile.
 */
export async function verdict(
  request: WatchRequest,
  round: Round,
  context: CliContext,
): Promise<Judged | null> {
  const { progress, signal } = context
  const [{ resolveKernel }, { OrderedRun }] = await Promise.all([
    import('../kernels/index.js'),
    import('./ordered-run.js'),
  ])
  const start = performance.now()
  const run = new OrderedRun(request.flags, round.folder, signal)
  try {
    // Its VMs come up while make runs.
    if (round.earlier !== null) run.standBy(round.earlier)
    const kernel = await resolveKernel(request.tree, { build: true, progress, signal })
    const builtMs = performance.now() - start
    const times = (): string =>
      `${duration(performance.now() - start)} after that, ${duration(builtMs)} of it to build`
    const say = (lines: readonly string[]): void => {
      progress.end()
      process.stdout.write(`\n${round.what}: ${times()}\n${lines.join('\n')}\n`)
    }
    const target = await new Trial({ request, round, kernel, context, run }, say).run()
    return { target, kernel }
  } catch (error) {
    progress.end()
    if (signal.aborted) return null
    if (!(error instanceof GmemError)) throw error
    process.stdout.write(`\n${round.what}: ${error.message}\n${error.hint ?? ''}\n`)
    return null
  } finally {
    await run.end()
  }
}

interface Trying {
  readonly request: WatchRequest
  readonly round: Round
  readonly kernel: KernelImage
  readonly context: CliContext
  readonly run: OrderedRun
}

class Trial {
  constructor(
    readonly trying: Trying,
    readonly say: (lines: readonly string[]) => void,
  ) {}

  async run(): Promise<TargetResult> {
    const { round, kernel, request } = this.trying
    const { before } = round
    const divided = await this.#stages()
    if (divided === null) {
      const { filters, flags } = request
      const target = await this.#test(`testing ${kernel.id}`, 'all', { filters, name: flags.name })
      this.say(await verdictLines(before, target))
      return target
    }
    const { stages, what } = divided
    const first = await this.#test(`testing what runs ${what}`, 'first', stages.first)
    this.say([
      describeFirst(stages, what),
      ...(await verdictLines(before && onlyTestsOf(first, before), first)),
      `now the other ${stages.rest.tests}`,
    ])
    const rest = await this.#test('testing the rest', 'rest', stages.rest)
    const target = joined(first, rest)
    // What failed in the first part has been said.
    this.say(['all:', ...failureLines(rest), await countsLine(before, target)])
    return target
  }

  /** The parts in which the tests run, and what of the kernel the first of them is about; null for all at once. */
  async #stages(): Promise<{ stages: Stages; what: string } | null> {
    const { before, changed } = this.trying.round
    const { filters, flags } = this.trying.request
    if (before === null || changed === null || flags.name !== undefined) return null
    const reach = await readReach()
    if (reach === null) return null
    const stages = stagesOf(before, changed, reach, { filters, withSlow: flags.all ?? false })
    if (stages === null) return null
    const functions = [...changed.values()].flat().map((name) => `${name}()`)
    return { stages, what: `${functions.join(', ')} (as on ${reach.release})` }
  }

  async #test(what: string, part: string, { filters, name }: Selection): Promise<TargetResult> {
    const { run, kernel, context } = this.trying
    context.progress.phase(what)
    return await run.test(kernel, part, { filters, name })
  }
}

function describeFirst({ concerned, first: { tests } }: Stages, what: string): string {
  if (tests >= concerned) return `${tests} tests run ${what}:`
  return `${tests} of the ${concerned} tests that run ${what}; together they take each way through it:`
}

async function readReach(): Promise<Reach | null> {
  const { parseReach } = await import('../report/coverage/reach.js')
  try {
    return parseReach(readFileSync(REACH_FILE, 'utf8'))
  } catch (error) {
    process.stdout.write(
      `\nnote: ${TEST_FOLDER}/reach.json cannot be read (${firstLine(error)}), so all tests run at once; gmem coverage --all makes it anew\n`,
    )
    return null
  }
}

/** Every test that fails with why, the counts, and what changed since the run before. */
async function verdictLines(before: TargetResult | null, target: TargetResult): Promise<string[]> {
  return [...failureLines(target), await countsLine(before, target)]
}

function failureLines({ tests }: TargetResult): string[] {
  return tests
    .filter(({ status }) => status === 'failed')
    .map(({ file, name, error }) => `✗ ${file}: ${name}\n    ${error?.message.split('\n')[0] ?? ''}`)
}

async function countsLine(before: TargetResult | null, target: TargetResult): Promise<string> {
  const counts = `${target.passed} passed, ${target.failed} failed, ${target.skipped} skipped`
  if (before === null) return counts
  const [{ compareTargets }, { changeCounts }] = await Promise.all([
    import('../report/compare.js'),
    import('../report/compare-text.js'),
  ])
  const changes = changeCounts(compareTargets([before], [target]).changes)
  return `${counts}; since the last run: ${changes === '' ? 'no change' : changes}`
}
