// SPDX-License-Identifier: Apache-2.0
import {
  CR0_ET,
  CR0_MP,
  CR0_NE,
  CR0_PE,
  CR0_PG,
  CR0_WP,
  CR4_OSFXSR,
  CR4_OSXMMEXCPT,
  CR4_PAE,
  EFER_LMA,
  EFER_LME,
  kvm_dtable,
  kvm_regs,
  kvm_segment,
  kvm_sregs,
  MAP_ANONYMOUS,
  MAP_PRIVATE,
  PROT_READ,
  PROT_WRITE,
  PTE_ACCESSED,
  PTE_DIRTY,
  PTE_LARGE,
  PTE_PRESENT,
  PTE_WRITE,
} from '../abi/index.js'
import type { NativeMapping, NativeVm } from '../binding/addon.js'
import { binding } from '../binding/index.js'
import { hex } from '../units.js'
import { CommandPage } from './monitor-protocol.js'

/** Where the monitor lives in guest memory: its memslot, gpa and size. Keep test memory clear of it. */
export const MONITOR_SLOT = 0
export const MONITOR_BASE = 0x10_0000n
export const MONITOR_SIZE = 0x8_0000n

/** How many vCPUs of one VM the region has room for. */
export const MONITOR_VCPUS_MAX = 24

const IMAGE_BYTES_MAX = 0x4000
const GDT = 0x4000n
const IDT = 0x5000n
const PML4 = 0x6000n
const PDPT_FIRST = 0x7000n
const PDPTS_MAX = 8
// Beyond the vCPUs' pages: the host's part of the region, one page for each GiB that is touched.
const PD_FIRST = 0x4_0000n
const PDS_MAX = 64
const PAIRS = 0x1_0000n
const PAIR_SIZE = 0x2000n
const EXCEPTION_STUBS = 0x800n
const STUB_SIZE = 16n
const VECTORS = 32
const CODE_SELECTOR = 0x08
const DATA_SELECTOR = 0x10
const GDT_ENTRIES = [0n, 0x00af_9a00_0000_ffffn, 0x00cf_9200_0000_ffffn]
const TABLE_BITS = PTE_PRESENT | PTE_WRITE | PTE_ACCESSED | PTE_DIRTY
const TABLE_ENTRIES = 512
const PAGE_TABLE_SIZE = 0x1000n
const LARGE_PAGE_SIZE = 0x20_0000
const GIB_SHIFT = 30n
const PDPT_SHIFT = 39n
// Beyond this a linear address equal to the gpa would not be canonical.
const IDENTITY_LIMIT = 1n << 47n

/** The monitor in one VM: its image, descriptor tables, page tables and command pages (memslot 0). */
export class MonitorImage {
  readonly #region: NativeMapping
  readonly #useVmmcall: boolean
  readonly #pdpts = new Map([[0n, PDPT_FIRST]])
  /** The GiBs that are mapped: the template has the first. */
  readonly #pds = new Set([0n])
  #vcpus = 0

