// SPDX-License-Identifier: Apache-2.0
import type { Mapping, Memory, Vm } from 'gmem/kvm'
import { type GmemContext, inPlaceConversion, type Need, pages, setKvmParameter, vmType } from 'gmem/testing'
import { BASE } from './conversion.js'
import { sys } from './system-calls.js'

// Sheet, section 1: read-only once KVM is loaded, and off where VMs have attributes of their own.
setKvmParameter('gmem_in_place_conversion', 'Y')

/** What a test of in-place conversion needs: an ioctl that converts, and VM type SW_PROTECTED. */
export const inPlace: readonly Need[] = [inPlaceConversion, vmType.swProtected]

/** A file that the host can map, all of it shared: GUEST_MEMFD_FLAG_MMAP and INIT_SHARED. */
export const SHARED_FILE = { mmap: true, initShared: true }
/** A file that the host can map, all of it private. */
export const PRIVATE_FILE = { mmap: true }

/**
 * A memory of SW_PROTECTED VMs, all of it one file that guest and host share: each qword holds its gpa xor `seed`, so that each page has
 * bytes of its own.
 */
export function sharedMemory(vm: Vm, pageCount: number, seed = 0n): Memory {
  const memory = vm.addMemory({ gpa: BASE, size: pages(pageCount), guestMemfd: SHARED_FILE })
  memory.fillPattern(seed)
  return memory
}

/**
 * How the host finds each page of a mapping of a file: `S` where it can load from it, `P` where that is SIGBUS. A load of a shared page
 * allocates it, and maps it.
 */
export function sharingOf(mapping: Mapping): string {
  const count = Number(mapping.size / pages(1))
  return Array.from({ length: count }, (_, page) => (mapping.probe(pages(page)).ok ? 'S' : 'P')).join('')
}

/** Which pages of a mapping are in memory: `1` or `0` for each. */
export function residence(mapping: Mapping): string {
  return [...mapping.mincore()].map((bits) => bits & 1).join('')
}

/** Lets this thread run on one processor only, until the test is over. */
export function runOn({ defer }: Pick<GmemContext, 'defer'>, processor: number): void {
  const thisThread = 0
  const everywhere = new Uint8Array(128).fill(0xff)
  const mask = new Uint8Array(128)
  mask[Math.floor(processor / 8)] = 1 << (processor % 8)
  sys('sched_setaffinity', thisThread, BigInt(mask.length), mask)
  defer(() => {
    sys('sched_setaffinity', thisThread, BigInt(everywhere.length), everywhere)
  })
}
