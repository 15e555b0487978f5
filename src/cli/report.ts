// SPDX-License-Identifier: Apache-2.0
import { writeFile } from 'node:fs/promises'
import { resolve } from 'node:path'
import type { Command } from 'commander'
import type { RunResult } from '../report/schema.js'
import type { Screen } from '../report/screen.js'
import type { CliContext } from './context.js'
import { addReportOptions, outputsOf, type ReportFlags, reportingCommand } from './report-options.js'

interface MergeFlags extends ReportFlags {
  readonly output: string
  readonly html?: string
}

/** Adds `gmem report`. */
export function register(program: Command, _context: CliContext): void {
  const report = program
    .command('report')
    .summary('put results together that several machines or runs gave')
    .description('What can be made of results that are there already.')
    .addHelpText('after', EXAMPLES)
  const merge = reportingCommand(report, 'merge')
    .summary('make one result of the parts that gmem test --shard gave, and of several kernels')
    .description(
      'Merges results of gmem test into one: all shards of a run, and runs on several kernels. A kernel is known by its id, its release ' +
        'and its accelerator; what differs in one of them stays apart. The folder that it writes is as one of gmem test -o: gmem compare ' +
        'and gmem rerun --run read it.',
    )
    .argument('<result...>', 'folders that gmem test -o wrote, or the result.json in them')
    .requiredOption(
      '-o, --output <dir>',
      'folder for the merged result, consoles and environment: new, or empty',
    )
    .option('--html <file>', 'the page of gmem matrix, with a cell for each kernel')
  addReportOptions(merge).addHelpText('after', HELP)
  merge.action(async (given: string[], flags: MergeFlags) => {
    process.exitCode = await mergeResults(given, flags)
  })
}

const EXAMPLES = `
Examples:
  gmem report merge part1 part2 -o whole     the two shards of a run`

const HELP = `
Examples:
  gmem report merge part1 part2 -o whole     after gmem test --shard=1/2 -o part1, and 2/2, on machines of their own
  gmem report merge */ -o whole --junit=junit.xml --html=matrix.html
  gmem compare yesterday/ whole/             what changed since

Exit codes: what one run of all of it would have exited with (gmem test --help); 2 where the parts make no whole: a shard is missing or
there twice, a test has two different results, the parts are of different versions of gmem, or have different seeds of one kernel.`

async function mergeResults(given: readonly string[], flags: MergeFlags): Promise<number> {
  const [outputting, { readPart }, { mergeInto }, { Screen }] = await Promise.all([
    import('./outputs.js'),
    import('../report/merge-parts.js'),
    import('../report/merge-folder.js'),
    import('../report/screen.js'),
  ])
  const { checkOutputs, checkWritable, usesStdout, writeOutputs } = outputting
  const outputs = outputsOf(flags)
  checkOutputs(outputs)
  if (flags.html !== undefined) checkWritable('html', flags.html)
  const parts = await Promise.all(given.map(readPart))
  const merged = await mergeInto(flags.output, parts)
  const screen = new Screen(usesStdout(outputs) ? process.stderr : process.stdout)
  if (flags.html !== undefined) {
    const { mergedPage } = await import('../report/merge-page.js')
    await writeFile(resolve(flags.html), await mergedPage(merged, `merged from ${given.join(', ')}`))
  }
  for (const note of merged.notes) screen.print(`${screen.colours.yellow('!')} ${note}`)
  await printFailures(merged.run, screen)
  await writeOutputs(merged.run, outputs, screen)
  const { summaryLines } = await import('../report/summary.js')
  screen.print(summaryLines(merged.run, screen.colours, screen.columns))
  return merged.run.exitCode
}

/** As gmem test shows them when they come. */
async function printFailures({ targets }: RunResult, screen: Screen): Promise<void> {
  const [{ failureLines }, { projectRoot }] = await Promise.all([
    import('../report/failure.js'),
    import('../paths.js'),
  ])
  const { colours, columns } = screen
  const width = Math.max(...targets.map(({ id }) => id.length))
  const seenSplats = new Map<string, number>()
  for (const { id, tests } of targets) {
    const context = { target: id.padEnd(width), root: projectRoot, colours, columns, seenSplats }
    for (const test of tests) {
      if (test.status === 'failed' || test.flaky) screen.print(failureLines(test, context))
    }
  }
}