  /** Builds the region and adds its memslot. KernelError where KVM refuses the memslot. */
  constructor(vm: NativeVm, useVmmcall: boolean) {
    const { addon } = binding
    this.#useVmmcall = useVmmcall
    this.#region = addon.mmap(MONITOR_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0n, 0n)
    template ??= makeTemplate()
    this.#region.write(0n, template)
    firstPd ??= largePages(0n)
    this.#region.write(PD_FIRST, firstPd)
    vm.setUserMemoryRegion(MONITOR_SLOT, 0, MONITOR_BASE, MONITOR_SIZE, this.#region.address)
  }

  /** Takes the next free command page. TypeError beyond MONITOR_VCPUS_MAX. */
  addVcpu(): { readonly page: CommandPage; readonly regs: Uint8Array } {
    if (this.#vcpus === MONITOR_VCPUS_MAX)
      throw new TypeError(`the monitor drives at most ${MONITOR_VCPUS_MAX} vCPUs of a VM`)
    const offset = PAIRS + PAIR_SIZE * BigInt(this.#vcpus)
    this.#vcpus += 1
    const command = MONITOR_BASE + offset
    const regs = kvm_regs.encode({ rip: MONITOR_BASE, rdi: command, rsp: command + PAIR_SIZE, rflags: 2n })
    return { page: new CommandPage(this.#region, offset, this.#useVmmcall), regs }
  }

  /** Identity-maps what an operation is about to touch. TypeError where that cannot be done. */
  cover(gpa: bigint, size: bigint): void {
    if (gpa + size > IDENTITY_LIMIT)
      throw new TypeError(`the guest monitor reaches gpas below 2^47, not ${hex(gpa + size)}`)
    const last = (gpa + (size > 0n ? size - 1n : 0n)) >> GIB_SHIFT
    for (let gib = gpa >> GIB_SHIFT; gib <= last; gib += 1n) this.#addPd(gib)
  }

  /** Long mode with the monitor's tables, on top of what the vCPU has. */
  sregs(current: Uint8Array): Uint8Array {
    longMode ??= makeLongMode()
    return kvm_sregs.patch(current, longMode)
  }

  close(): void {
    this.#region.close()
  }

  // 2 MiB pages: a KVM that shadows page tables may not offer 1 GiB ones.
  #addPd(gib: bigint): void {
    if (this.#pds.has(gib)) return
    if (this.#pds.size === PDS_MAX)
      throw new TypeError(`operations of one VM touch more than ${PDS_MAX} areas of 1 GiB`)
    const table = PD_FIRST + PAGE_TABLE_SIZE * BigInt(this.#pds.size)
    this.#region.write(table, largePages(gib))
    const slot = gib % BigInt(TABLE_ENTRIES)
    this.#region.write(
      this.#pdpt((gib << GIB_SHIFT) >> PDPT_SHIFT) + 8n * slot,
      qwords([(MONITOR_BASE + table) | TABLE_BITS]),
    )
    this.#pds.add(gib)
  }

  #pdpt(index: bigint): bigint {
    const found = this.#pdpts.get(index)
    if (found !== undefined) return found
    if (this.#pdpts.size === PDPTS_MAX) {
      throw new TypeError(`operations of one VM touch more than ${PDPTS_MAX} areas of 512 GiB`)
    }
    const table = PDPT_FIRST + PAGE_TABLE_SIZE * BigInt(this.#pdpts.size)
    this.#region.write(PML4 + 8n * index, qwords([(MONITOR_BASE + table) | TABLE_BITS]))
    this.#pdpts.set(index, table)
    return table
  }
}

// What is the same in every VM is made once: bigints are slow on an emulated CPU.
let template: Uint8Array | null = null
let firstPd: Uint8Array | null = null
let longMode: Parameters<typeof kvm_sregs.patch>[1] | null = null

// Image, descriptor tables, and the upper page tables of the first GiB.
function makeTemplate(): Uint8Array {
  const { monitor } = binding.addon
  if (monitor.length > IMAGE_BYTES_MAX) throw new Error(`the monitor image has ${monitor.length} bytes`)
  const bytes = new Uint8Array(Number(PDPT_FIRST) + Number(PAGE_TABLE_SIZE))
  bytes.set(monitor)
  bytes.set(qwords(GDT_ENTRIES), Number(GDT))
  bytes.set(idt(), Number(IDT))
  bytes.set(qwords([(MONITOR_BASE + PDPT_FIRST) | TABLE_BITS]), Number(PML4))
  bytes.set(qwords([(MONITOR_BASE + PD_FIRST) | TABLE_BITS]), Number(PDPT_FIRST))
  return bytes
}

function makeLongMode(): Parameters<typeof kvm_sregs.patch>[1] {
  const code = segment(CODE_SELECTOR, { type: 0xb, l: 1 })
  const data = segment(DATA_SELECTOR, { type: 0x3, db: 1 })
  return {
    cs: code,
    ds: data,
    es: data,
    fs: data,
    gs: data,
    ss: data,
    gdt: kvm_dtable.encode({ base: MONITOR_BASE + GDT, limit: GDT_ENTRIES.length * 8 - 1 }),
    idt: kvm_dtable.encode({ base: MONITOR_BASE + IDT, limit: VECTORS * 16 - 1 }),
    cr0: CR0_PE | CR0_MP | CR0_ET | CR0_NE | CR0_WP | CR0_PG,
    cr3: MONITOR_BASE + PML4,
    cr4: CR4_PAE | CR4_OSFXSR | CR4_OSXMMEXCPT,
    efer: EFER_LME | EFER_LMA,
  }
}

function segment(selector: number, kind: { type: number; l?: number; db?: number }): Uint8Array {
  return kvm_segment.encode({ selector, limit: 0xffff_ffff, present: 1, s: 1, g: 1, ...kind })
}

// In u32 halves, for the same reason.
function largePages(gib: bigint): Uint8Array {
  const words = new Uint32Array(2 * TABLE_ENTRIES)
  const low = Number((gib & 3n) << GIB_SHIFT)
  const high = Number(gib >> 2n)
  const bits = Number(TABLE_BITS | PTE_LARGE)
  for (let index = 0; index < TABLE_ENTRIES; index += 1) {
    words[2 * index] = low + index * LARGE_PAGE_SIZE + bits
    words[2 * index + 1] = high
  }
  return new Uint8Array(words.buffer)
}

function idt(): Uint8Array {
  const gates: bigint[] = []
  for (let vector = 0n; vector < VECTORS; vector += 1n) {
    const stub = MONITOR_BASE + EXCEPTION_STUBS + STUB_SIZE * vector
    const presentInterruptGate = 0x8en << 40n
    const offsetLow = stub & 0xffffn
    const offsetMiddle = ((stub >> 16n) & 0xffffn) << 48n
    gates.push(offsetLow | (BigInt(CODE_SELECTOR) << 16n) | presentInterruptGate | offsetMiddle, stub >> 32n)
  }
  return qwords(gates)
}

function qwords(values: readonly bigint[]): Uint8Array {
  return new Uint8Array(BigUint64Array.from(values).buffer)
}
