// SPDX-License-Identifier: Apache-2.0
import { readFileSync } from 'node:fs'
import { cpus, release, totalmem } from 'node:os'
import { binding, type NativeCall, type NativeCallResult } from '../../../kvm/index.js'
import type { BenchLimits, BenchPlace } from '../../bench.js'

/** Of the memory that is there, this much may be used, in percent. */
const MEMORY_PERCENT = 60n

/** This VM. */
export function placeOf(left: BenchPlace['left']): BenchPlace {
  return { release: release(), processors: cpus().length, memoryBytes: totalmem(), left }
}

/** Why so much memory cannot be had; null where it can. */
export function whyTooMuch(needed: bigint): string | null {
  const usable = (availableBytes() * MEMORY_PERCENT) / 100n
  return needed > usable
    ? `it needs ${needed >> 20n} MiB of the VM, which can spare ${usable >> 20n} MiB`
    : null
}

function availableBytes(): bigint {
  const kib = /^MemAvailable: +(\d+)/m.exec(readFileSync('/proc/meminfo', 'latin1'))?.[1] ?? '0'
  return BigInt(kib) * 1024n
}

/** Has `take` take as many samples as there may be, or as the time allows, and one anyhow: it is told how many at a time. */
export async function sample(
  { samplesMax, budgetMs }: BenchLimits,
  take: (count: number) => Promise<void>,
): Promise<void> {
  const start = performance.now()
  let done = 0
  for (let next = 1; next > 0; ) {
    await take(next)
    done += next
    const spentMs = performance.now() - start
    const affordable = Math.floor((budgetMs - spentMs) / (spentMs / done))
    next = Math.min(samplesMax - done, affordable)
  }
}

/** Makes the calls, round after round, on a thread of their own. Throws where one fails. */
export async function runCalls(calls: readonly NativeCall[], rounds: number): Promise<NativeCallResult[]> {
  const results = await binding.addon.syscallsOnThread(calls, rounds)
  const errnos = new Set(results.flatMap(({ errors }) => Object.keys(errors)))
  errnos.delete('')
  if (errnos.size > 0) throw new Error(`a call of the measurement fails with ${[...errnos].join(', ')}`)
  return results
}

/** What each round took, in ns: the sum of the calls at `indexes`. */
export function durationsOf(
  results: readonly NativeCallResult[],
  indexes: readonly number[],
  rounds: number,
): number[] {
  const durations = indexes.map((index) => {
    const { durationsNs = new Uint8Array() } = results[index] ?? {}
    return new BigUint64Array(durationsNs.buffer, durationsNs.byteOffset, durationsNs.byteLength / 8)
  })
  return Array.from({ length: rounds }, (_, round) =>
    Number(durations.reduce((sum, each) => sum + (each[round] ?? 0n), 0n)),
  )
}
