// SPDX-License-Identifier: Apache-2.0
import type { Command } from 'commander'
import type { Progress } from '../progress.js'

/** What main.ts hands to every subcommand. */
export interface CliContext {
  /** Aborts on the first SIGINT or SIGTERM: end what runs, clean up, throw. A second signal ends the process at once. */
  readonly signal: AbortSignal
  /** Draws on standard error. */
  readonly progress: Progress
}

/** A module in src/cli that adds one subcommand; main.ts imports it only when the command line names it. */
export interface CliModule {
  register(program: Command, context: CliContext): void
}
