// SPDX-License-Identifier: Apache-2.0
import { randomInt } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { type Command, InvalidArgumentError, Option } from 'commander'
import { usageError } from '../errors.js'
import { defaultKernelSpec } from '../kernels/spec.js'
import type { Shard } from '../report/shard.js'
import { AllowFileError, parseAllowFile } from '../splats/allow.js'
import { accelOption } from './accel-option.js'
import type { CliContext } from './context.js'
import { addReportOptions, outputsOf, type ReportFlags, reportingCommand } from './report-options.js'
import { shardOption } from './shard-option.js'
import type { TestRequest } from './test-run.js'

/** Adds `gmem test`. */
export function register(program: Command, context: CliContext): void {
  const command = reportingCommand(program, 'test')
    .summary('run the contract on kernels and on this machine')
    .description('Runs the guest_memfd contract: on kernels, each in VMs of its own, and on this machine.')
    .argument('[filter...]', 'parts of file names: conversion, bounds; default: all')
  addTargetOptions(command)
  addRunOptions(command)
  command
    .optionsGroup('Reports:')
    .option('-o, --output <dir>', "folder for this run's results, consoles and environment")
  addReportOptions(command).addHelpText('after', EXAMPLES)
  command.action(async (filters: string[], options: TestFlags) => {
    const request = testRequest(filters, options)
    if (options.onOrders) {
      const { runOrderedTests } = await import('./ordered-tests.js')
      process.exitCode = await runOrderedTests(request, context)
      return
    }
    const { keepExitCode, runTests } = await import('./test-run.js')
    keepExitCode(await runTests(request, context))
  })
}

const EXAMPLES = `
Examples:
  gmem test                              everything, on the default kernel
  gmem test conversion -k 7.3 --host     one family, on 7.3 in a VM and on this machine
  gmem test -k ~/linux -t 'punch hole'   tests by name, on the kernel of a source tree
  gmem test --watch bounds               again whenever a test file changes
  gmem test --json=out.json --ktap       JSON to a file, KTAP to the standard output
  gmem test --all --shard=1/3 -o part1   a third of the files; gmem report merge puts the parts together
  git bisect run gmem test -k ~/linux    the exit codes are safe for it

Exit codes: 0 ok, 1 a test failed, 2 usage, 3 only a kernel splat, 4 all skipped, 5 the guest kernel died,
69 gmem, QEMU or the machine could not do it, 124 timeout or hang, 125 the kernel did not build, 130 interrupted.
A shard without a test (more shards than files, or no name matches in it) says so and exits with 0; gmem report merge judges the whole.`

interface TestFlags extends ReportFlags {
  readonly kernel?: string[]
  readonly host?: boolean
  readonly accel: 'auto' | 'kvm' | 'tcg'
  readonly cold?: boolean
  readonly freshVms?: boolean
  readonly exchangeKvm?: boolean
  readonly append?: string
  readonly onOrders?: boolean
  readonly name?: RegExp
  readonly watch?: boolean
  readonly all?: boolean
  readonly jobs?: number
  readonly seed?: number
  readonly retries: number
  readonly timeout?: number
  readonly slowdown?: number
  readonly splats: 'fail' | 'warn' | 'off'
  readonly leaks: 'fail' | 'off'
  readonly allow?: string
  readonly failOnSkip?: boolean
  readonly output?: string
  readonly shard?: Shard
}

function addTargetOptions(command: Command): void {
  command
    .optionsGroup('Targets:')
    .option(
      '-k, --kernel <kernel>',
      'version, source tree or bzImage; repeatable ($GMEM_KERNEL, else 7.3)',
      collect,
    )
    .option('--host', "this machine's own /dev/kvm; alone, or beside -k")
    .addOption(accelOption('how VMs run'))
    .option('--cold', 'boot every VM instead of restoring a saved one')
    .option('--fresh-vms', 'a VM of its own for every test file, instead of handing clean ones on')
    .option(
      '--exchange-kvm',
      'a VM that was saved with other KVM modules and the same bzImage will do (also with --cold): they are exchanged',
    )
    .option('--append <parameters>', 'more kernel parameters for VMs: numa=fake=2')
    // For gmem itself: see orders.ts.
    .addOption(new Option('--on-orders').hideHelp())
}

