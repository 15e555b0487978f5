// SPDX-License-Identifier: Apache-2.0
import { MADV_HUGEPAGE, MAP_SHARED, O_RDWR, PROT_READ, PROT_WRITE, SYS } from 'gmem/abi'
import { type Bytes, binding, Mapping, type Memory, type NativeCall, type Vm } from 'gmem/kvm'
import { type GmemContext, type Need, pages, testModule } from 'gmem/testing'
import { BASE } from './conversion.js'

const { addon } = binding
const DEVICE = '/dev/gmem_pfnmap'

/** vm-images/modules/gmem_pfnmap/gmem_pfnmap.h: the order of its enums. */
const KINDS = ['refcounted', 'tails', 'compound', 'reserved', 'physical'] as const
const WAYS = ['remap', 'fault', 'notify', 'huge'] as const

/** What the pages are: each allocated alone, of one non-compound or compound block, PageReserved, or without a struct page. */
export type PageKind = (typeof KINDS)[number]
/** How they get into page tables: remap_pfn_range() in mmap(2), or a fault handler: writable, read-only until asked, 2 MiB at once. */
export type MapWay = (typeof WAYS)[number]

/** Kinds of pages that the module allocates itself. */
export const ALLOCATED: readonly PageKind[] = ['refcounted', 'tails', 'compound', 'reserved']
/** The ways of mapping single pages in which a page that was zapped is mapped again. */
export const FAULT_WAYS: readonly MapWay[] = ['fault', 'notify']
/** All ways of mapping single pages. */
export const SMALL_WAYS: readonly MapWay[] = ['remap', ...FAULT_WAYS]

/** A kind of pages and a way of mapping them. */
export interface PfnmapRow {
  readonly kind: PageKind
  readonly way: MapWay
}

/** Each kind with each way. */
export function pfnmapRows(kinds: readonly PageKind[], ways: readonly MapWay[]): PfnmapRow[] {
  return kinds.flatMap((kind) => ways.map((way) => ({ kind, way })))
}

/** The title of a test for each row. */
export function titleOf(what: string): (row: PfnmapRow) => string {
  return ({ kind, way }) => `${kind} pages, mapped by ${way}, ${what}`
}

/** Memory that KVM sees through a VM_PFNMAP mapping: the test module. */
export const pfnmapModule: Need = testModule('gmem_pfnmap')

/** gmem_pfnmap.h: the ioctls and the sizes of their structs. */
const CREATE = [0x4018_6700, 24] as const
const ZAP = [0x4010_6701, 16] as const
const REPLACE = [0x4010_6702, 16] as const
const PROTECT = [0x4010_6703, 16] as const
const READ = [0xc018_6704, 24] as const
const WRITE = [0x4018_6705, 24] as const
const INFO = [0xc020_6706, 32] as const

/** What the kernel says of one page. */
export interface PageInfo {
  readonly pfn: bigint
  /** Of the page's own struct page: 0 for the tail of a block, and without one. */
  readonly refcount: number
  readonly mapcount: number
  readonly hasStructPage: boolean
  readonly reserved: boolean
  readonly compound: boolean
  readonly pinned: boolean
  /** How often the fault handler has mapped it. */
  readonly faults: number
}

/** What to make. */
export interface PfnmapOptions extends PfnmapRow {
  /** At most 512; default 4. */
  readonly pageCount?: number
  /** Where `physical` memory starts. */
  readonly address?: bigint
}

/** Which page: the one that is mapped, or the one that takes its place at the next replacement. */
export type Which = 'current' | 'spare'

/** Pages of the test module, all mapped; gone with the last mapping after the test. */
export class Pfnmap {
  readonly fd: number
  readonly pageCount: number
  readonly mapping: Mapping

  constructor({ defer }: Pick<GmemContext, 'defer'>, options: PfnmapOptions) {
    const { kind, way, pageCount = 4, address = 0n } = options
    this.pageCount = pageCount
    this.fd = addon.open(DEVICE, O_RDWR, 0)
    defer(() => addon.close(this.fd))
    const request = struct(CREATE)
    request.setUint32(0, KINDS.indexOf(kind), true)
    request.setUint32(4, WAYS.indexOf(way), true)
    request.setUint32(8, pageCount, true)
    request.setBigUint64(16, address, true)
    this.#call(CREATE, request)
    this.mapping = this.map()
    // 6.12 asks a driver for 2 MiB only where THP may be: always, or where it was advised.
    if (way === 'huge') this.mapping.madvise(MADV_HUGEPAGE)
    defer(() => this.mapping.close())
  }

