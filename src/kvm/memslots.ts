// SPDX-License-Identifier: Apache-2.0
import { KVM_MEM_GUEST_MEMFD } from '../abi/index.js'
import type { NativeVm } from '../binding/addon.js'
import type { Bytes, Gpa } from '../units.js'
import { GuestMemfd } from './guest-memfd.js'
import { Mapping } from './mapping.js'
import { MONITOR_SLOT } from './monitor-image.js'

/** A memslot as KVM_SET_USER_MEMORY_REGION2 takes it. What is left out is zero. */
export interface Memslot {
  /** Slot id, with the address space id in bits 16..31. */
  readonly slot: number
  readonly gpa: Gpa
  readonly size: Bytes
  /** userspace_addr: a mapping's first byte, or any number. */
  readonly hva?: Mapping | bigint
  /** A guest_memfd, or any fd number. */
  readonly guestMemfd?: GuestMemfd | number
  readonly guestMemfdOffset?: bigint
  /** KVM_MEM_*; by default KVM_MEM_GUEST_MEMFD where a guest_memfd is given, else 0. */
  readonly flags?: number
}

/** Sets memslots and remembers which ids are taken. */
export class Memslots {
  readonly #native: NativeVm
  readonly #used = new Set<number>([MONITOR_SLOT])

  constructor(native: NativeVm) {
    this.#native = native
  }

  /** The lowest id that nobody uses; 0 is the monitor's. */
  free(): number {
    let slot = MONITOR_SLOT
    while (this.#used.has(slot)) slot += 1
    return slot
  }

  /** KVM_SET_USER_MEMORY_REGION2, exactly as given. */
  set(memslot: Memslot): void {
    const { slot, gpa, size } = memslot
    const flags = memslot.flags ?? (memslot.guestMemfd === undefined ? 0 : KVM_MEM_GUEST_MEMFD)
    const offset = memslot.guestMemfdOffset ?? 0n
    this.#native.setUserMemoryRegion2(
      slot,
      flags,
      gpa,
      size,
      hvaOf(memslot.hva),
      offset,
      fdOf(memslot.guestMemfd),
    )
    this.#remember(slot, size)
  }

  /** KVM_SET_USER_MEMORY_REGION, exactly as given; it knows no guest_memfd. */
  setV1(memslot: Omit<Memslot, 'guestMemfd' | 'guestMemfdOffset'>): void {
    const { slot, gpa, size } = memslot
    this.#native.setUserMemoryRegion(slot, memslot.flags ?? 0, gpa, size, hvaOf(memslot.hva))
    this.#remember(slot, size)
  }

  #remember(slot: number, size: bigint): void {
    if (size > 0n) this.#used.add(slot)
    else if (slot !== MONITOR_SLOT) this.#used.delete(slot)
  }
}

function hvaOf(hva: Mapping | bigint | undefined): bigint {
  return hva instanceof Mapping ? hva.hva : (hva ?? 0n)
}

function fdOf(guestMemfd: GuestMemfd | number | undefined): number {
  return guestMemfd instanceof GuestMemfd ? guestMemfd.fd : (guestMemfd ?? 0)
}
