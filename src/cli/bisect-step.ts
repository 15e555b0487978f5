// SPDX-License-Identifier: Apache-2.0
import type { Command } from 'commander'
import { ExitCode } from '../errors.js'
import type { CliContext } from './context.js'
import { addRunOptions, type RunFlags, runArguments } from './run-options.js'

/** git bisect run stops at codes from 128 on. */
const STOP = 128

/** Adds `gmem bisect-step`. */
export function register(program: Command, context: CliContext): void {
  const command = program
    .command('bisect-step')
    .summary('one step of git bisect run: build the tree, test, and say good, bad or skip')
    .description(
      'Builds the kernel of a tree as it is, runs tests on it, and exits with what git bisect run understands.',
    )
    .argument('<filter...>', 'the tests: parts of file names; -t narrows them')
    .option('-k, --kernel <tree>', 'the tree, with -FLAVOUR or +PATCHSET behind it', '.')
  addRunOptions(command).addHelpText('after', HELP)
  // git would take 2 for a bad commit, each time.
  command.exitOverride(({ exitCode }) => process.exit(exitCode === 0 ? ExitCode.ok : STOP))
  command.action(async (filters: string[], flags: RunFlags & { readonly kernel: string }) => {
    const { runGmem } = await import('./child-run.js')
    const code = await runGmem(
      ['test', ...runArguments(filters, flags), '-k', flags.kernel],
      null,
      context.signal,
    )
    process.exitCode = await stepCode(code)
  })
}

const HELP = `
Examples:
  cd ~/linux && git bisect start HEAD v7.3
  git bisect run gmem bisect-step conversion

Exit codes: 0 good · 1 bad: a test failed, the kernel splatted, died or hung · 125 skip: it did not build, nothing ran, or this machine
could not run it · 128 git bisect run stops: the command line is wrong · 130 it was interrupted.`

async function stepCode(code: number): Promise<number> {
  if (code === ExitCode.interrupted) return code
  const { verdictOf } = await import('../report/bisect.js')
  const verdict = verdictOf(code)
  if (verdict === null) return STOP
  return { good: ExitCode.ok, bad: ExitCode.testFailed, skip: ExitCode.buildFailed }[verdict]
}
