// SPDX-License-Identifier: Apache-2.0
import type { Memory, Vm } from 'gmem/kvm'
import { type GmemContext, pages } from 'gmem/testing'
import { Pfnmap, type PfnmapRow, slotOf } from './pfnmap.js'
import { startPrefaulting } from './prefault-thread.js'

const STALE = 0xdead_dead_0000_0000n

/** What a vCPU did that wrote to all pages, over and over, while they changed. */
export interface Hammered {
  /** Writes to a page after it was replaced: the round, the page, and what it then held. */
  readonly stale: readonly string[]
  /** What each page holds in the end. */
  readonly current: readonly bigint[]
  /** What a vCPU that has written to all of them last has written: the number of its passes. */
  readonly passes: bigint
}

/** Something else that goes on in the VM meanwhile, and how to end it. */
type Beside = (vm: Vm, memory: Memory) => Promise<() => Promise<unknown>>

const nothing: Beside = async () => async () => {}

/** Another vCPU prefaults all pages, over and over: it has looked a page up when that changes, and maps it then. */
const prefaulting: Beside = async (vm, memory) => {
  const thread = await startPrefaulting(vm.createVcpu(), memory)
  return () => thread.stop()
}

/** Replaces all pages so many times. What the vCPU writes when that has returned must not be in a page that was replaced. */
export function hammerReplaced(context: GmemContext, row: PfnmapRow, rounds: number): Promise<Hammered> {
  return replacing(context, row, rounds, nothing, (set, mark) => set.replace(mark))
}

/** The same with another vCPU that prefaults them. */
export function hammerPrefaulted(context: GmemContext, row: PfnmapRow, rounds: number): Promise<Hammered> {
  return replacing(context, row, rounds, prefaulting, (set, mark) => set.replace(mark))
}

/** The same, each time right after so many zaps. */
export function hammerInterrupted(
  context: GmemContext,
  row: PfnmapRow,
  rounds: number,
  zaps: number,
): Promise<Hammered> {
  return replacing(context, row, rounds, nothing, (set, mark) => set.replaceAfterZaps(mark, zaps))
}

/** Zaps one page after the other, so many times. */
export async function hammerZapped(
  context: GmemContext,
  row: PfnmapRow,
  rounds: number,
): Promise<Omit<Hammered, 'stale'>> {
  return await hammer(context, row, rounds, nothing, async (set, round, progressed) => {
    set.zap(round % set.pageCount, 1)
    await progressed()
  })
}

async function replacing(
  context: GmemContext,
  row: PfnmapRow,
  rounds: number,
  beside: Beside,
  replace: (set: Pfnmap, mark: bigint) => void | Promise<void>,
): Promise<Hammered> {
  const stale: string[] = []
  const hammered = await hammer(context, row, rounds, beside, async (set, round, progressed) => {
    const mark = STALE + BigInt(round)
    await replace(set, mark)
    await progressed()
    for (const page of pageNumbers(set)) {
      const value = set.read(page, 'spare')
      if (value !== mark) stale.push(`round ${round}, page ${page}: 0x${value.toString(16)}`)
    }
  })
  return { ...hammered, stale }
}

async function hammer(
  context: GmemContext,
  row: PfnmapRow,
  rounds: number,
  beside: Beside,
  change: (set: Pfnmap, round: number, progressed: () => Promise<void>) => Promise<void>,
): Promise<Omit<Hammered, 'stale'>> {
  const set = new Pfnmap(context, row)
  using vm = context.kvm.createVm()
  const memory = slotOf(vm, set)
  using vcpu = vm.createVcpu()
  const endBeside = await beside(vm, memory)
  const spin = vcpu.spinWrite(memory)
  await spin.progressed()
  // Two passes: of the first one a part may have been before.
  for (let round = 0; round < rounds; round++) await change(set, round, () => spin.progressed(2n))
  await endBeside()
  const passes = await spin.stop()
  return { passes, current: pageNumbers(set).map((page) => set.read(page, 'current', pages(0))) }
}

function pageNumbers({ pageCount }: Pfnmap): number[] {
  return Array.from({ length: pageCount }, (_, page) => page)
}
