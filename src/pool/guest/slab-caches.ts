// SPDX-License-Identifier: Apache-2.0
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'

/** Only where CONFIG_SLUB_DEBUG and CONFIG_SYSFS are on (mm/slub.c, slab_sysfs_init). */
const FOLDER = '/sys/kernel/slab'

/**
 * `42 N0=42`: objects of the cache, 0 where the kernel does not count them. What lies in per-CPU slabs counts as used, so these are
 * flushed first.
 */
export function slabObjects(cache: string): number {
  // Opened each time: the cache and its files go with the kvm module.
  try {
    shrink(cache)
    return Number.parseInt(readFileSync(`${FOLDER}/${cache}/objects`, 'latin1'), 10)
  } catch {
    return 0
  }
}

/**
 * Has every cache give its empty slabs back: it keeps some for each CPU and node (hundreds of KiB together), and more after much was
 * freed. 50 to 350 ms in an emulated guest.
 */
export function shrinkSlabs(): void {
  for (const cache of listCaches()) {
    try {
      shrink(cache)
    } catch {
      // Gone meanwhile, or one that cannot.
    }
  }
}

/** Links are names of caches that were merged into another one. */
function listCaches(): string[] {
  try {
    const entries = readdirSync(FOLDER, { withFileTypes: true })
    return entries.filter((entry) => entry.isDirectory()).map(({ name }) => name)
  } catch {
    return []
  }
}

function shrink(cache: string): void {
  writeFileSync(`${FOLDER}/${cache}/shrink`, '1')
}
