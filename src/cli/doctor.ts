// SPDX-License-Identifier: Apache-2.0
import type { Command } from 'commander'
import pc from 'picocolors'
import { ExitCode } from '../errors.js'
import type { CliContext } from './context.js'
import type { Finding } from './doctor-checks.js'

const marks = { ok: pc.green('ok     '), warn: pc.yellow('warn   '), missing: pc.red('missing') } as const

/** Adds `gmem doctor`. */
export function register(program: Command, { progress, signal }: CliContext): void {
  program
    .command('doctor')
    .summary('try everything that gmem needs, and print how to fix what is missing')
    .description(
      'Tries everything that gmem needs and prints what it saw. Each line that is not ok comes with its fix.\n' +
        'Exits with 0 when gmem can run the contract on a kernel here, else with 69.',
    )
    .option('--json', 'as JSON')
    .addHelpText(
      'after',
      `
Examples:
  gmem doctor
  gmem doctor --json | jq '.checks[] | select(.state != "ok")'`,
    )
    .action(async (flags: { json?: boolean }) => {
      const { checks } = await import('./doctor-checks.js')
      const findings: Finding[] = []
      for (const check of checks) {
        progress.phase(`trying ${check.name}`)
        const found = await check.run(signal)
        progress.end()
        findings.push({ name: check.name, ...found })
        if (!flags.json) print({ name: check.name, ...found })
        if (signal.aborted) return
      }
      const usable = findings.every(({ state }) => state !== 'missing')
      if (flags.json) process.stdout.write(`${JSON.stringify({ usable, checks: findings }, null, 2)}\n`)
      else
        process.stdout.write(
          usable ? '\ngmem can be used here.\n' : '\nFix what is missing, then run it again.\n',
        )
      process.exitCode = usable ? ExitCode.ok : ExitCode.infrastructure
    })
}

function print({ name, state, detail, fix }: Finding): void {
  process.stdout.write(`${marks[state]} ${name}: ${detail}\n`)
  if (fix !== undefined) process.stdout.write(`        ${pc.cyan('fix:')} ${fix}\n`)
}
