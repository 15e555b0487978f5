// SPDX-License-Identifier: Apache-2.0
import type { Command } from 'commander'
import type { CliContext } from './context.js'

/** Adds `gmem rerun`. */
export function register(program: Command, context: CliContext): void {
  program
    .command('rerun')
    .summary('run the latest run again, or only what failed in it')
    .description('Runs the tests of an earlier run again: same targets, same seed, same options.')
    .option('--failed', 'only the tests that failed, on the targets where they failed')
    .option('--run <dir>', "an earlier run's folder (default: the latest)")
    .option('--watch', 'run again when a test file changes')
    .addHelpText(
      'after',
      `
Examples:
  gmem rerun --failed                    what failed in the latest run
  gmem rerun --failed --watch            and again whenever a test file changes
  gmem rerun --run ~/.cache/gmem/runs/2026-11-21T09-12-30.123Z-4711`,
    )
    .action(async (options: { failed?: boolean; run?: string; watch?: boolean }) => {
      const [{ readRun }, { rerunRequest }, { keepExitCode, runTests }] = await Promise.all([
        import('../report/earlier-run.js'),
        import('./rerun-request.js'),
        import('./test-run.js'),
      ])
      const earlier = await readRun(options.run)
      const request = rerunRequest(earlier, options.failed ?? false)
      if (request === null) {
        process.stdout.write(`nothing failed in ${earlier.folder}\n`)
        return
      }
      keepExitCode(await runTests({ ...request, watch: options.watch ?? false }, context))
    })
}
