// SPDX-License-Identifier: Apache-2.0
import type { Command } from 'commander'
import { GmemError, usageError } from '../errors.js'
import { resolveKernel } from '../kernels/index.js'
import { locateQemu } from '../qemu/binary.js'
import { createTemporaryFolder } from '../temporary.js'
import type { CliContext } from './context.js'
import { showVm } from './vm-progress.js'

interface ShellOptions {
  readonly kernel: string
  readonly accel: string
}

const examples = `
In the prompt: Kvm, binding, abi, gpa(), pages(), mib(), ... are loaded, and await works.
  gmem> kvm = Kvm.open()
  gmem> vm = kvm.createVm({ type: 'SW_PROTECTED' })
  gmem> memory = vm.addMemory({ gpa: gpa(0x10000000), size: pages(16), guestMemfd: {} })
  gmem> vcpu = vm.createVcpu()
  gmem> await vcpu.read64(memory.gpaOf(pages(3)))

Examples:
  gmem shell                 on the default kernel (7.3, or $GMEM_KERNEL)
  gmem shell -k ~/linux      on the kernel of a source tree
  echo 'Kvm.open().vmTypes()' | gmem shell      for a script: only what the lines give is printed
`

/** Adds `gmem shell`. */
export function register(program: Command, context: CliContext): void {
  program
    .command('shell')
    .summary('a Node prompt inside a VM, with the API loaded')
    .description(
      'Starts a VM of a kernel and connects this terminal with a Node prompt in it. Ctrl-D leaves; the VM is then gone.',
    )
    .option('-k, --kernel <spec>', 'the kernel', process.env.GMEM_KERNEL ?? '7.3')
    .option('--accel <kind>', 'auto, kvm or tcg', 'auto')
    .addHelpText('after', examples)
    .action(async (options: ShellOptions) => await runShell(options, context))
}

async function runShell(options: ShellOptions, { progress, signal }: CliContext): Promise<void> {
  const { accel } = options
  if (accel !== 'auto' && accel !== 'kvm' && accel !== 'tcg') {
    throw usageError(`--accel ${accel}: there is auto, kvm and tcg`)
  }
  locateQemu()
  const kernel = await resolveKernel(options.kernel, { build: true, progress, signal })
  const { shellInGuest } = await import('../pool/in-guest.js')
  const folder = await createTemporaryFolder('shell')
  const { stdin, stdout } = process
  const isTerminal = stdin.isTTY === true && stdout.isTTY === true
  try {
    progress.phase(`starting ${kernel.id}`)
    const how = await shellInGuest(
      {
        kernel,
        accelerator: accel,
        runDir: folder.path,
        onEvent: showVm(`${kernel.id} (${kernel.release})`, progress),
      },
      {
        columns: isTerminal ? (stdout.columns ?? 80) : null,
        onInput: (listener) => {
          progress.end()
          if (isTerminal) stdin.setRawMode(true)
          stdin.setEncoding('utf8').on('data', listener)
          stdin.on('end', () => listener(null))
        },
        write: (data) => void stdout.write(data),
      },
      signal,
    )
    if (how === 'ended')
      throw new GmemError('the VM ended', {
        hint: 'Its kernel may have died; run with -k and a debug flavour to see more.',
      })
  } finally {
    if (isTerminal) stdin.setRawMode(false)
    stdin.destroy()
    await folder.remove()
  }
}
