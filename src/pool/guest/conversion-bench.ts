// SPDX-License-Identifier: Apache-2.0
import { readFileSync } from 'node:fs'
import { availableParallelism, release, totalmem } from 'node:os'
import { binding, Kvm, type Memory, type NativeCallResult, type Sharing } from '../../kvm/index.js'
import {
  inPlaceConversion,
  memoryAttribute,
  type Need,
  probeTarget,
  setKvmParameter,
} from '../../testing/index.js'
import { bytes, gpa, PAGE_SIZE } from '../../units.js'
import {
  type ConversionBench,
  type ConversionBenchRequest,
  type ConversionSeries,
  type ConversionWay,
  conversionWays,
  type MemoryState,
  memoryStates,
} from '../conversion-bench.js'
import { type Round, roundOf } from './conversion-calls.js'

const BASE = gpa(0x1_0000_0000)
const SAMPLES_MIN = 3
/** Of the memory that is there, this much may be used, in percent. */
const MEMORY_PERCENT = 60n
/** More pages one by one say nothing new, and take long to prepare. */
const PAGES_ONE_BY_ONE_MAX = 4096n

interface Kind {
  readonly way: ConversionWay
  readonly state: MemoryState
  readonly sizeBytes: number
}

/**
 * Measures conversions in this VM: first what needs attributes of VMs, then what needs those of files, for which the kvm module is loaded
 * again. `onStep` is told what comes next.
 */
export async function benchConversion(
  request: ConversionBenchRequest,
  onStep: (what: string) => void,
): Promise<ConversionBench> {
  const series: ConversionSeries[] = []
  const left: ConversionBench['left'][number][] = []
  for (const way of [...conversionWays].reverse()) {
    const reason = await whyNot(way)
    if (reason !== null) {
      left.push({ what: nameOf(way), reason })
      continue
    }
    for (const kind of kindsOf(way, request)) {
      const what = `${nameOf(way)}, ${kind.sizeBytes / 1024} KiB ${kind.state}`
      const tooBig = whyTooBig(kind)
      if (tooBig !== null) {
        left.push({ what, reason: tooBig })
        continue
      }
      onStep(what)
      series.push(...(await measure(kind, request)))
    }
  }
  return {
    release: release(),
    processors: availableParallelism(),
    memoryBytes: totalmem(),
    series,
    left,
  }
}

function nameOf(way: ConversionWay): string {
  return {
    'in-place': 'in place',
    'in-place-pages': 'in place, page by page',
    'two-backings': 'two backings',
  }[way]
}

/** Loads KVM as the way needs it. The reason where this kernel has not got it, null where it has. */
async function whyNot(way: ConversionWay): Promise<string | null> {
  const need: Need = way === 'two-backings' ? memoryAttribute.private : inPlaceConversion
  setKvmParameter('gmem_in_place_conversion', way === 'two-backings' ? 'N' : 'Y')
  return await need.unmet(probeTarget())
}

function kindsOf(way: ConversionWay, { sizesBytes }: ConversionBenchRequest): Kind[] {
  return memoryStates.flatMap((state) => sizesBytes.map((sizeBytes) => ({ way, state, sizeBytes })))
}

function whyTooBig({ way, state, sizeBytes }: Kind): string | null {
  const size = BigInt(sizeBytes)
  if (way === 'in-place-pages' && size / PAGE_SIZE > PAGES_ONE_BY_ONE_MAX)
    return `more than ${PAGES_ONE_BY_ONE_MAX} pages`
  const needed = state === 'absent' ? 0n : way === 'two-backings' ? 2n * size : size
  const usable = (availableBytes() * MEMORY_PERCENT) / 100n
  return needed > usable
    ? `it needs ${needed >> 20n} MiB of the VM, which can spare ${usable >> 20n} MiB`
    : null
}

function availableBytes(): bigint {
  const kib = /^MemAvailable: +(\d+)/m.exec(readFileSync('/proc/meminfo', 'latin1'))?.[1] ?? '0'
  return BigInt(kib) * 1024n
}

async function measure(kind: Kind, request: ConversionBenchRequest): Promise<ConversionSeries[]> {
  using kvm = Kvm.open()
  using vm = kvm.createVm({ type: 'SW_PROTECTED' })
  const size = bytes(kind.sizeBytes)
  const isTwo = kind.way === 'two-backings'
  const memory = vm.addMemory({ gpa: BASE, size, guestMemfd: isTwo ? {} : { mmap: true, initShared: true } })
  using vcpu = vm.createVcpu()
  if (kind.state !== 'absent') allocate(memory, isTwo)
  const round = roundOf({ vm, vcpu, memory, ...kind })
  try {
    // The first round is a rehearsal: it allocates what the kernel keeps.
    await run(round, 1)
    const durationsNs = await sample(round, request)
    return (['private', 'shared'] as const).map((to) => ({
      ...kind,
      to,
      calls: round.converting[to].length,
      durationsNs: durationsNs[to],
    }))
  } finally {
    round.close()
  }
}

function allocate(memory: Memory, isTwo: boolean): void {
  memory.guestMemfd.allocate()
  if (isTwo) memory.shared.fill(0)
}

/** As many rounds as there may be, or as the time allows; what each conversion took. */
async function sample(
  round: Round,
  { samplesMax, budgetMs }: ConversionBenchRequest,
): Promise<Record<Sharing, number[]>> {
  const durations: Record<Sharing, number[]> = { private: [], shared: [] }
  const start = performance.now()
  for (let rounds = Math.min(SAMPLES_MIN, samplesMax); rounds > 0; ) {
    const results = await run(round, rounds)
    for (const to of ['private', 'shared'] as const)
      durations[to].push(...sums(results, round.converting[to], rounds))
    const spentMs = performance.now() - start
    const done = durations.private.length
    const affordable = Math.floor((budgetMs - spentMs) / (spentMs / done))
    rounds = Math.min(samplesMax - done, affordable)
  }
  return durations
}

async function run(round: Round, rounds: number): Promise<NativeCallResult[]> {
  const results = await binding.addon.syscallsOnThread(round.calls, rounds)
  const errnos = new Set(results.flatMap(({ errors }) => Object.keys(errors)))
  errnos.delete('')
  if (errnos.size > 0) throw new Error(`a call of the measurement fails with ${[...errnos].join(', ')}`)
  return results
}

function sums(results: readonly NativeCallResult[], indexes: readonly number[], rounds: number): number[] {
  const durations = indexes.map((index) => {
    const { durationsNs = new Uint8Array() } = results[index] ?? {}
    return new BigUint64Array(durationsNs.buffer, durationsNs.byteOffset, durationsNs.byteLength / 8)
  })
  return Array.from({ length: rounds }, (_, round) =>
    Number(durations.reduce((sum, each) => sum + (each[round] ?? 0n), 0n)),
  )
}
