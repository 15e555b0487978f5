// SPDX-License-Identifier: Apache-2.0
import { openSync, readFileSync, readSync, writeFileSync, writeSync } from 'node:fs'

/** Slab caches of KVM whose objects belong to a VM, a vCPU or a guest_memfd; a kernel that lacks one has no such number. */
const CACHES = ['kvm_vcpu', 'kvm_mmu_page_header', 'kvm_gmem_inode_cache', 'kvm_async_pf'] as const

/** Seen over whole files that leak nothing, each in a VM that had rehearsed: 32 KiB of pages, 100 KiB of slabs. */
const UNOWNED_KIB_MAX = 96
const UNRECLAIMABLE_KIB_MAX = 256

const LRU_LISTS = ['Active', 'Inactive', 'Unevictable'] as const
/** Pages on their way to a list are counted with their owner already. */
const LRU_OWNERS = ['Buffers', 'Cached', 'SwapCached', 'AnonPages'] as const

/** Each page of memory is in exactly one of these (fs/proc/meminfo.c); what is in none was allocated page by page by some driver. */
const OWNERS = [
  ...['MemFree', ...LRU_OWNERS, 'Slab', 'KernelStack', 'PageTables'],
  ...['SecPageTables', 'Percpu', 'Hugetlb', 'HardwareCorrupted'],
] as const

const COUNTS = 3
/** For fs/drop_caches.c: no line in the log each time. And: empty the batches, then drop clean pages. */
const QUIET = Buffer.from('4')
const EMPTY_BATCHES = Buffer.from('1')
const FOLD = Buffer.from('1')
const TEXT = Buffer.alloc(16 * 1024)
const files = new Map<string, number | null>()

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

export function deepCensus(): DeepCensus {
  const objects = Object.fromEntries(CACHES.map((cache) => [cache, slabObjects(cache)]))
  const memory = settledMemory()
  const owned = sumOf(memory, OWNERS) + pagesInCpuListsKib()
  return {
    objects,
    unevictableKib: memory.Unevictable ?? 0,
    orphanKib: orphanKib(memory),
    unownedKib: (memory.MemTotal ?? 0) - owned,
    unreclaimableKib: memory.SUnreclaim ?? 0,
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

/**
 * The kernel's counters, folded and read in three calls on open files: each page that this process touches meanwhile is counted with its
 * owner, but lies in a CPU's batch and not on its list yet. So the highest of a few counts of orphans is the true one.
 */
function settledMemory(): Record<string, number> {
  writeTo('/proc/sys/vm/drop_caches', QUIET)
  const counts = Array.from({ length: COUNTS }, () => {
    writeTo('/proc/sys/vm/drop_caches', EMPTY_BATCHES)
    writeTo('/proc/sys/vm/stat_refresh', FOLD)
    return readMeminfo()
  })
  return counts.reduce((best, count) => (orphanKib(count) > orphanKib(best) ? count : best))
}

function orphanKib(memory: Readonly<Record<string, number>>): number {
  return sumOf(memory, LRU_LISTS) - sumOf(memory, LRU_OWNERS)
}

function writeTo(path: string, value: Buffer): void {
  const file = fileAt(path, 'w')
  // A kernel without it counts a little less exactly.
  if (file !== null) writeSync(file, value, 0, value.length, 0)
}

function readMeminfo(): Record<string, number> {
  const file = fileAt('/proc/meminfo', 'r')
  const length = file === null ? 0 : readSync(file, TEXT, 0, TEXT.length, 0)
  const text = TEXT.toString('latin1', 0, length)
  return Object.fromEntries([...text.matchAll(/^(\w+):\s+(\d+)/gm)].map(([, key, kib]) => [key, Number(kib)]))
}

function fileAt(path: string, flags: 'r' | 'w'): number | null {
  const known = files.get(path)
  if (known !== undefined) return known
  let file: number | null = null
  try {
    file = openSync(path, flags)
  } catch {
    // Not every kernel has it.
  }
  files.set(path, file)
  return file
}

/** Free pages that a CPU keeps for itself: MemFree does not count them. `count:` of each pageset in /proc/zoneinfo. */
function pagesInCpuListsKib(): number {
  const text = readFileSync('/proc/zoneinfo', 'latin1')
  return [...text.matchAll(/^\s+count:\s+(\d+)/gm)].reduce((sum, [, pages]) => sum + Number(pages) * 4, 0)
}

function sumOf(memory: Readonly<Record<string, number>>, keys: readonly string[]): number {
  return keys.reduce((sum, key) => sum + (memory[key] ?? 0), 0)
}
