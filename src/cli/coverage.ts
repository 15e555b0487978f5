// SPDX-License-Identifier: Apache-2.0
import type { Command } from 'commander'
import { usageError } from '../errors.js'
import { defaultKernelSpec, parseKernelSpec } from '../kernels/spec.js'
import { accelOption } from './accel-option.js'
import type { CliContext } from './context.js'
import type { CoverageRequest } from './coverage-run.js'

const FLAVOUR = 'gcov'

interface CoverageFlags {
  readonly kernel?: string
  readonly accel: 'auto' | 'kvm' | 'tcg'
  readonly all?: boolean
  readonly selftests?: boolean
  readonly output?: string
  readonly json?: boolean
}

/** Adds `gmem coverage`. */
export function register(program: Command, context: CliContext): void {
  program
    .command('coverage')
    .summary('say which lines of the kernel the tests reach, and which test reaches which')
    .description(
      'Builds a kernel that counts how often each line of its guest_memfd code runs, runs the contract on it, and writes a page with the source, an lcov file, JSON, and reach.json: which tests run which function.',
    )
    .argument('[filter...]', 'parts of file names, as in gmem test; default: all')
    .option('-k, --kernel <kernel>', 'version or source tree ($GMEM_KERNEL, else 7.3)')
    .option('--selftests', "the kernel's own guest_memfd selftests in place of the contract")
    .option('--all', 'slow test files (*.slow.test.ts), too')
    .addOption(accelOption('how VMs run'))
    .option('-o, --output <dir>', 'folder for the results')
    .option('--json', 'the shares as JSON on the standard output')
    .addHelpText(
      'after',
      `
Examples:
  gmem coverage                          the contract on the default kernel
  gmem coverage -k ~/linux punch-hole    what one family reaches in a source tree
  gmem coverage --selftests              the same figures for the kernel's own selftests

What no software VM can reach is listed in tests/kernel/unreachable.txt, with the reason, and is counted apart.
Counters are set to 0 before each test: what loading and unloading KVM runs counts for tests that do so (kvm-module.slow.test.ts).`,
    )
    .action(async (filters: string[], flags: CoverageFlags) => {
      const request = coverageRequest(filters, flags)
      const [{ runCoverage }, { keepExitCode }] = await Promise.all([
        import('./coverage-run.js'),
        import('./test-run.js'),
      ])
      keepExitCode(await runCoverage(request, context))
    })
}

function coverageRequest(filters: readonly string[], flags: CoverageFlags): CoverageRequest {
  const text = flags.kernel ?? defaultKernelSpec()
  const spec = parseKernelSpec(text)
  if (spec.base.kind === 'image')
    throw usageError(`kernel "${text}" is a ready image: one that counts has to be built from source`)
  if (spec.flavour !== 'plain' && spec.flavour !== FLAVOUR)
    throw usageError(`kernel "${text}": coverage is measured in a flavour of its own, not in ${spec.flavour}`)
  if (flags.selftests && filters.length > 0)
    throw usageError('--selftests takes no filter: all guest_memfd selftests run')
  return {
    kernel: spec.flavour === FLAVOUR ? text : `${text}-${FLAVOUR}`,
    filters,
    selftests: flags.selftests ?? false,
    all: flags.all ?? false,
    accelerator: flags.accel,
    directory: flags.output,
    json: flags.json ?? false,
  }
}