function addRunOptions(command: Command): void {
  command
    .optionsGroup('Run:')
    .option('-t, --name <pattern>', 'only tests whose name matches (regular expression)', pattern)
    .option('--all', 'slow test files (*.slow.test.ts), too')
    .option('--watch', 'run again when a test file changes')
    .addOption(shardOption())
    .option(
      '-j, --jobs <n>',
      'test files at once (default: one more than processors, if memory carries it)',
      integer(1),
    )
    .option('--seed <n>', 'repeat the random choices of a run', integer(0))
    .option('--retries <n>', 'how often a test that killed its kernel is tried again', integer(0), 1)
    .addOption(
      new Option('--timeout <s>', 'limit of the whole run, in seconds')
        .argParser(positive)
        .env('GMEM_TIMEOUT'),
    )
    .addOption(
      new Option('--slowdown <x>', 'every time limit is multiplied by it (in a VM: measured)')
        .argParser(positive)
        .env('GMEM_SLOWDOWN'),
    )
    .addOption(
      new Option('--splats <what>', 'what a kernel splat does')
        .choices(['fail', 'warn', 'off'])
        .default('fail'),
    )
    .addOption(
      new Option('--leaks <what>', 'what something left behind by a test does')
        .choices(['fail', 'off'])
        .default('fail'),
    )
    .option('--allow <file>', 'splats to let pass, each with a reason')
    .option('--fail-on-skip', 'exit with 4 when any test was skipped')
}

/** The options as a request. Throws a usage error on what commander cannot see. */
function testRequest(filters: readonly string[], flags: TestFlags): TestRequest {
  return {
    filters,
    kernels: flags.kernel ?? (flags.host ? [] : [defaultKernelSpec()]),
    host: flags.host ?? false,
    accelerator: flags.accel,
    cold: flags.cold ?? false,
    freshVms: flags.freshVms ?? false,
    exchangeKvm: flags.exchangeKvm ?? false,
    append: flags.append,
    namePattern: flags.name,
    watch: flags.watch ?? false,
    all: flags.all ?? false,
    workers: flags.jobs,
    // The parts of one run make the same random choices, wherever they run.
    seed: flags.seed ?? (flags.shard ? 0 : randomInt(2 ** 31)),
    shard: flags.shard,
    retries: flags.retries,
    deadlineMs: flags.timeout === undefined ? undefined : flags.timeout * 1000,
    slowdown: flags.slowdown,
    splats: flags.splats,
    leaks: flags.leaks,
    allow: flags.allow === undefined ? '' : readAllowFile(flags.allow),
    failOnSkip: flags.failOnSkip ?? false,
    directory: flags.output,
    outputs: outputsOf(flags),
  }
}

function readAllowFile(file: string): string {
  try {
    const text = readFileSync(file, 'utf8')
    parseAllowFile(text, file)
    return text
  } catch (error) {
    if (error instanceof AllowFileError) throw usageError(`--allow ${error.message}`)
    throw usageError(`--allow ${file}: ${(error as NodeJS.ErrnoException).code ?? String(error)}`)
  }
}

function collect(value: string, previous: string[] | undefined): string[] {
  return [...(previous ?? []), value]
}

function pattern(text: string): RegExp {
  try {
    return new RegExp(text)
  } catch (error) {
    throw new InvalidArgumentError(error instanceof Error ? error.message : String(error))
  }
}

function integer(min: number): (text: string) => number {
  return (text) => {
    const value = Number(text)
    if (/^\d+$/.test(text) && Number.isSafeInteger(value) && value >= min) return value
    throw new InvalidArgumentError(`it must be a whole number, ${min} or more.`)
  }
}

function positive(text: string): number {
  const value = Number(text)
  if (Number.isFinite(value) && value > 0) return value
  throw new InvalidArgumentError('it must be a number above 0.')
}
