// SPDX-License-Identifier: Apache-2.0
import { closeSync, openSync, readFileSync, readSync } from 'node:fs'
import { MADV_POPULATE_READ } from 'gmem/abi'
import type { Bytes, GuestMemfd, Mapping, Memory, Vm } from 'gmem/kvm'
import { bytes, findFlag, type Need, pages, path, SHARED_FLAGS } from 'gmem/testing'
import { BASE, errnoOf } from './conversion.js'
import { ownVm } from './own-vm.js'
import { pfnOf } from './poison.js'

const PAGE_TABLES = '/sys/kernel/debug/page_tables/kernel'
const PHYSICAL_MEMORY = '/dev/mem'
const PAGE_BYTES = 4096
/** arch/x86/mm/dump_pagetables.c, 7.3.4: the part of the kernel's page tables that is the direct map. */
const DIRECT_MAP = /---\[ Low Kernel Mapping \]---\n([\s\S]*?)---\[/

/** GUEST_MEMFD_FLAG_NO_DIRECT_MAP: GUP refuses the page, or the kernel has no address of it; a kernel may have a bug in one of them. */
export const noDirectMapFlag = findFlag('guest_memfd memory outside the direct map', (file) => {
  const mapping = file.mmap()
  mapping.write64(bytes(0), 1n)
  return (
    errnoOf(() => mapping.madvise(MADV_POPULATE_READ)) !== '' || directMapOf(pageFrame(mapping)) === 'gone'
  )
})

/** What a test of memory outside the direct map needs. */
export const noDirectMap: readonly Need[] = [
  ownVm,
  path(PHYSICAL_MEMORY),
  path(PAGE_TABLES),
  noDirectMapFlag.need,
]

/** Flags of a file outside the direct map that host and guest share. */
export const hidden = (): bigint => SHARED_FLAGS | noDirectMapFlag.bit()

/** Memory of one file outside the direct map, which nobody has touched. */
export function hiddenMemory(vm: Vm, pageCount: number): Memory {
  return vm.addMemory({ gpa: BASE, size: pages(pageCount), guestMemfd: hidden() })
}

/** A file outside the direct map that host and guest share. */
export function hiddenFile(vm: Vm, pageCount: number): GuestMemfd {
  return vm.createGuestMemfd({ size: pages(pageCount), flags: hidden() })
}

/** The page frame at an offset of a mapping. The page has been touched. */
export function pageFrame(mapping: Mapping, offset: Bytes = bytes(0)): bigint {
  const pfn = pfnOf(mapping, offset)
  if (pfn === 0n) throw new Error(`no page is mapped at offset 0x${offset.toString(16)}`)
  return pfn
}

/** The page frames of a mapping whose pages have all been touched. */
export function pageFrames(mapping: Mapping): bigint[] {
  return Array.from({ length: Number(mapping.size / pages(1)) }, (_, page) => pageFrame(mapping, pages(page)))
}

/**
 * How the kernel itself finds a page frame, by its address in the direct map: `gone` where there is none, else the first byte. /dev/mem
 * reads RAM there, with copy_from_kernel_nofault() (drivers/char/mem.c, 7.3.4).
 */
export function directMapOf(pfn: bigint): number | 'gone' {
  const fd = openSync(PHYSICAL_MEMORY, 'r')
  try {
    const page = Buffer.alloc(PAGE_BYTES)
    readSync(fd, page, 0, PAGE_BYTES, pfn * BigInt(PAGE_BYTES))
    return page.readUInt8()
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'EFAULT') return 'gone'
    throw error
  } finally {
    closeSync(fd)
  }
}

/** How many pages the direct map leaves out, by the kernel's page tables: those of all such files, and what is no RAM. */
export function pagesLeftOut(): number {
  const map = DIRECT_MAP.exec(readFileSync(PAGE_TABLES, 'latin1'))?.[1]
  if (map === undefined) throw new Error(`${PAGE_TABLES} does not show the direct map`)
  let total = 0n
  // What is not present has no attributes: its addresses, its size, the level.
  for (const [, from = '0', to = '0'] of map.matchAll(
    /^(0x[0-9a-f]+)-(0x[0-9a-f]+) +\d+[KMGTPE] +p[a-z0-9]+$/gm,
  ))
    total += BigInt(to) - BigInt(from)
  return Number(total / BigInt(PAGE_BYTES))
}

/** All that the direct map covers, in KiB, by the size of its pages: DirectMap4k, DirectMap2M, ... of /proc/meminfo. */
export function directMapSizes(): number[] {
  const lines = readFileSync('/proc/meminfo', 'utf8').matchAll(/^DirectMap\w+: +(\d+) kB$/gm)
  return [...lines].map(([, kib]) => Number(kib))
}
