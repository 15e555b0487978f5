// SPDX-License-Identifier: Apache-2.0
import { readFileSync, writeFileSync } from 'node:fs'

/** Slab caches of KVM whose objects belong to a VM, a vCPU or a guest_memfd; a kernel that lacks one has no such number. */
const CACHES = ['kvm_vcpu', 'kvm_mmu_page_header', 'kvm_gmem_inode_cache', 'kvm_async_pf'] as const

/** Objects by cache. */
export type SlabCensus = Readonly<Record<string, number>>

export function slabCensus(): SlabCensus {
  return Object.fromEntries(CACHES.map((cache) => [cache, slabObjects(cache)]))
}

/** What there is more of, for people. */
export function slabGrowth(before: SlabCensus, after: SlabCensus): string[] {
  return CACHES.flatMap((cache) => {
    const more = (after[cache] ?? 0) - (before[cache] ?? 0)
    return more > 0 ? [`${more} objects in slab ${cache}`] : []
  })
}

/**
 * `42 N0=42`: objects of the cache, where the kernel counts them (CONFIG_SLUB_DEBUG). What lies in per-CPU slabs counts as used,
 * so these are flushed first: an interrupt to every CPU, which is why nobody asks for each test.
 */
function slabObjects(cache: string): number {
  try {
    writeFileSync(`/sys/kernel/slab/${cache}/shrink`, '1')
    return Number.parseInt(readFileSync(`/sys/kernel/slab/${cache}/objects`, 'latin1'), 10)
  } catch {
    return 0
  }
}
