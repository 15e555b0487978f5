// SPDX-License-Identifier: Apache-2.0
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Command } from 'commander'
import { usageError } from '../errors.js'
import { defaultKernelSpec } from '../kernels/spec.js'
import type { CliContext } from './context.js'
import { atLeastOne } from './numbers.js'
import { addRunOptions, type RunFlags, runArguments } from './run-options.js'

interface SeriesFlags extends RunFlags {
  readonly base: string
  readonly every?: boolean
  readonly ends?: boolean
  readonly repeat: number
  readonly output?: string
  readonly json?: boolean
}

/** Adds `gmem series`. */
export function register(program: Command, context: CliContext): void {
  const command = program
    .command('series')
    .summary('say what each patch of a series does to the tests')
    .description(
      'Applies the patches of a series one by one, builds and tests. Tests the base and the tip, and, where they differ, looks by halves\n' +
        'for the patch that makes the difference. What does not apply or build is named, and the rest goes on without it.',
    )
    .argument(
      '<series>',
      'an mbox (b4 am, git format-patch), a folder of patches, a quilt series, or a range of commits',
    )
    .argument('[filter...]', 'parts of file names: conversion, bounds; default: all')
    .option(
      '--base <kernel>',
      'what it applies to: a version or a source tree ($GMEM_KERNEL, else 7.3)',
      defaultKernelSpec(),
    )
    .option('--every', 'test each patch')
    .option('--ends', 'test the base and the tip, and nothing between')
    .option('--repeat <n>', 'runs of each kernel: tells flaky tests from broken ones', atLeastOne, 1)
    .option('-o, --output <dir>', 'folder for the results, consoles and logs')
    .option('--json', 'as JSON')
  addRunOptions(command).addHelpText('after', HELP)
  command.action(async (input: string, filters: string[], flags: SeriesFlags) => {
    if (flags.every && flags.ends) throw usageError('--every and --ends exclude each other')
    await trySeries(input, filters, flags, context)
  })
}

const HELP = `
Examples:
  gmem series v3_kvm_gmem.mbx conversion       one that b4 am fetched, on 7.3
  gmem series patches/ --base ~/linux --every  a folder of patches, each tested
  gmem series v7.3..topic --base ~/linux       commits of your tree, which stays as it is

Exit codes: 0 no patch that was tested makes anything worse · 1 one does · 3 one does, only by a splat · 2 usage ·
69 the machine could not run it · 125 a patch does not apply or build · 130 interrupted.`

async function trySeries(
  input: string,
  filters: readonly string[],
  flags: SeriesFlags,
  context: CliContext,
): Promise<void> {
  const [{ openSeries }, { SeriesPoints }, { SeriesRun }, { createRunFolder }, { createTemporaryFolder }] =
    await Promise.all([
      import('./open-series.js'),
      import('./series-points.js'),
      import('./series-run.js'),
      import('../report/artefacts.js'),
      import('../temporary.js'),
    ])
  const work = await createTemporaryFolder('series')
  try {
    const { series, baseline, repo } = await openSeries(input, flags.base, work.path, context)
    for (const reason of series.leftOut) context.progress.note(`left out: ${reason}`)
    const folder = await createRunFolder(flags.output)
    const options = { args: runArguments(filters, flags), repeat: flags.repeat, folder }
    const run = new SeriesRun(new SeriesPoints(baseline, repo, options, context), series.patches)
    const mode = flags.every ? 'every' : flags.ends ? 'ends' : 'bisect'
    await run.try(mode)
    context.progress.end()
    const result = await run.result({ series: input, base: flags.base, mode, folder })
    await writeFile(join(folder, 'series.json'), `${JSON.stringify(result, null, 2)}\n`)
    if (flags.json) process.stdout.write(`${JSON.stringify(result, null, 2)}\n`)
    else {
      const [{ seriesLines }, { coloursFor }] = await Promise.all([
        import('../report/series.js'),
        import('../report/style.js'),
      ])
      const lines = seriesLines(result, coloursFor(process.stdout), process.stdout.columns || 140)
      process.stdout.write(`${lines.join('\n')}\n`)
    }
    process.exitCode = result.exitCode
  } finally {
    context.progress.end()
    await work.remove()
  }
}
