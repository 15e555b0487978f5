// SPDX-License-Identifier: Apache-2.0
import { Kvm, type Memory, type Sharing } from '../../../kvm/index.js'
import {
  inPlaceConversion,
  memoryAttribute,
  type Need,
  probeTarget,
  setKvmParameter,
} from '../../../testing/index.js'
import { bytes, gpa, PAGE_SIZE } from '../../../units.js'
import type { BenchLimits } from '../../bench.js'
import {
  type ConversionBench,
  type ConversionSeries,
  type ConversionWay,
  conversionWays,
  type MemoryState,
  memoryStates,
} from '../../conversion-bench.js'
import { roundOf } from './conversion-calls.js'
import { durationsOf, placeOf, runCalls, sample, whyTooMuch } from './sampling.js'

const BASE = gpa(0x1_0000_0000)
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
  limits: BenchLimits,
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
    for (const kind of kindsOf(way, limits)) {
      const what = `${nameOf(way)}, ${kind.sizeBytes / 1024} KiB ${kind.state}`
      const tooBig = whyTooBig(kind)
      if (tooBig !== null) {
        left.push({ what, reason: tooBig })
        continue
      }
      onStep(what)
      series.push(...(await measure(kind, limits)))
    }
  }
  return { ...placeOf(left), series }
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

function kindsOf(way: ConversionWay, { sizesBytes }: BenchLimits): Kind[] {
  return memoryStates.flatMap((state) => sizesBytes.map((sizeBytes) => ({ way, state, sizeBytes })))
}

function whyTooBig({ way, state, sizeBytes }: Kind): string | null {
  const size = BigInt(sizeBytes)
  if (way === 'in-place-pages' && size / PAGE_SIZE > PAGES_ONE_BY_ONE_MAX)
    return `more than ${PAGES_ONE_BY_ONE_MAX} pages`
  return whyTooMuch(state === 'absent' ? 0n : way === 'two-backings' ? 2n * size : size)
}

async function measure(kind: Kind, limits: BenchLimits): Promise<ConversionSeries[]> {
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
    await runCalls(round.calls, 1)
    const durationsNs: Record<Sharing, number[]> = { private: [], shared: [] }
    await sample(limits, async (rounds) => {
      const results = await runCalls(round.calls, rounds)
      for (const to of ['private', 'shared'] as const)
        durationsNs[to].push(...durationsOf(results, round.converting[to], rounds))
    })
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
