// SPDX-License-Identifier: Apache-2.0
import { Command } from 'commander'
import type { Outputs } from './outputs.js'

/** The reports that a command was asked for. */
export interface ReportFlags {
  readonly json?: string
  readonly ktap?: string
  readonly junit?: string
  readonly github?: boolean
}

/** An optional value is given as --json=FILE only: in `gmem test --json bounds`, bounds is a filter. */
class ReportingCommand extends Command {
  override parseOptions(argv: string[]): ReturnType<Command['parseOptions']> {
    const end = argv.indexOf('--')
    const isOption = (index: number): boolean => end < 0 || index < end
    return super.parseOptions(
      argv.map((word, index) => (/^--(json|ktap|junit)$/.test(word) && isOption(index) ? `${word}=-` : word)),
    )
  }
}

/** Adds a command that takes the report options: addReportOptions() puts them where its help is to have them. */
export function reportingCommand(parent: Command, name: string): Command {
  const command = new ReportingCommand(name)
    .copyInheritedSettings(parent)
    .configureHelp({ optionTerm: ({ flags }) => flags.replace(' [file]', '[=file]') })
  parent.addCommand(command)
  return command
}

/** Adds --json, --ktap, --junit and --github. */
export function addReportOptions(command: Command): Command {
  return command
    .option('--json [file]', 'result as JSON; to the standard output without =FILE')
    .option('--ktap [file]', 'result as KTAP version 1')
    .option('--junit [file]', 'result as JUnit XML')
    .option('--github', 'annotations and step summary (on by itself in GitHub Actions)')
}

/** What the flags ask for. */
export function outputsOf({ json, ktap, junit, github }: ReportFlags): Outputs {
  return { json, ktap, junit, github: github ?? process.env.GITHUB_ACTIONS === 'true' }
}
