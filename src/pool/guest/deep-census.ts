// SPDX-License-Identifier: Apache-2.0
import { readFileSync } from 'node:fs'
import { KeptFile } from './kept-file.js'
import { emptyPageBatches } from './page-batches.js'
import { slabObjects } from './slab-caches.js'

/** Slab caches of KVM whose objects belong to a VM, a vCPU or a guest_memfd; a kernel that lacks one has no such number. */
const CACHES = ['kvm_vcpu', 'kvm_mmu_page_header', 'kvm_gmem_inode_cache', 'kvm_async_pf'] as const

/** Seen over whole files that leak nothing, each in a VM that had rehearsed: 32 KiB of pages, 100 KiB of slabs. */
const UNOWNED_KIB_MAX = 96
const UNRECLAIMABLE_KIB_MAX = 256

const LRU_LISTS = ['Active', 'Inactive', 'Unevictable'] as const
/** Pages on their way to a list are counted with their owner already. */
const LRU_OWNERS = ['Buffers', 'Cached', 'SwapCached', 'AnonPages'] as const

/** Each page that is not free is in exactly one of these (fs/proc/meminfo.c); what is in none was allocated page by page by some driver. */
const OWNERS = [
  ...[...LRU_OWNERS, 'Slab', 'KernelStack', 'PageTables'],
  ...['SecPageTables', 'Percpu', 'Hugetlb', 'HardwareCorrupted'],
] as const

/** How often a census counts, and one that only asks whether a closer look is due. */
const COUNTS = 4
const COUNTS_OF_A_GLANCE = 2
const statRefresh = new KeptFile('/proc/sys/vm/stat_refresh', 'w')
const zoneinfo = new KeptFile('/proc/zoneinfo', 'r')
const meminfo = new KeptFile('/proc/meminfo', 'r')

/** What the kernel holds, counted exactly: every CPU is interrupted for it, which is why nobody asks after each test. */
export interface DeepCensus {
  /** Objects by slab cache. */
  readonly objects: Readonly<Record<string, number>>
  /** Pages of guest_memfds: nothing else here is unevictable. */
  readonly unevictableKib: number
  /** Pages on the LRU lists that neither a file nor a process has any more: somebody still pins them. Zero when nothing is in flight. */
  readonly orphanKib: number
  /** Pages that neither are free nor belong to anything that the kernel accounts for. */
  readonly unownedKib: number
  /** All slab objects but inodes, dentries and their like. */
  readonly unreclaimableKib: number
}

/**
 * What grows by itself for a while, too: caches fill, tables are made once. Only growth that comes again with each repetition is a
 * leak.
 */
export interface Estimate {
  readonly what: string
  readonly kib: number
}

/**
 * Counts a few times. What this process does meanwhile shows as too few orphans, because a page that it touches has an owner before it is on
 * a list; and as too many unowned pages, because those on their way from a CPU's free list to the zone's are on neither (up to 68 KiB
 * seen on 7.3 while the lists shrink).
 */
export function deepCensus(): DeepCensus {
  return census(COUNTS)
}

/** The same in half the time: rather too much unowned than too little. */
export function glance(): DeepCensus {
  return census(COUNTS_OF_A_GLANCE)
}

function census(times: number): DeepCensus {
  const objects = Object.fromEntries(CACHES.map((cache) => [cache, slabObjects(cache)]))
  const counts = Array.from({ length: times }, countMemory)
  return {
    objects,
    unevictableKib: Math.min(...counts.map(({ unevictableKib }) => unevictableKib)),
    orphanKib: Math.max(...counts.map(({ orphanKib }) => orphanKib)),
    unownedKib: Math.min(...counts.map(({ unownedKib }) => unownedKib)),
    unreclaimableKib: Math.min(...counts.map(({ unreclaimableKib }) => unreclaimableKib)),
  }
}

/** What there is more of, for people, of what only a leak leaves. */
export function deepGrowth(before: DeepCensus, after: DeepCensus): string[] {
  const left = CACHES.flatMap((cache) => {
    const more = (after.objects[cache] ?? 0) - (before.objects[cache] ?? 0)
    return more > 0 ? [`${more} objects in slab ${cache}`] : []
  })
  const more = (what: string, kib: number): number => (kib > 0 ? left.push(`${kib} KiB of ${what}`) : 0)
  more('unevictable memory (guest_memfd pages)', after.unevictableKib - before.unevictableKib)
  more('pages that are in no file and no process any more', after.orphanKib - Math.max(0, before.orphanKib))
  return left
}

/** What the kernel may also hold for a while: where there is so much more of it that somebody should look closer. */
export function suspicions(before: DeepCensus, after: DeepCensus): Estimate[] {
  if (keepsFreedObjects()) return []
  const pagesKib = after.unownedKib - before.unownedKib
  const slabsKib = after.unreclaimableKib - before.unreclaimableKib
  return [
    ...(pagesKib > UNOWNED_KIB_MAX ? [{ what: 'pages that nothing accounts for', kib: pagesKib }] : []),
    ...(slabsKib > UNRECLAIMABLE_KIB_MAX ? [{ what: 'unreclaimable slabs', kib: slabsKib }] : []),
  ]
}

/**
 * KASAN quarantines what was freed, and its records of who freed it grow: there is always more of both. Slab objects are then larger than
 * what was asked for, by what the checker notes beside them.
 */
function keepsFreedObjects(): boolean {
  try {
    const [asked, taken] = ['object_size', 'slab_size'].map((name) =>
      Number.parseInt(readFileSync(`/sys/kernel/slab/kmalloc-192/${name}`, 'latin1'), 10),
    )
    return asked !== taken
  } catch {
    return false
  }
}

/**
 * The kernel's counters, folded and then read by two calls on open files, with nothing between them: free memory moves between the lists of
 * zones and CPUs all the time, by tens of MiB, so both are taken from one read of zoneinfo.
 */
function countMemory(): Omit<DeepCensus, 'objects'> {
  emptyPageBatches()
  statRefresh.write('1')
  zoneinfo.read()
  meminfo.read()
  const memory = Object.fromEntries(
    [...meminfo.text.matchAll(/^(\w+):\s+(\d+)/gm)].map(([, key, kib]) => [key, Number(kib)]),
  )
  return {
    unevictableKib: memory.Unevictable ?? 0,
    orphanKib: sumOf(memory, LRU_LISTS) - sumOf(memory, LRU_OWNERS),
    unownedKib: (memory.MemTotal ?? 0) - freeKib(zoneinfo.text) - sumOf(memory, OWNERS),
    unreclaimableKib: memory.SUnreclaim ?? 0,
  }
}

/** Free pages, those that a CPU keeps for itself among them: `pages free` of each zone, `count:` of each CPU's list. */
function freeKib(zones: string): number {
  return [...zones.matchAll(/^\s+(?:pages free|count:)\s+(\d+)/gm)].reduce(
    (sum, [, pages]) => sum + Number(pages) * 4,
    0,
  )
}

function sumOf(memory: Readonly<Record<string, number>>, keys: readonly string[]): number {
  return keys.reduce((sum, key) => sum + (memory[key] ?? 0), 0)
}
