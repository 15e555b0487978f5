// SPDX-License-Identifier: Apache-2.0
import { FALLOC_FL_KEEP_SIZE, FALLOC_FL_PUNCH_HOLE, SYS } from '../../../abi/index.js'
import { COPY_NUMBER, Kvm, Mapping, type Memory, type NativeCall, type Vcpu } from '../../../kvm/index.js'
import {
  type Need,
  preFault,
  probeTarget,
  SHARED_FLAGS,
  sharedGuestMemfd,
  writeFlag,
} from '../../../testing/index.js'
import { bytes, gpa } from '../../../units.js'
import type { BenchLimits } from '../../bench.js'
import {
  type PopulationBench,
  type PopulationSeries,
  type PopulationWay,
  populationWays,
} from '../../population-bench.js'
import { GuestFaults } from './guest-faults.js'
import { durationsOf, placeOf, runCalls, sample, whyTooMuch } from './sampling.js'

const BASE = gpa(0x1_0000_0000)
const COMMANDS = 50
const FILL = 0x5a

/** Memory to populate, what it is populated from, and a vCPU that has it. */
interface Site {
  readonly vcpu: Vcpu
  readonly memory: Memory
  readonly source: Mapping
}

/** Populates so much, so many times, each time from nothing; gives what each took, in ns. */
type Measure = (site: Site, rounds: number) => Promise<number[]>

interface Way {
  readonly title: string
  readonly needs: readonly Need[]
  readonly measure: Measure
}

const WAYS: Readonly<Record<PopulationWay, Way>> = {
  mapping: {
    title: 'a copy into the mapping',
    needs: [sharedGuestMemfd],
    measure: byCalls(({ memory, source }) => [
      { number: COPY_NUMBER, args: [memory.shared.hva, source.hva, memory.size] },
    ]),
  },
  write: {
    title: 'write()',
    needs: [sharedGuestMemfd, writeFlag.need],
    measure: byCalls(({ memory, source }) => [
      { number: SYS.pwrite64, args: [memory.guestMemfd.fd, source.hva, memory.size, 0] },
    ]),
  },
  guest: { title: 'the guest writes', needs: [sharedGuestMemfd], measure: byGuest },
  prefault: {
    title: 'fallocate() and KVM_PRE_FAULT_MEMORY',
    needs: [sharedGuestMemfd, preFault()],
    measure: byPrefault,
  },
}

/**
 * Measures in this VM how guest_memfd memory that host and guest share is populated, each time from nothing: a hole is punched before
 * each sample. `onStep` is told what comes next.
 */
export async function benchPopulation(
  limits: BenchLimits,
  onStep: (what: string) => void,
): Promise<PopulationBench> {
  const series: PopulationSeries[] = []
  const left: PopulationBench['left'][number][] = []
  for (const way of populationWays) {
    const reason = await whyNot(WAYS[way])
    if (reason !== null) left.push({ what: WAYS[way].title, reason })
    for (const sizeBytes of reason === null ? limits.sizesBytes : []) {
      const what = `${WAYS[way].title}, ${sizeBytes / 1024} KiB`
      // The source is as large.
      const tooMuch = whyTooMuch(2n * BigInt(sizeBytes))
      if (tooMuch !== null) {
        left.push({ what, reason: tooMuch })
        continue
      }
      onStep(what)
      series.push({ way, sizeBytes, durationsNs: await measure(way, sizeBytes, limits) })
    }
  }
  const hasGuest = series.some(({ way }) => way === 'guest')
  return { ...placeOf(left), series, guestCommandNs: hasGuest ? await guestCommandNs() : null }
}

async function whyNot({ needs }: Way): Promise<string | null> {
  for (const need of needs) {
    const reason = await need.unmet(probeTarget())
    if (reason !== null) return reason
  }
  return null
}

async function measure(way: PopulationWay, sizeBytes: number, limits: BenchLimits): Promise<number[]> {
  const flags = way === 'write' ? SHARED_FLAGS | writeFlag.bit() : SHARED_FLAGS
  using kvm = Kvm.open()
  using vm = kvm.createVm()
  const size = bytes(sizeBytes)
  const memory = vm.addMemory({ gpa: BASE, size, guestMemfd: flags })
  using vcpu = vm.createVcpu()
  const source = Mapping.anonymous(size)
  try {
    source.fill(FILL)
    const site = { vcpu, memory, source }
    // The first round is a rehearsal: it allocates what the kernel keeps.
    await WAYS[way].measure(site, 1)
    const durationsNs: number[] = []
    await sample(limits, async (count) => {
      durationsNs.push(...(await WAYS[way].measure(site, count)))
    })
    return durationsNs
  } finally {
    source.close()
  }
}

/** Calls that populate, on a thread of their own. */
function byCalls(
  populating: (site: Site) => readonly NativeCall[],
  preparing: readonly NativeCall[] = [],
): Measure {
  return async (site, rounds) => {
    const calls = populating(site)
    const before = [hole(site), ...preparing]
    const results = await runCalls([...before, ...calls], rounds)
    const last = results.at(-1)?.value
    if (last !== site.memory.size && last !== 0n)
      throw new Error(`${site.memory.size} bytes were to be populated, ${last} were`)
    return durationsOf(
      results,
      calls.map((_, index) => before.length + index),
      rounds,
    )
  }
}

async function byPrefault(site: Site, rounds: number): Promise<number[]> {
  const guest = new GuestFaults(site.vcpu, site.memory)
  const { fd } = site.memory.guestMemfd
  try {
    const [rewind, ...faults] = guest.calls()
    const allocate = { number: SYS.fallocate, args: [fd, FALLOC_FL_KEEP_SIZE, 0, site.memory.size] }
    const preparing = rewind === undefined ? [] : [rewind]
    return await byCalls(() => [allocate, ...faults], preparing)(site, rounds)
  } finally {
    guest.close()
  }
}

async function byGuest({ vcpu, memory }: Site, rounds: number): Promise<number[]> {
  const durationsNs: number[] = []
  for (let round = 0; round < rounds; round++) {
    memory.guestMemfd.punchHole({ offset: bytes(0), size: memory.size })
    const start = process.hrtime.bigint()
    await vcpu.fill({ gpa: memory.gpa, size: memory.size }, FILL)
    durationsNs.push(Number(process.hrtime.bigint() - start))
  }
  return durationsNs
}

/** The median of what the guest needs to read one word of memory that it has. */
async function guestCommandNs(): Promise<number> {
  using kvm = Kvm.open()
  using vm = kvm.createVm()
  const memory = vm.addMemory({ gpa: BASE, size: bytes(4096n) })
  using vcpu = vm.createVcpu()
  await vcpu.read64(memory.gpa)
  const durationsNs: number[] = []
  for (let command = 0; command < COMMANDS; command++) {
    const start = process.hrtime.bigint()
    await vcpu.read64(memory.gpa)
    durationsNs.push(Number(process.hrtime.bigint() - start))
  }
  return durationsNs.sort((a, b) => a - b)[COMMANDS / 2] ?? 0
}

function hole({ memory }: Site): NativeCall {
  const mode = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE
  return { number: SYS.fallocate, args: [memory.guestMemfd.fd, mode, 0, memory.size] }
}
