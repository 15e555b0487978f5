// SPDX-License-Identifier: Apache-2.0
import { writeFile } from 'node:fs/promises'
import type { Command } from 'commander'
import { conversionLines, conversionReport } from '../report/conversion-bench.js'
import { populationLines, populationReport } from '../report/population-bench.js'
import { addBenchOptions, type BenchFlags, runBench } from './bench-run.js'
import type { CliContext } from './context.js'
import { STDOUT } from './outputs.js'

const convertExamples = `
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

const populateExamples = `
What is measured, for each size, on memory of a guest_memfd that host and guest share and that nobody has touched:
  copy into the mapping   the host's own copy, page faults and all
  write()                 pwrite(2) to the guest_memfd, on kernels that have it
  the guest writes        a vCPU fills the memory
  fallocate, prefault     fallocate(2), then KVM_PRE_FAULT_MEMORY: zeroed and mapped in the guest, but with nobody's data
The last two leave the memory mapped in the guest, the first one in the host, write() in neither.

Examples:
  gmem bench populate -k 7.3+write                             all four
  gmem bench populate --sizes 2M --samples 500 --json=out.json one size, for a script
`

/** Adds `gmem bench`. */
export function register(program: Command, context: CliContext): void {
  const bench = program
    .command('bench')
    .summary('measure conversions, and how memory is populated')
    .description(
      'Measures a kernel. Times on an emulated processor (TCG) compare ways on one machine, and say nothing else.',
    )
  addBenchOptions(bench.command('convert'))
    .description('latency of conversions between private and shared, in a VM of a kernel')
    .option('--svg <file>', 'a plot of it')
    .addHelpText('after', convertExamples)
    .action(async (flags: BenchFlags & { readonly svg?: string }) => await benchConvert(flags, context))
  addBenchOptions(bench.command('populate'))
    .description('how long it takes to fill memory of a guest_memfd, in a VM of a kernel')
    .addHelpText('after', populateExamples)
    .action(async (flags: BenchFlags) => await benchPopulate(flags, context))
}

async function benchConvert(
  flags: BenchFlags & { readonly svg?: string },
  context: CliContext,
): Promise<void> {
  const { kernel, accelerator, result } = await runBench('convert', flags, context)
  const report = conversionReport(kernel, accelerator, result)
  if (flags.svg !== undefined) {
    const { conversionPlot } = await import('../report/conversion-plot.js')
    await writeFile(flags.svg, conversionPlot(report))
  }
  await print(flags, report, conversionLines(report, process.stdout))
}

async function benchPopulate(flags: BenchFlags, context: CliContext): Promise<void> {
  const { kernel, accelerator, result } = await runBench('populate', flags, context)
  const report = populationReport(kernel, accelerator, result)
  await print(flags, report, populationLines(report, process.stdout))
}

async function print(flags: BenchFlags, report: object, lines: readonly string[]): Promise<void> {
  const json = `${JSON.stringify(report, null, 2)}\n`
  if (typeof flags.json === 'string' && flags.json !== STDOUT) await writeFile(flags.json, json)
  else if (flags.json !== undefined) return void process.stdout.write(json)
  process.stdout.write(`${lines.join('\n')}\n`)
}
