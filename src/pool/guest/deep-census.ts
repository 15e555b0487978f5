// SPDX-License-Identifier: Apache-2.0
import { readFileSync, writeFileSync } from 'node:fs'

/** Slab caches of KVM whose objects belong to a VM, a vCPU or a guest_memfd; a kernel that lacks one has no such number. */
const CACHES = ['kvm_vcpu', 'kvm_mmu_page_header', 'kvm_gmem_inode_cache', 'kvm_async_pf'] as const

/** Whatever runs in between also takes and gives back some; seen over 80 tests: 36 KiB of pages, 220 KiB of slabs. */
const UNOWNED_KIB_MAX = 512
const UNRECLAIMABLE_KIB_MAX = 2048

/** Each page of memory is in exactly one of these (fs/proc/meminfo.c); what is in none was allocated page by page by some driver. */
const OWNERS = [
  ...['MemFree', 'Buffers', 'Cached', 'SwapCached', 'AnonPages', 'Slab', 'KernelStack', 'PageTables'],
  ...['SecPageTables', 'Percpu', 'Hugetlb', 'HardwareCorrupted'],
] as const

/** What the kernel holds, counted exactly: every CPU is interrupted for it, which is why nobody asks after each test. */
export interface DeepCensus {
  /** Objects by slab cache. */
  readonly objects: Readonly<Record<string, number>>
  /** Pages of guest_memfds: nothing else here is unevictable. */
  readonly unevictableKib: number
  /** Pages that neither are free nor belong to anything that the kernel accounts for. */
  readonly unownedKib: number
  /** All slab objects but inodes, dentries and their like. */
  readonly unreclaimableKib: number
}

export function deepCensus(): DeepCensus {
  const objects = Object.fromEntries(CACHES.map((cache) => [cache, slabObjects(cache)]))
  foldCounters()
  const memory = meminfo()
  const owned = OWNERS.reduce((sum, owner) => sum + (memory[owner] ?? 0), pagesInCpuListsKib())
  return {
    objects,
    unevictableKib: memory.Unevictable ?? 0,
    unownedKib: (memory.MemTotal ?? 0) - owned,
    unreclaimableKib: memory.SUnreclaim ?? 0,
  }
}

/** What there is more of, for people. */
export function deepGrowth(before: DeepCensus, after: DeepCensus): string[] {
  const left = CACHES.flatMap((cache) => {
    const more = (after.objects[cache] ?? 0) - (before.objects[cache] ?? 0)
    return more > 0 ? [`${more} objects in slab ${cache}`] : []
  })
  const more = (what: string, kib: number, tolerated: number): void => {
    if (kib > tolerated) left.push(`${kib} KiB of ${what}`)
  }
  more('unevictable memory (guest_memfd pages)', after.unevictableKib - before.unevictableKib, 0)
  more('pages that nothing accounts for', after.unownedKib - before.unownedKib, UNOWNED_KIB_MAX)
  more('unreclaimable slabs', after.unreclaimableKib - before.unreclaimableKib, UNRECLAIMABLE_KIB_MAX)
  return left
}

/**
 * `42 N0=42`: objects of the cache, where the kernel counts them (CONFIG_SLUB_DEBUG). What lies in per-CPU slabs counts as used,
 * so these are flushed first.
 */
function slabObjects(cache: string): number {
  try {
    writeFileSync(`/sys/kernel/slab/${cache}/shrink`, '1')
    return Number.parseInt(readFileSync(`/sys/kernel/slab/${cache}/objects`, 'latin1'), 10)
  } catch {
    return 0
  }
}

/** Pages that lie in a CPU's batch are not on a list yet, and counters have a part for each CPU. */
function foldCounters(): void {
  // 4: no line in the log for each time; 1: empties the batches (fs/drop_caches.c).
  for (const value of ['4', '1']) tryToWrite('/proc/sys/vm/drop_caches', value)
  tryToWrite('/proc/sys/vm/stat_refresh', '1')
}

function tryToWrite(path: string, value: string): void {
  try {
    writeFileSync(path, value)
  } catch {
    // A kernel without it counts a little less exactly.
  }
}

function meminfo(): Record<string, number> {
  const text = readFileSync('/proc/meminfo', 'latin1')
  return Object.fromEntries([...text.matchAll(/^(\w+):\s+(\d+)/gm)].map(([, key, kib]) => [key, Number(kib)]))
}

/** Free pages that a CPU keeps for itself: MemFree does not count them. `count:` of each pageset in /proc/zoneinfo. */
function pagesInCpuListsKib(): number {
  const text = readFileSync('/proc/zoneinfo', 'latin1')
  return [...text.matchAll(/^\s+count:\s+(\d+)/gm)].reduce((sum, [, pages]) => sum + Number(pages) * 4, 0)
}
