// SPDX-License-Identifier: Apache-2.0
import { freemem } from 'node:os'
import { type Command, InvalidArgumentError, Option } from 'commander'
import type { BenchName, BenchResults } from '../pool/bench.js'
import type { PoolEvent } from '../pool/options.js'
import { DEFAULT_MEMORY } from '../qemu/machine.js'
import { sizeText } from '../report/bench.js'
import { type Bytes, mib } from '../units.js'
import { accelOption } from './accel-option.js'
import type { CliContext } from './context.js'
import { showVm, withVmFolder } from './vm-progress.js'

/** What every `gmem bench` takes. */
export interface BenchFlags {
  readonly kernel?: string
  readonly accel: 'auto' | 'kvm' | 'tcg'
  readonly sizes: readonly number[]
  readonly samples: number
  readonly budget: number
  readonly json?: string | true
}

/** What was measured, and in which VM. */
export interface BenchRun<Name extends BenchName> {
  readonly kernel: string
  readonly accelerator: string
  readonly result: BenchResults[Name]
}

const KIB = 1024
const MIB = 1024 * KIB
const GIB = 1024 * MIB
const DEFAULT_SIZES = [4 * KIB, 64 * KIB, MIB, 16 * MIB, 256 * MIB, GIB]
const UNITS: Readonly<Record<string, number>> = { K: KIB, M: MIB, G: GIB }
const SIZE_MAX = 1024 * GIB
/** Of a VM: what the guest itself needs, and how much it has for each byte to measure with, in percent (it uses 60 % of what is free). */
const BASE_MEMORY = 512 * MIB
const VM_MEMORY_PERCENT = 360
/** Of this machine's free memory, a VM may have this much. */
const MACHINE_PERCENT = 80

/** The options of BenchFlags. */
export function addBenchOptions(command: Command): Command {
  return command
    .option('-k, --kernel <kernel>', 'in a VM of this kernel ($GMEM_KERNEL, else 7.3)')
    .addOption(accelOption('how the VM runs'))
    .addOption(
      new Option('--sizes <list>', 'sizes to measure, whole pages')
        .argParser(parseSizes)
        .default(DEFAULT_SIZES, DEFAULT_SIZES.map(sizeText).join(',')),
    )
    .option('--samples <n>', 'samples of each kind, at most', parseSamples, 100)
    .option('--budget <s>', 'seconds for each kind, preparing included', parseBudget, 2)
    .option('--json [file]', 'as JSON; to the standard output without =FILE')
}

/** Measures in a VM of the kernel that the flags name. Throws as benchInGuest and resolveKernel do. */
export async function runBench<Name extends BenchName>(
  name: Name,
  { kernel: spec, accel, ...flags }: BenchFlags,
  { progress, signal }: CliContext,
): Promise<BenchRun<Name>> {
  const [{ resolveKernel }, { benchInGuest }, { locateQemu }] = await Promise.all([
    import('../kernels/index.js'),
    import('../pool/in-guest.js'),
    import('../qemu/binary.js'),
  ])
  locateQemu()
  const kernel = await resolveKernel(spec, { build: true, progress, signal })
  let accelerator: string = accel
  const show = showVm(`${kernel.id} runs`, progress)
  const onEvent = (event: PoolEvent): void => {
    if (event.type === 'accelerator') accelerator = event.accel
    show(event)
  }
  const result = await withVmFolder(kernel, 'bench', progress, (runDir) =>
    benchInGuest(
      { kernel, accelerator: accel, runDir, ...memoryFor(flags.sizes), onEvent },
      { name, sizesBytes: flags.sizes, samplesMax: flags.samples, budgetMs: flags.budget * 1000 },
      (what) => progress.phase(`measuring ${what}`),
      signal,
    ),
  )
  return { kernel: kernel.id, accelerator, result }
}

/** A VM that can hold three times the largest size, as far as this machine can spare that; none is saved for it. */
function memoryFor(sizes: readonly number[]): { readonly memory?: Bytes; readonly cold?: boolean } {
  const wanted = BASE_MEMORY + (VM_MEMORY_PERCENT * Math.max(...sizes)) / 100
  if (wanted <= Number(DEFAULT_MEMORY)) return {}
  const whole = Math.floor(Math.min(wanted, (freemem() * MACHINE_PERCENT) / 100) / MIB)
  return whole * MIB <= Number(DEFAULT_MEMORY) ? {} : { memory: mib(whole), cold: true }
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
