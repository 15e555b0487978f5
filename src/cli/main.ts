#!/usr/bin/env node
// SPDX-License-Identifier: Apache-2.0
import { Command, CommanderError } from 'commander'
import { ExitCode, interruptedError } from '../errors.js'
import type { CliContext, CliModule } from './context.js'
import { describeError, exitCodeOf } from './errors.js'
import { createProgress } from './progress.js'

interface Subcommand {
  readonly name: string
  readonly summary: string
  readonly load: () => Promise<CliModule>
}

/** What there is; a module is imported only when the command line names it, so that `gmem` starts at once. */
const subcommands: readonly Subcommand[] = [
  {
    name: 'test',
    summary: 'run the contract on kernels, each in its own VM, and on the host',
    load: () => import('./test.js'),
  },
  {
    name: 'rerun',
    summary: 'run the latest run again, or only what failed in it',
    load: () => import('./rerun.js'),
  },
  {
    name: 'compare',
    summary: 'say what changed from one kernel, or one result, to another',
    load: () => import('./compare.js'),
  },
  {
    name: 'report',
    summary: 'put the results of shards, or of several kernels, together',
    load: () => import('./report.js'),
  },
  {
    name: 'series',
    summary: 'say what each patch of a series does to the tests',
    load: () => import('./series.js'),
  },
  {
    name: 'matrix',
    summary: 'run kernels, flavours, parameters and accelerators, and make one page of it',
    load: () => import('./matrix.js'),
  },
  {
    name: 'watch',
    summary: 'save a file of the kernel tree or a test, and get a verdict',
    load: () => import('./watch.js'),
  },
  {
    name: 'bisect',
    summary: 'find the commit, or the patch of a series, that broke a test',
    load: () => import('./bisect.js'),
  },
  {
    name: 'bisect-step',
    summary: 'one step of git bisect run: build the tree, test, and say good, bad or skip',
    load: () => import('./bisect-step.js'),
  },
  {
    name: 'coverage',
    summary: 'say which lines of the kernel the tests reach',
    load: () => import('./coverage.js'),
  },
  {
    name: 'probe',
    summary: 'say what a target offers: capabilities, VM types, flags, ioctls',
    load: () => import('./probe.js'),
  },
  {
    name: 'bench',
    summary: 'measure conversions, and how memory is populated',
    load: () => import('./bench.js'),
  },
  {
    name: 'shell',
    summary: 'a Node prompt inside a VM, with the API loaded',
    load: () => import('./shell.js'),
  },
  {
    name: 'kernel',
    summary: 'build, list and remove kernels to test',
    load: () => import('./kernel.js'),
  },
  {
    name: 'doctor',
    summary: 'try everything that gmem needs, and print how to fix what is missing',
    load: () => import('./doctor.js'),
  },
]

const examples = `
Examples:
  gmem test                          the contract on the default kernel (7.3, or $GMEM_KERNEL)
  gmem test -k 7.3 -k ~/linux        two kernels side by side: a release and a source tree
  gmem test --host conversion        only the files named so, on the running kernel
  gmem kernel build 7.3-debug        with KASAN, lockdep and the like
  gmem doctor                        what is missing on this machine

Exit codes, safe for \`git bisect run\`:
  0 passed · 1 a test failed · 2 usage · 3 only a kernel splat · 4 all skipped · 5 the guest kernel died ·
  69 the machine could not run it · 124 timeout · 125 did not apply or build · 130 interrupted
`

process.exitCode = await main(process.argv.slice(2))

/** Runs the command line to its end, and says how it ended. */
async function main(args: readonly string[]): Promise<number> {
  const context = createContext()
  try {
    const program = await createProgram(args, context)
    await program.parseAsync(args, { from: 'user' })
    return context.signal.aborted ? ExitCode.interrupted : Number(process.exitCode ?? ExitCode.ok)
  } catch (thrown) {
    context.progress.end()
    // Commander has printed its message by now.
    if (thrown instanceof CommanderError) return thrown.exitCode === 0 ? ExitCode.ok : ExitCode.usage
    const error = context.signal.aborted ? interruptedError() : thrown
    process.stderr.write(`${describeError(error)}\n`)
    return exitCodeOf(error)
  }
}

async function createProgram(args: readonly string[], context: CliContext): Promise<Command> {
  const program = new Command('gmem')
    .description('A hypervisor-backed integration harness for Linux guest_memfd.')
    .helpCommand('help [command]', 'show what a command does')
    .addHelpText('after', examples)
    .showHelpAfterError('(`gmem --help` shows what there is)')
    .exitOverride()
  const named = new Set(args.filter((arg) => !arg.startsWith('-')).slice(0, 2))
  for (const { name, summary, load } of subcommands) {
    if (named.has(name)) (await load()).register(program, context)
    else program.command(name).summary(summary).description(summary).allowUnknownOption()
  }
  return program
}

function createContext(): CliContext {
  const controller = new AbortController()
  const onSignal = (): void => {
    if (controller.signal.aborted) process.exit(ExitCode.interrupted)
    controller.abort(interruptedError())
  }
  // Whoever reads the output has seen enough (`gmem test | head`): as if interrupted.
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code !== 'EPIPE') throw error
    controller.abort(interruptedError())
  })
  process.on('SIGINT', onSignal)
  process.on('SIGTERM', onSignal)
  return { signal: controller.signal, progress: createProgress(process.stderr) }
}
