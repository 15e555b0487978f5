// SPDX-License-Identifier: Apache-2.0
import { MADV_COLLAPSE } from '../../abi/linux.js'
import { Mapping } from '../../kvm/index.js'
import { bytes, mib } from '../../units.js'
import { KeptFile } from './kept-file.js'

/** For fs/drop_caches.c: empty the batches, then drop clean pages; and no line in the log for it. */
const EMPTY_AND_DROP = '1'
const QUIET = '4'
const dropCaches = new KeptFile('/proc/sys/vm/drop_caches', 'w')

/** A huge page of ours; null where there can be none, undefined until it was tried. */
let hugePage: Mapping | null | undefined

/**
 * Has every CPU put the pages that it keeps in a batch onto their LRU lists (mm/folio.c, lru_add_drain_all), so that the kernel's
 * counters are exact. MADV_COLLAPSE does that first (mm/khugepaged.c, madvise_collapse), and where it finds a huge page that is all. Without
 * huge pages drop_caches does, at 40 times the price: it walks all of the page cache.
 */
export function emptyPageBatches(): void {
  if (hugePage === undefined) hugePage = makeHugePage()
  if (collapses(hugePage)) return
  dropCaches.write(QUIET)
  dropCaches.write(EMPTY_AND_DROP)
}

/** False where it fails, which may have touched fresh memory: an error has a stack trace. */
function collapses(mapping: Mapping | null): boolean {
  try {
    mapping?.madvise(MADV_COLLAPSE)
    return mapping !== null
  } catch {
    return false
  }
}

function makeHugePage(): Mapping | null {
  try {
    const mapping = Mapping.thp(mib(2))
    mapping.write8(bytes(0), 1)
    return collapses(mapping) ? mapping : null
  } catch {
    return null
  }
}
