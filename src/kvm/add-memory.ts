// SPDX-License-Identifier: Apache-2.0
import { KVM_MEM_GUEST_MEMFD } from '../abi/index.js'
import { type Bytes, bytes, type Gpa } from '../units.js'
import type { Children } from './children.js'
import { GuestMemfd, type GuestMemfdFlags } from './guest-memfd.js'
import { Mapping } from './mapping.js'
import { Memory } from './memory.js'
import type { Memslot } from './memslots.js'

/** Kinds of host memory for shared accesses. */
export type Backing = 'anonymous' | 'memfd' | 'thp' | 'hugetlb'

/** What `vm.addMemory()` makes. */
export interface AddMemoryOptions {
  readonly gpa: Gpa
  readonly size: Bytes
  /** Memslot id; default the lowest free one, from 1. */
  readonly slot?: number
  /** An existing guest_memfd, or the flags of one to create (`{}` for none); left out, an ordinary memslot. */
  readonly guestMemfd?: GuestMemfd | GuestMemfdFlags
  /** Where the area starts in the guest_memfd. */
  readonly offset?: Bytes
  /** Host memory behind userspace_addr; default 'anonymous'. */
  readonly backing?: Backing
  /**
   * What userspace_addr points to: the guest_memfd's own mapping (default where it has GUEST_MEMFD_FLAG_MMAP), host memory of
   * `backing` (otherwise), an existing mapping, or null for none (address 0).
   */
  readonly userspace?: 'guest_memfd' | 'backing' | Mapping | null
  /** KVM_MEM_* flags beside KVM_MEM_GUEST_MEMFD. */
  readonly flags?: number
}

interface Slots {
  createGuestMemfd(options: { readonly size: Bytes; readonly flags?: GuestMemfdFlags }): GuestMemfd
  addMemslot(memslot: Omit<Memslot, 'slot'> & { readonly slot?: number }): number
  deleteMemslot(slot: number): void
}

/** The work of `vm.addMemory()`. */
export function addMemory(vm: Slots, children: Children, options: AddMemoryOptions): Memory {
  const { gpa, size } = options
  const guestMemfdOffset = options.offset ?? bytes(0)
  const guestMemfd = guestMemfdOf(vm, options, guestMemfdOffset)
  const shared = userspaceOf(children, options, guestMemfd, guestMemfdOffset)
  const slot = vm.addMemslot({
    gpa,
    size,
    guestMemfdOffset,
    flags: (options.flags ?? 0) | (guestMemfd === null ? 0 : KVM_MEM_GUEST_MEMFD),
    ...(options.slot === undefined ? {} : { slot: options.slot }),
    ...(shared === null ? {} : { hva: shared }),
    ...(guestMemfd === null ? {} : { guestMemfd }),
  })
  return new Memory({
    gpa,
    size,
    slot,
    shared,
    guestMemfd,
    guestMemfdOffset,
    remove: () => vm.deleteMemslot(slot),
  })
}

function guestMemfdOf(vm: Slots, options: AddMemoryOptions, offset: Bytes): GuestMemfd | null {
  const { guestMemfd } = options
  if (guestMemfd === undefined) return null
  if (guestMemfd instanceof GuestMemfd) return guestMemfd
  return vm.createGuestMemfd({ size: bytes(offset + options.size), flags: guestMemfd })
}

function userspaceOf(
  children: Children,
  options: AddMemoryOptions,
  guestMemfd: GuestMemfd | null,
  offset: Bytes,
): Mapping | null {
  const userspace =
    options.userspace === undefined ? defaultUserspace(options, guestMemfd) : options.userspace
  if (userspace === null || userspace instanceof Mapping) return userspace
  if (userspace === 'backing') return children.add(backed(options.backing ?? 'anonymous', options.size))
  if (guestMemfd === null) throw new TypeError("userspace: 'guest_memfd' needs a guest_memfd")
  return guestMemfd.mmap({ offset, size: options.size })
}

function defaultUserspace(
  options: AddMemoryOptions,
  guestMemfd: GuestMemfd | null,
): 'guest_memfd' | 'backing' {
  return guestMemfd?.hasMmap === true && options.backing === undefined ? 'guest_memfd' : 'backing'
}

function backed(backing: Backing, size: Bytes): Mapping {
  switch (backing) {
    case 'anonymous':
      return Mapping.anonymous(size)
    case 'memfd':
      return Mapping.memfd(size)
    case 'thp':
      return Mapping.thp(size)
    case 'hugetlb':
      return Mapping.hugetlb(size)
  }
}
