// SPDX-License-Identifier: Apache-2.0
import { basename, dirname, join } from 'node:path'
import type { Command } from 'commander'
import { ExitCode, usageError } from '../errors.js'
import { cacheRoot } from '../paths.js'
import type { Comparison } from '../report/compare.js'
import type { RunResult, TargetResult } from '../report/schema.js'
import type { CliContext } from './context.js'
import { atLeastOne } from './numbers.js'
import { addRunOptions, type RunFlags, runArguments } from './run-options.js'

interface CompareFlags extends RunFlags {
  readonly repeat: number
  readonly target?: string
  readonly output?: string
  readonly json?: boolean
}

/** One side of a comparison: the same tests on one target, once or several times. */
interface Side {
  /** What was given. */
  readonly given: string
  readonly runs: readonly TargetResult[]
  /** The folders of its runs. */
  readonly folders: readonly string[]
}

/** Adds `gmem compare`. */
export function register(program: Command, context: CliContext): void {
  const command = program
    .command('compare')
    .summary('say what changed from one kernel, or one result, to another')
    .description(
      'Compares two kernels, on which it runs the contract, or two results that are there already: what broke, was fixed, appeared,\n' +
        'vanished, skips now, changed its splat, or its time beyond noise.',
    )
    .argument('<a>', 'a kernel as -k takes it; or a result: a run folder, its result.json, or latest')
    .argument('<b>', 'the same, to be judged against A')
    .argument('[filter...]', 'parts of file names, where kernels are given')
    .option(
      '--repeat <n>',
      'runs on each kernel, in turns: tells flaky tests from broken ones',
      atLeastOne,
      1,
    )
    .option('--target <id>', 'which target, where a result has several')
    .option('-o, --output <dir>', 'folder for the runs and their comparison')
    .option('--json', 'as JSON')
  addRunOptions(command).addHelpText('after', HELP)
  command.action(async (a: string, b: string, filters: string[], flags: CompareFlags) => {
    const [one, other] = await sidesOf(a, b, filters, flags, context)
    const { compareTargets } = await import('../report/compare.js')
    const comparison = compareTargets(one.runs, other.runs)
    await print(one, other, comparison, flags.json === true)
    process.exitCode = exitCodeOf(comparison)
  })
}

const HELP = `
Examples:
  gmem compare 7.3 ~/linux conversion      a release against your tree
  gmem compare 7.3 ~/linux --repeat 3      and tell flaky tests apart
  gmem compare before/ latest              an earlier run against the latest

Exit codes: 0 B is not worse than A · 1 B is worse: a test broke, became flaky, or is newly skipped ·
3 B is worse only by a splat · 2 usage · 69 one side could not be run · 125 a kernel did not build · 130 interrupted.
A test that only one side has, one for kernels without what B has, and time make nothing worse. Time is compared from --repeat 3 on.`

function exitCodeOf({ worse, changes }: Comparison): ExitCode {
  if (!worse) return ExitCode.ok
  const onlySplats = changes.every(({ kind }) => !['broke', 'flaky', 'skips'].includes(kind))
  return onlySplats ? ExitCode.splat : ExitCode.testFailed
}

async function sidesOf(
  a: string,
  b: string,
  filters: readonly string[],
  flags: CompareFlags,
  context: CliContext,
): Promise<readonly [Side, Side]> {
  const [storedA, storedB] = [await resultFileOf(a), await resultFileOf(b)]
  if (storedA === null && storedB === null) return await runBoth(a, b, filters, flags, context)
  if (storedA === null || storedB === null) {
    const [kernel, result] = storedA === null ? [a, b] : [b, a]
    throw usageError(
      `${result} is a stored result and ${kernel} is not`,
      `Run the kernel first: gmem test -k ${kernel} -o DIR, then compare with DIR.`,
    )
  }
  if (filters.length > 0 || flags.repeat > 1) {
    throw usageError('filters and --repeat are for kernels: stored results are compared as they are')
  }
  return pair(a, await readResult(storedA), b, await readResult(storedB), flags.target)
}

/** The result.json that an argument means, or null where it means a kernel. */
async function resultFileOf(text: string): Promise<string | null> {
  if (text === 'latest') return join(cacheRoot(), 'runs', 'latest', 'result.json')
  return (await import('../report/stored-result.js')).resultFileAt(text)
}

