// SPDX-License-Identifier: Apache-2.0
import type { Command } from 'commander'
import { GmemError, usageError } from '../errors.js'
import type { TargetInfo } from '../testing/target.js'
import { accelOption } from './accel-option.js'
import type { CliContext } from './context.js'
import { showVm, withVmFolder } from './vm-progress.js'

interface ProbeFlags {
  readonly kernel?: string
  readonly host?: boolean
  readonly accel: 'auto' | 'kvm' | 'tcg'
  readonly json?: boolean
}

/** Adds `gmem probe`. */
export function register(program: Command, context: CliContext): void {
  program
    .command('probe')
    .summary('say what a target offers: capabilities, VM types, flags, ioctls')
    .description(
      'Tries out what a kernel offers to guest_memfd tests, and prints what it saw: nothing is read off version numbers.',
    )
    .option('-k, --kernel <kernel>', 'in a VM of this kernel ($GMEM_KERNEL, else 7.3)')
    .option('--host', "on this machine's own /dev/kvm")
    .addOption(accelOption('how the VM runs'))
    .option('--json', 'as JSON')
    .addHelpText(
      'after',
      `
Examples:
  gmem probe                 the default kernel
  gmem probe --host --json   the running kernel, for a script`,
    )
    .action(async (flags: ProbeFlags) => {
      if (flags.host && flags.kernel)
        throw usageError('gmem probe looks at one target: give -k or --host, not both')
      const target = flags.host ? await probeHost() : await probeKernel(flags, context)
      if (flags.json) return void process.stdout.write(`${JSON.stringify(target, null, 2)}\n`)
      const { probeLines } = await import('../report/probe.js')
      process.stdout.write(`${probeLines(target, process.stdout).join('\n')}\n`)
    })
}

async function probeHost(): Promise<TargetInfo> {
  const { hostProblem } = await import('./targets.js')
  const problem = hostProblem()
  if (problem) throw new GmemError(problem.message, { hint: problem.hint })
  const { probeTarget } = await import('../testing/probe-target.js')
  return probeTarget()
}

async function probeKernel({ kernel: spec, accel }: ProbeFlags, context: CliContext): Promise<TargetInfo> {
  const { progress, signal } = context
  const [{ resolveKernel }, { probeInGuest }, { locateQemu }] = await Promise.all([
    import('../kernels/index.js'),
    import('../pool/in-guest.js'),
    import('../qemu/binary.js'),
  ])
  locateQemu()
  const kernel = await resolveKernel(spec, { build: true, progress, signal })
  const onEvent = showVm(`${kernel.id} runs`, progress)
  const answer = await withVmFolder(kernel, 'probe', progress, (runDir) =>
    probeInGuest({ kernel, accelerator: accel, runDir, onEvent }, signal),
  )
  return answer as TargetInfo
}
