// SPDX-License-Identifier: Apache-2.0
import { join } from 'node:path'
import type { Command } from 'commander'
import { ExitCode, GmemError, usageError } from '../errors.js'
import { defaultKernelSpec } from '../kernels/spec.js'
import type { BisectResult, Verdict } from '../report/bisect.js'
import type { History } from './bisect-history.js'
import type { CliContext } from './context.js'
import { atLeastOne } from './numbers.js'
import { addRunOptions, type RunFlags, runArguments } from './run-options.js'

interface BisectFlags extends RunFlags {
  readonly good: string
  readonly bad: string
  readonly tree?: string
  readonly series?: string
  readonly base: string
  readonly repeat: number
  readonly output?: string
  readonly json?: boolean
}

/** Adds `gmem bisect`. */
export function register(program: Command, context: CliContext): void {
  const command = program
    .command('bisect')
    .summary('find the commit, or the patch of a series, that broke a test')
    .description(
      'Finds the first commit of a git tree, or the first patch of a series, on which a test fails.',
    )
    .argument('<filter...>', 'the tests: parts of file names; -t narrows them')
    .requiredOption('--good <commit>', 'where they pass: a commit, or the number of a patch (0: the base)')
    .requiredOption('--bad <commit>', 'where they fail')
    .option('--tree <dir>', 'the git tree (default: the current folder); it is not written to')
    .option('--series <series>', 'search a series instead: an mbox, a folder of patches, a quilt series')
    .option('--base <kernel>', 'what the series applies to', defaultKernelSpec())
    .option('--repeat <n>', 'runs of each kernel: one failure makes it bad', atLeastOne, 1)
    .option('-o, --output <dir>', 'folder for the results, consoles and logs')
    .option('--json', 'as JSON')
  addRunOptions(command).addHelpText('after', HELP)
  command.action(async (filters: string[], flags: BisectFlags) => await search(filters, flags, context))
}

const HELP = `
Examples:
  gmem bisect conversion --good v7.3 --bad HEAD --tree ~/linux
  gmem bisect punch-hole -t 'a hole' --series v3.mbx --base 7.3 --good 0 --bad 5

Good and bad are tried first. What does not build, or where nothing runs, is skipped.

Exit codes: 0 found · 1 good is bad, or bad is good · 125 narrowed down to several, of which all but one cannot be tested ·
2 usage · 69 the machine could not run it · 130 interrupted. For git bisect run there is gmem bisect-step.`

async function search(filters: readonly string[], flags: BisectFlags, context: CliContext): Promise<void> {
  const [{ seriesHistory, treeHistory }, { bisect }, { createRunFolder }, { createTemporaryFolder }] =
    await Promise.all([
      import('./bisect-history.js'),
      import('../report/bisect.js'),
      import('../report/artefacts.js'),
      import('../temporary.js'),
    ])
  if (flags.series !== undefined && flags.tree !== undefined) {
    throw usageError('--series and --tree exclude each other', 'A series goes on top of --base.')
  }
  const work = await createTemporaryFolder('bisect')
  try {
    const history =
      flags.series === undefined
        ? await treeHistory(flags.tree ?? '.', flags, work.path, context)
        : await seriesHistory(flags.series, flags.base, flags, work.path, context)
    const folder = await createRunFolder(flags.output)
    const judge = await createJudge(history, filters, flags, folder, context)
    await requireVerdict(judge, history.good, 'good', history)
    await requireVerdict(judge, history.bad, 'bad', history)
    const result = await bisect(history.good, history.bad, { candidates: history.candidates, verdict: judge })
    context.progress.end()
    await print(result, history, folder, flags.json === true)
    process.exitCode = result.culprits.length === 1 ? ExitCode.ok : ExitCode.buildFailed
  } finally {
    context.progress.end()
    await work.remove()
  }
}

/** Builds and tests a commit; says what came of it. */
async function createJudge(
  history: History,
  filters: readonly string[],
  flags: BisectFlags,
  folder: string,
  { progress, signal }: CliContext,
): Promise<(commit: string) => Promise<Verdict>> {
  const [{ runChild }, { verdictOf }] = await Promise.all([
    import('./child-run.js'),
    import('../report/bisect.js'),
  ])
  const args = runArguments(filters, flags)
  const verdictAt = async (commit: string, name: string): Promise<Verdict> => {
    const kernel = await history.kernel(commit)
    if (kernel === null) return 'skip'
    for (let turn = 1; turn <= flags.repeat; turn++) {
      progress.phase(`testing ${name}`)
      const { run } = await runChild(kernel, args, join(folder, `${commit.slice(0, 12)}-${turn}`), signal)
      const verdict = verdictOf(run.exitCode)
      if (verdict !== 'good') return verdict ?? 'skip'
    }
    return 'good'
  }
  return async (commit) => {
    const name = await history.describe(commit)
    const verdict = await verdictAt(commit, name)
    progress.end()
    progress.note(`${verdict.padEnd(4)}  ${name}`)
    return verdict
  }
}

async function requireVerdict(
  judge: (commit: string) => Promise<Verdict>,
  commit: string,
  wanted: 'good' | 'bad',
  history: History,
): Promise<void> {
  const verdict = await judge(commit)
  // What cannot be tested is believed.
  if (verdict === wanted || verdict === 'skip') return
  const name = await history.describe(commit)
  throw new GmemError(
    `${name} was said to be ${wanted}, but the tests ${verdict === 'bad' ? 'fail' : 'pass'} there`,
    {
      exitCode: ExitCode.testFailed,
      hint: 'A test that fails now and then? --repeat 5 tells.',
    },
  )
}

async function print(result: BisectResult, history: History, folder: string, json: boolean): Promise<void> {
  const named = async (commit: string): Promise<{ commit: string; name: string }> => ({
    commit,
    name: await history.describe(commit),
  })
  const culprits = await Promise.all(result.culprits.map(named))
  if (json) {
    const tried = await Promise.all(
      result.tried.map(async ({ commit, verdict }) => ({ ...(await named(commit)), verdict })),
    )
    process.stdout.write(`${JSON.stringify({ format: 1, culprits, tried, folder }, null, 2)}\n`)
    return
  }
  const names = culprits.map(({ name }) => name)
  const verdict =
    names.length === 1
      ? `first bad: ${names[0]}`
      : ['first bad is one of these, which cannot all be tested:', ...names].join('\n  ')
  process.stdout.write(`${verdict}\n`)
}
