// SPDX-License-Identifier: Apache-2.0
import { writeFile } from 'node:fs/promises'
import { type Command, InvalidArgumentError, Option } from 'commander'
import type { ConversionBench, ConversionBenchRequest } from '../pool/conversion-bench.js'
import { conversionLines, conversionReport, sizeText } from '../report/conversion-bench.js'
import { createTemporaryFolder } from '../temporary.js'
import { accelOption } from './accel-option.js'
import type { CliContext } from './context.js'
import { STDOUT } from './outputs.js'
import { showVm } from './vm-progress.js'

interface ConvertFlags {
  readonly kernel?: string
  readonly accel: 'auto' | 'kvm' | 'tcg'
  readonly sizes: readonly number[]
  readonly samples: number
  readonly budget: number
  readonly json?: string | true
  readonly svg?: string
}

const KIB = 1024
const MIB = 1024 * KIB
const GIB = 1024 * MIB
const DEFAULT_SIZES = [4 * KIB, 64 * KIB, MIB, 16 * MIB, 256 * MIB, GIB]
const UNITS: Readonly<Record<string, number>> = { K: KIB, M: MIB, G: GIB }
const SIZE_MAX = 1024 * GIB

const examples = `
What is measured, for each size, for nothing allocated, for memory that is allocated, and for memory that is mapped as well:
  in place        one ioctl on the guest_memfd (KVM_SET_MEMORY_ATTRIBUTES2) for the whole range
  page by page    one such ioctl for each page
  two backings    KVM_SET_MEMORY_ATTRIBUTES on the VM, which is what released kernels have
What a kernel has not got, and what its VM has not got the memory for, is named with the reason.

Examples:
  gmem bench convert -k 7.3+inplace-conversion                 all of it
  gmem bench convert -k 7.3 --sizes 4K,2M --samples 200        two sizes, more samples
  gmem bench convert -k ~/linux --json=out.json --svg out.svg  for a script, and for a mail
`

/** Adds `gmem bench`. */
export function register(program: Command, context: CliContext): void {
  const bench = program
    .command('bench')
    .summary('measure conversions: latency by size, direction and state')
    .description(
      'Measures a kernel. Times on an emulated processor (TCG) compare ways on one machine, and say nothing else.',
    )
  bench
    .command('convert')
    .description('latency of conversions between private and shared, in a VM of a kernel')
    .option('-k, --kernel <kernel>', 'in a VM of this kernel ($GMEM_KERNEL, else 7.3)')
    .addOption(accelOption('how the VM runs'))
    .addOption(
      new Option('--sizes <list>', 'sizes to convert, whole pages')
        .argParser(parseSizes)
        .default(DEFAULT_SIZES, DEFAULT_SIZES.map(sizeText).join(',')),
    )
    .option('--samples <n>', 'conversions of each kind, at most', parseSamples, 100)
    .option('--budget <s>', 'seconds for each kind, preparing included', parseBudget, 2)
    .option('--json [file]', 'as JSON; to the standard output without =FILE')
    .option('--svg <file>', 'a plot of it')
    .addHelpText('after', examples)
    .action(async (flags: ConvertFlags) => await benchConvert(flags, context))
}

async function benchConvert(flags: ConvertFlags, context: CliContext): Promise<void> {
  const report = await measure(flags, context)
  if (flags.svg !== undefined) {
    const { conversionPlot } = await import('../report/conversion-plot.js')
    await writeFile(flags.svg, conversionPlot(report))
  }
  const json = `${JSON.stringify(report, null, 2)}\n`
  if (typeof flags.json === 'string' && flags.json !== STDOUT) await writeFile(flags.json, json)
  else if (flags.json !== undefined) return void process.stdout.write(json)
  process.stdout.write(`${conversionLines(report, process.stdout).join('\n')}\n`)
}

async function measure({ kernel: spec, accel, ...flags }: ConvertFlags, { progress, signal }: CliContext) {
  const [{ resolveKernel }, { benchConversionInGuest }, { locateQemu }] = await Promise.all([
    import('../kernels/index.js'),
    import('../pool/in-guest.js'),
    import('../qemu/binary.js'),
  ])
  locateQemu()
  const kernel = await resolveKernel(spec, { build: true, progress, signal })
  const folder = await createTemporaryFolder('bench')
  const request: ConversionBenchRequest = {
    sizesBytes: flags.sizes,
    samplesMax: flags.samples,
    budgetMs: flags.budget * 1000,
  }
  let accelerator: string = accel
  const show = showVm(`${kernel.id} runs`, progress)
  try {
    progress.phase(`starting ${kernel.id}`)
    const bench: ConversionBench = await benchConversionInGuest(
      {
        kernel,
        accelerator: accel,
        runDir: folder.path,
        onEvent: (event) => {
          if (event.type === 'accelerator') accelerator = event.accel
          show(event)
        },
      },
      request,
      (what) => progress.phase(`measuring ${what}`),
      signal,
    )
    return conversionReport(kernel.id, accelerator, bench)
  } finally {
    progress.end()
    await folder.remove()
  }
}

function parseSizes(list: string): number[] {
  return [...new Set(list.split(',').map(parseSize))].sort((a, b) => a - b)
}

function parseSize(text: string): number {
  const [, digits = '', unit = ''] = /^([1-9]\d{0,9})([KMG]?)$/i.exec(text) ?? []
  const size = Number(digits) * (UNITS[unit.toUpperCase()] ?? 1)
  if (digits === '' || size % (4 * KIB) !== 0 || size > SIZE_MAX)
    throw new InvalidArgumentError('whole pages are wanted, as in 4K,2M,1G.')
  return size
}

function parseSamples(text: string): number {
  if (!/^[1-9]\d{0,4}$/.test(text)) throw new InvalidArgumentError('a number from 1 to 99999 is wanted.')
  return Number(text)
}

function parseBudget(text: string): number {
  if (!/^[1-9]\d{0,2}$/.test(text)) throw new InvalidArgumentError('seconds from 1 to 999 are wanted.')
  return Number(text)
}
