// SPDX-License-Identifier: Apache-2.0
import { closeSync, openSync, readSync, writeFileSync } from 'node:fs'
import { MADV_HWPOISON } from 'gmem/abi'
import { type Bytes, type KernelError, type Mapping, refusalOf } from 'gmem/kvm'
import { type GmemContext, type Need, pages, path } from 'gmem/testing'
import { ownVm } from './own-vm.js'

const UNPOISON = '/sys/kernel/debug/hwpoison/unpoison-pfn'
const DROP_CACHES = '/proc/sys/vm/drop_caches'
const CORRUPT = '/sys/kernel/debug/hwpoison/corrupt-pfn'
/** Documentation/admin-guide/mm/pagemap.rst: bits of /proc/self/pagemap and /proc/kpageflags. */
const PFN_MASK = (1n << 55n) - 1n
const KPF_LRU = 1 << 5
const KPF_UNEVICTABLE = 1 << 18
const ENTRY_BYTES = 8
const CHUNK_BYTES = 1 << 16

/** Pages can be poisoned and healed, in a VM of gmem's own: nothing but the test loses them. */
export const canPoison: readonly Need[] = [ownVm, path(UNPOISON)]

/**
 * MADV_HWPOISON for one page of a mapping that is present, healed after the test: the KernelError with which the call ended, null
 * where it ended well.
 */
export function poison(
  { defer }: Pick<GmemContext, 'defer'>,
  mapping: Mapping,
  offset: Bytes,
): KernelError | null {
  healAfterTest(defer, pfnOf(mapping, offset))
  return refusalOf(() => mapping.madvise(MADV_HWPOISON, { offset, size: pages(1) }))
}

/** Poisons the one page of a guest_memfd that `touch` writes for the first time: its guest alone can reach it, no mapping. */
export async function poisonNewPage(
  { defer }: Pick<GmemContext, 'defer'>,
  touch: () => Promise<unknown>,
): Promise<void> {
  const before = pageFlags()
  await touch()
  // New pages wait in batches, one for each processor, before they are on a list: this empties them.
  writeFileSync(DROP_CACHES, '1')
  const pfn = newUnevictablePage(before, pageFlags())
  healAfterTest(defer, pfn)
  try {
    writeFileSync(CORRUPT, String(pfn))
  } catch (error) {
    // As MADV_HWPOISON: the page is poisoned all the same (F7).
    if (!(error instanceof Error && 'code' in error && error.code === 'EBUSY')) throw error
  }
}

function healAfterTest(defer: GmemContext['defer'], pfn: bigint): void {
  defer(() => writeFileSync(UNPOISON, String(pfn)))
}

/** The number of the page frame that a mapping maps at an offset. Only for root. */
export function pfnOf(mapping: Mapping, offset: Bytes): bigint {
  const fd = openSync('/proc/self/pagemap', 'r')
  try {
    const entry = Buffer.alloc(ENTRY_BYTES)
    readSync(fd, entry, 0, ENTRY_BYTES, Number(mapping.hvaOf(offset) / pages(1)) * ENTRY_BYTES)
    return entry.readBigUInt64LE() & PFN_MASK
  } finally {
    closeSync(fd)
  }
}

/** The flags of every page that the machine has. */
function pageFlags(): Buffer {
  const fd = openSync('/proc/kpageflags', 'r')
  const chunks: Buffer[] = []
  try {
    for (;;) {
      const chunk = Buffer.alloc(CHUNK_BYTES)
      const length = readSync(fd, chunk, 0, CHUNK_BYTES, null)
      if (length === 0) return Buffer.concat(chunks)
      chunks.push(chunk.subarray(0, length))
    }
  } finally {
    closeSync(fd)
  }
}

/** A page of a guest_memfd is on the LRU list of what cannot be evicted (mapping_set_unevictable()). */
function newUnevictablePage(before: Buffer, after: Buffer): bigint {
  const found: number[] = []
  const wanted = KPF_LRU | KPF_UNEVICTABLE
  const has = (flags: Buffer, at: number) => (flags.readUInt32LE(at) & wanted) === wanted
  for (let chunk = 0; chunk < after.length; chunk += CHUNK_BYTES) {
    const end = Math.min(chunk + CHUNK_BYTES, after.length)
    // Interpreted JavaScript is slow: most of memory is compared as a whole.
    if (before.compare(after, chunk, end, chunk, end) === 0) continue
    for (let at = chunk; at < end; at += ENTRY_BYTES) {
      if (has(after, at) && !has(before, at)) found.push(at / ENTRY_BYTES)
    }
  }
  if (found.length !== 1) throw new Error(`${found.length} pages became unevictable, wanted 1: ${found}`)
  return BigInt(found[0] ?? 0)
}