async function readResult(file: string): Promise<{ run: RunResult; folder: string }> {
  const { readResultFile } = await import('../report/stored-result.js')
  return { run: await readResultFile(file), folder: dirname(file) }
}

/** The targets to compare: the one asked for, the one that both have, or the only ones there are. */
function pair(
  a: string,
  one: { run: RunResult; folder: string },
  b: string,
  other: { run: RunResult; folder: string },
  wanted: string | undefined,
): readonly [Side, Side] {
  const ids = (run: RunResult): string[] => run.targets.map(({ id }) => id)
  const common = ids(one.run).filter((id) => ids(other.run).includes(id))
  const id = wanted ?? (common.length === 1 ? common[0] : undefined)
  const pick = ({ run }: { run: RunResult }): TargetResult | undefined =>
    id === undefined && run.targets.length === 1
      ? run.targets[0]
      : run.targets.find((target) => target.id === id)
  const [targetA, targetB] = [pick(one), pick(other)]
  if (!targetA || !targetB) {
    throw usageError(
      `which targets are to be compared is not clear: A has ${ids(one.run).join(', ')}; B has ${ids(other.run).join(', ')}`,
      'Name one that both have with --target ID.',
    )
  }
  return [
    { given: a, runs: [targetA], folders: [one.folder] },
    { given: b, runs: [targetB], folders: [other.folder] },
  ]
}

async function runBoth(
  a: string,
  b: string,
  filters: readonly string[],
  flags: CompareFlags,
  { progress, signal }: CliContext,
): Promise<readonly [Side, Side]> {
  const [{ resolveKernel }, { runChild }, { createRunFolder }] = await Promise.all([
    import('../kernels/index.js'),
    import('./child-run.js'),
    import('../report/artefacts.js'),
  ])
  const kernels = []
  for (const spec of [a, b]) kernels.push(await resolveKernel(spec, { build: true, progress, signal }))
  const folder = await createRunFolder(flags.output)
  const args = runArguments(filters, flags)
  const sides = [a, b].map((given) => ({ given, runs: [] as TargetResult[], folders: [] as string[] }))
  // In turns, so that a machine that gets busier makes both slower.
  for (let turn = 1; turn <= flags.repeat; turn++) {
    for (const [index, kernel] of kernels.entries()) {
      const side = sides[index]
      if (side === undefined) continue
      progress.phase(`testing ${kernel.id}${flags.repeat > 1 ? `, run ${turn} of ${flags.repeat}` : ''}`)
      const { target, folder: own } = await runChild(
        kernel,
        args,
        join(folder, `${'ab'[index]}-${turn}`),
        signal,
      )
      side.runs.push(target)
      side.folders.push(own)
    }
  }
  progress.end()
  const [one, other] = sides
  if (one === undefined || other === undefined) throw new Error('two kernels are two sides')
  return [one, other]
}

async function print(a: Side, b: Side, comparison: Comparison, json: boolean): Promise<void> {
  if (json) {
    const side = ({ given, runs, folders }: Side): object => ({
      given,
      id: runs[0]?.id,
      release: runs[0]?.release,
      folders,
    })
    const value = { format: 1, a: side(a), b: side(b), ...comparison }
    process.stdout.write(`${JSON.stringify(value, null, 2)}\n`)
    return
  }
  const [{ comparisonLines, sideLine }, { coloursFor }] = await Promise.all([
    import('../report/compare-text.js'),
    import('../report/style.js'),
  ])
  const columns = process.stdout.columns || 100
  const lines = [
    sideLine('A', nameOf(a), a.runs.length),
    sideLine('B', nameOf(b), b.runs.length),
    '',
    ...comparisonLines(comparison, coloursFor(process.stdout), columns),
  ]
  process.stdout.write(`${lines.join('\n')}\n`)
}

function nameOf({ given, runs, folders }: Side): string {
  const [target] = runs
  const counts = target ? `${target.passed} passed, ${target.failed} failed, ${target.skipped} skipped` : ''
  const where =
    runs.length === 1 ? ` (${folders[0]})` : ` (${dirname(folders[0] ?? '')}/${basename(folders[0] ?? '')} …)`
  return `${given}: ${target?.id} ${target?.release}, ${counts}${where}`
}
