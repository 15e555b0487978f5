// SPDX-License-Identifier: Apache-2.0
import { type Gpa, Mapping, type Memory, type MemoryRange, refusalOf, type Vm } from 'gmem/kvm'
import { bytes, gpa, memoryAttribute, mib, type Need, pages, vmType } from 'gmem/testing'

/** What a test of private memory needs: VM type SW_PROTECTED, and KVM_SET_MEMORY_ATTRIBUTES that takes PRIVATE on it. */
export const privateMemory: readonly Need[] = [vmType.swProtected, memoryAttribute.private]

/** Where tests put their memory: 2 MiB aligned, clear of the monitor (1 MiB to 1.5 MiB). */
export const BASE: Gpa = gpa(0x1000_0000)

/** A memory of SW_PROTECTED VMs whose shared half holds `byte` and whose private half nobody has touched. */
export function convertibleMemory(vm: Vm, pageCount: number, byte = 0x5a): Memory {
  const memory = vm.addMemory({ gpa: BASE, size: pages(pageCount), guestMemfd: {} })
  memory.shared.fill(byte)
  return memory
}

/** Frees pages that are not zero, so that the kernel hands them out next: a page that nobody clears is seen. */
export function soilFreePages(): void {
  const soil = Mapping.anonymous(mib(2))
  soil.fill(0xee)
  soil.close()
}

/** The errno's name of a refused call, '' for a call that worked. */
export function errnoOf(call: () => unknown): string {
  return refusalOf(call)?.code ?? ''
}

/** What each page of a mapping is filled with: its byte, or the text `mixed` where it holds more than one. */
export function fillOfPages(mapping: Mapping): (number | 'mixed')[] {
  const data = mapping.read(bytes(0), Number(mapping.size))
  return pageNumbers(mapping).map((page) => {
    const first = data[page * Number(pages(1))] ?? 0
    return mapping.findMismatch(first, { offset: pages(page), size: pages(1) }) === null ? first : 'mixed'
  })
}

/** What fillOfPages gives where even pages hold one byte and odd pages another. */
export function alternating(
  pageCount: number,
  fill: { readonly even: number; readonly odd: number },
): number[] {
  return Array.from({ length: pageCount }, (_, page) => (page % 2 === 0 ? fill.even : fill.odd))
}

/** Every second page of a memory, as ranges of one page: those with even or with odd numbers. */
export function everySecondPage(memory: Memory, which: 'even' | 'odd'): MemoryRange[] {
  const remainder = which === 'even' ? 0 : 1
  const numbers = pageNumbers(memory).filter((page) => page % 2 === remainder)
  return numbers.map((page) => memory.range(pages(page), pages(1)))
}

function pageNumbers({ size }: { readonly size: bigint }): number[] {
  return Array.from({ length: Number(size / pages(1)) }, (_, page) => page)
}