  /** Another mapping of all pages, the caller's to close. `huge` ones are aligned to 2 MiB. */
  map(prot = PROT_READ | PROT_WRITE): Mapping {
    const size = pages(this.pageCount)
    return new Mapping(addon.mmap(size, prot, MAP_SHARED, this.fd, 0n, pages(512)))
  }

  /** Takes pages out of all page tables. */
  zap(first = 0, count = this.pageCount - first): void {
    this.#range(ZAP, first, count, 0n)
  }

  /** Maps the spares in their place; the pages that were replaced hold `stale` in each qword when this returns. */
  replace(stale: bigint, first = 0, count = this.pageCount - first): void {
    this.#range(REPLACE, first, count, stale)
  }

  /**
   * Takes all pages out of all page tables so many times and then maps the spares in their place, without a pause between: who uses the pages
   * is in a page fault at each. On a thread of its own; what the pages hold is as for replace().
   */
  async replaceAfterZaps(stale: bigint, zaps: number): Promise<void> {
    const [zap, replace] = [this.#allPages(ZAP, 0n), this.#allPages(REPLACE, stale)]
    const made = await addon.syscallsOnThread([...Array<NativeCall>(zaps).fill(zap), replace], 1)
    const failed = made.flatMap(({ errors }) => Object.keys(errors)).filter((code) => code !== '')
    if (failed.length > 0) throw new Error(`pages cannot be replaced: ${failed}`)
  }

  /** Pages are mapped read-only from now on, also for who asks to write. */
  protect(first = 0, count = this.pageCount - first): void {
    this.#range(PROTECT, first, count, 1n)
  }

  /** Takes that back. */
  unprotect(first = 0, count = this.pageCount - first): void {
    this.#range(PROTECT, first, count, 0n)
  }

  /** A qword of a page, as the kernel reads it. */
  read(page: number, which: Which = 'current', offset: Bytes = pages(0)): bigint {
    const word = wordOf(page, which, offset)
    return this.#call(READ, word).getBigUint64(16, true)
  }

  /** The kernel writes a qword of a page. */
  write(page: number, value: bigint, which: Which = 'current', offset: Bytes = pages(0)): void {
    const word = wordOf(page, which, offset)
    word.setBigUint64(16, value, true)
    this.#call(WRITE, word)
  }

  /** What the kernel says of a page. */
  info(page: number, which: Which = 'current'): PageInfo {
    const info = struct(INFO)
    info.setUint32(0, page, true)
    info.setUint32(4, which === 'spare' ? 1 : 0, true)
    const answer = this.#call(INFO, info)
    const flags = answer.getUint32(24, true)
    return {
      pfn: answer.getBigUint64(8, true),
      refcount: answer.getInt32(16, true),
      mapcount: answer.getInt32(20, true),
      hasStructPage: (flags & 1) !== 0,
      reserved: (flags & 2) !== 0,
      compound: (flags & 4) !== 0,
      pinned: (flags & 8) !== 0,
      faults: answer.getUint32(28, true),
    }
  }

  /** The refcounts of all pages. */
  refcounts(): number[] {
    return Array.from({ length: this.pageCount }, (_, page) => this.info(page).refcount)
  }

  #range(call: Call, first: number, count: number, value: bigint): void {
    this.#call(call, rangeOf(call, first, count, value))
  }

  #allPages(call: Call, value: bigint): NativeCall {
    const { buffer } = rangeOf(call, 0, this.pageCount, value)
    return { number: SYS.ioctl, args: [this.fd, call[0], new Uint8Array(buffer)] }
  }

  #call([request]: Call, argument: DataView): DataView {
    const { buffer, byteLength } = argument
    addon.ioctl(this.fd, request, new Uint8Array(buffer, 0, byteLength))
    return argument
  }
}

/** A memslot over all pages, through their first mapping or another. */
export function slotOf(
  vm: Vm,
  set: Pfnmap,
  options: { readonly mapping?: Mapping; readonly flags?: number } = {},
): Memory {
  const { mapping = set.mapping, flags = 0 } = options
  return vm.addMemory({ gpa: BASE, size: mapping.size, userspace: mapping, flags })
}

type Call = readonly [request: number, size: number]

function struct([, size]: Call): DataView<ArrayBuffer> {
  return new DataView(new ArrayBuffer(size))
}

function rangeOf(call: Call, first: number, count: number, value: bigint): DataView<ArrayBuffer> {
  const range = struct(call)
  range.setUint32(0, first, true)
  range.setUint32(4, count, true)
  range.setBigUint64(8, value, true)
  return range
}

function wordOf(page: number, which: Which, offset: Bytes): DataView<ArrayBuffer> {
  const word = struct(READ)
  word.setUint32(0, page, true)
  word.setUint32(4, which === 'spare' ? 1 : 0, true)
  word.setBigUint64(8, offset, true)
  return word
}
