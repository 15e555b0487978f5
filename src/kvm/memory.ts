// SPDX-License-Identifier: Apache-2.0
import { type Bytes, bytes, type Gpa, gpaAdd } from '../units.js'
import type { GuestMemfd } from './guest-memfd.js'
import type { Mapping } from './mapping.js'
import type { Mismatch } from './outcome.js'
import type { MemoryRange, Span } from './range.js'

/** What a Memory is made of. */
export interface MemoryParts {
  readonly gpa: Gpa
  readonly size: Bytes
  readonly slot: number
  readonly shared: Mapping | null
  readonly guestMemfd: GuestMemfd | null
  readonly guestMemfdOffset: Bytes
  readonly remove: () => void
}

/**
 * An area of guest memory: a memslot, the host memory behind its userspace_addr, and its guest_memfd where it has one. Offsets count
 * from the start of the area, in bytes. It is a GpaRange itself: `vm.setPrivate(memory)`.
 */
export class Memory implements MemoryRange {
  readonly gpa: Gpa
  readonly size: Bytes
  readonly slot: number
  /** Always 0: the area as a range of itself. */
  readonly offset = bytes(0)
  /** Where the area starts in the guest_memfd. */
  readonly guestMemfdOffset: Bytes
  readonly #parts: MemoryParts

  /** Use `vm.addMemory()`. */
  constructor(parts: MemoryParts) {
    this.gpa = parts.gpa
    this.size = parts.size
    this.slot = parts.slot
    this.guestMemfdOffset = parts.guestMemfdOffset
    this.#parts = parts
  }

  /** The mapping behind userspace_addr. TypeError where the area was added with `userspace: null`. */
  get shared(): Mapping {
    const { shared } = this.#parts
    if (shared === null)
      throw new TypeError(`memslot ${this.slot} was added with userspace: null, it has no host mapping`)
    return shared
  }

  /** TypeError where the area was added without one. */
  get guestMemfd(): GuestMemfd {
    const { guestMemfd } = this.#parts
    if (guestMemfd === null) throw new TypeError(`memslot ${this.slot} was added without a guest_memfd`)
    return guestMemfd
  }

  /** The gpa at an offset. */
  gpaOf(offset: Bytes): Gpa {
    return gpaAdd(this.gpa, offset)
  }

  /** A part of the area. TypeError where it would leave it. */
  range(offset: Bytes, size: Bytes): MemoryRange {
    if (offset + size > this.size) {
      throw new TypeError(
        `offset ${offset} + size ${size} is beyond memslot ${this.slot} of ${this.size} bytes`,
      )
    }
    return { gpa: this.gpaOf(offset), offset, size }
  }

  /** The part of the guest_memfd that backs a part of the area. */
  fileSpan(part: Span = this): Span {
    return { offset: bytes(this.guestMemfdOffset + part.offset), size: part.size }
  }

  /** fallocate(PUNCH_HOLE) on the guest_memfd behind a part of the area. */
  punchHole(part: Span = this): void {
    this.guestMemfd.punchHole(this.fileSpan(part))
  }

  /** fallocate() of the guest_memfd behind a part of the area. */
  allocate(part: Span = this): void {
    this.guestMemfd.allocate(this.fileSpan(part))
  }

  /** Host side of `vcpu.fillPattern`: each qword of `shared` gets its gpa xor the seed. */
  fillPattern(seed: bigint, part: Span = this): void {
    this.shared.fillPattern(part, this.gpaOf(part.offset), seed)
  }

  /** Host side of `vcpu.verifyPattern`: the first qword of `shared` that is not its gpa xor the seed, or null. */
  verifyPattern(seed: bigint, part: Span = this): Mismatch | null {
    return this.shared.findPatternMismatch(part, this.gpaOf(part.offset), seed)
  }

  /** Deletes the memslot. The mapping and the guest_memfd stay, and are closed with the VM. */
  remove(): void {
    this.#parts.remove()
  }
}
