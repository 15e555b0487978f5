// SPDX-License-Identifier: Apache-2.0
import { randomInt } from 'node:crypto'
import { resolve } from 'node:path'
import { type Command, Option } from 'commander'
import { filesOf } from './test-files.js'

/** So many files run faster each in a VM that boots. */
const COLD_FILES_MAX = 3

/** Options of `gmem test` that the commands take which run it on several kernels; they are passed on as they are. */
export interface RunFlags {
  readonly name?: string
  readonly all?: boolean
  readonly accel?: string
  readonly cold?: boolean
  readonly freshVms?: boolean
  readonly append?: string
  readonly seed?: string
  readonly retries?: string
  readonly timeout?: string
  readonly slowdown?: string
  readonly splats?: string
  readonly leaks?: string
  readonly allow?: string
}

/** Adds them. What they accept is checked by `gmem test` itself. */
export function addRunOptions(command: Command): Command {
  return command
    .optionsGroup('Each run (see gmem test --help):')
    .option('-t, --name <pattern>', 'only tests whose name matches')
    .option('--all', 'slow families too')
    .addOption(new Option('--accel <how>', 'how VMs run').choices(['auto', 'kvm', 'tcg']))
    .option('--cold', 'boot every VM instead of restoring a saved one')
    .option('--fresh-vms', 'a VM of its own for every test file')
    .option('--append <parameters>', 'more kernel parameters: kvm_amd.npt=0')
    .option('--seed <n>', 'the random choices; all runs have the same')
    .option('--retries <n>', 'how often a test that killed its kernel is tried again')
    .option('--timeout <s>', 'limit of each run, in seconds')
    .option('--slowdown <x>', 'every time limit is multiplied by it')
    .addOption(new Option('--splats <what>', 'what a kernel splat does').choices(['fail', 'warn', 'off']))
    .addOption(new Option('--leaks <what>', 'what something left behind does').choices(['fail', 'off']))
    .option('--allow <file>', 'splats to let pass, each with a reason')
}

/** The command line of `gmem test` for these: the same for each kernel, the seed included. */
export function runArguments(
  filters: readonly string[],
  flags: RunFlags,
  { isRepeated = false } = {},
): string[] {
  const values = {
    name: flags.name,
    accel: flags.accel,
    append: flags.append,
    seed: flags.seed ?? randomSeed(),
    retries: flags.retries,
    timeout: flags.timeout,
    slowdown: flags.slowdown,
    splats: flags.splats,
    leaks: flags.leaks,
    allow: flags.allow === undefined ? undefined : resolve(flags.allow),
  }
  const given = Object.entries(values).flatMap(([name, value]) =>
    value === undefined ? [] : [`--${name}=${value}`],
  )
  const isCold = flags.cold || (!isRepeated && isQuickerCold(filters))
  const vmFlags = [
    ...(isCold ? ['--cold'] : []),
    ...(flags.cold ? [] : ['--exchange-kvm']),
    ...(flags.freshVms ? ['--fresh-vms'] : []),
  ]
  return [...filters, ...given, ...(flags.all ? ['--all'] : []), ...vmFlags]
}

/** For runs that are to make the same choices. */
export function randomSeed(): string {
  return String(randomInt(2 ** 31))
}

/** Booting, rehearsing and saving a VM takes as long as some four boots, and a kernel of a series is seldom tested twice. */
function isQuickerCold(filters: readonly string[]): boolean {
  if (filters.length === 0) return false
  return filesOf(filters).length <= COLD_FILES_MAX
}
