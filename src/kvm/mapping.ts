// SPDX-License-Identifier: Apache-2.0
import {
  MADV_HUGEPAGE,
  MADV_NOHUGEPAGE,
  MAP_ANONYMOUS,
  MAP_HUGE_2MB,
  MAP_HUGETLB,
  MAP_NORESERVE,
  MAP_PRIVATE,
  MAP_SHARED,
  MFD_CLOEXEC,
  PROT_READ,
  PROT_WRITE,
} from '../abi/index.js'
import type { NativeMapping } from '../binding/addon.js'
import { binding } from '../binding/index.js'
import { type Bytes, bytes, type Hva, mib } from '../units.js'
import type { Closable } from './children.js'
import { fillPattern, findPatternMismatch } from './pattern.js'
import { type MemorySignal, memorySignal, type Probe, probeOf, type Width } from './probe.js'
import type { Span } from './range.js'

const READ_WRITE = PROT_READ | PROT_WRITE
const NO_FD = -1

/**
 * Host memory: a mmap(2) of anonymous memory, a memfd or a guest_memfd. Data is copied in and out; nothing ever aliases it. Reading
 * or writing what the kernel does not let us touch throws a MemoryAccessError (`signal`, `code`, `address`); `probe` returns it.
 */
export class Mapping implements Disposable, Closable {
  readonly #native: NativeMapping
  readonly #onClose: (self: Mapping) => void

  /** Wraps a native mapping; use the factories or `guestMemfd.mmap()`. */
  constructor(native: NativeMapping, onClose: (self: Mapping) => void = () => {}) {
    this.#native = native
    this.#onClose = onClose
  }

  /** Private anonymous memory, kept to 4 KiB pages (MADV_NOHUGEPAGE where the kernel has THP). KernelError of mmap(2). */
  static anonymous(size: Bytes): Mapping {
    const mapping = Mapping.#map(size, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, 0n)
    ignoreInvalid(() => mapping.madvise(MADV_NOHUGEPAGE))
    return mapping
  }

  /** Private anonymous memory, aligned to 2 MiB with MADV_HUGEPAGE. KernelError EINVAL from madvise(2) without THP. */
  static thp(size: Bytes): Mapping {
    const mapping = Mapping.#map(size, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, mib(2))
    mapping.madvise(MADV_HUGEPAGE)
    return mapping
  }

  /** 2 MiB hugetlb pages. KernelError ENOMEM where too few are in the pool (/proc/sys/vm/nr_hugepages). */
  static hugetlb(size: Bytes): Mapping {
    return Mapping.#map(size, MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB | MAP_HUGE_2MB, 0n)
  }

  /** A shared mapping of a new memfd, whose fd is closed again. */
  static memfd(size: Bytes): Mapping {
    const { addon } = binding
    const fd = addon.memfdCreate('gmem', MFD_CLOEXEC)
    try {
      addon.ftruncate(fd, size)
      return new Mapping(addon.mmap(size, READ_WRITE, MAP_SHARED, fd, 0n, 0n))
    } finally {
      addon.close(fd)
    }
  }

  static #map(size: Bytes, flags: number, align: bigint): Mapping {
    return new Mapping(binding.addon.mmap(size, READ_WRITE, flags, NO_FD, 0n, align))
  }

  /** The hva of the first byte. */
  get hva(): Hva {
    return this.#native.address as Hva
  }

  /** In bytes. */
  get size(): Bytes {
    return this.#native.length as Bytes
  }

  /** The hva at an offset. */
  hvaOf(offset: Bytes): Hva {
    return (this.hva + offset) as Hva
  }

  /** Copies out. RangeError outside the mapping. */
  read(offset: Bytes, length: number): Uint8Array {
    return this.#native.read(offset, length)
  }

  /** Copies in. */
  write(offset: Bytes, data: Uint8Array): void {
    this.#native.write(offset, data)
  }

  /** One byte at an offset. */
  read8(offset: Bytes): number {
    return this.read(offset, 1)[0] ?? 0
  }

  /** One little-endian u64 at an offset. */
  read64(offset: Bytes): bigint {
    return viewOf(this.read(offset, 8)).getBigUint64(0, true)
  }

  /** Stores one byte. */
  write8(offset: Bytes, value: number): void {
    this.write(offset, Uint8Array.of(value))
  }

  /** Stores one little-endian u64. */
  write64(offset: Bytes, value: bigint): void {
    const data = new Uint8Array(8)
    viewOf(data).setBigUint64(0, value, true)
    this.write(offset, data)
  }

  /** Sets every byte of a part, or of all of it. */
  fill(byte: number, part: Span = this.#all()): void {
    this.#native.fill(part.offset, part.size, byte)
  }

  /** The first byte of a part, or of all of it, that is not `byte`; null where all are. */
  findMismatch(
    byte: number,
    part: Span = this.#all(),
  ): { readonly offset: Bytes; readonly actual: number } | null {
    const found = this.#native.findMismatch(part.offset, part.size, byte)
    return found === null ? null : { offset: bytes(found.offset), actual: found.actual }
  }

  /** The first offset where the mapping differs from `data`, laid over it at `offset`; null where it does not. */
  compare(
    offset: Bytes,
    data: Uint8Array,
  ): { readonly offset: Bytes; readonly expected: number; readonly actual: number } | null {
    const mine = this.read(offset, data.length)
    const index = mine.findIndex((byte, at) => byte !== data[at])
    if (index === -1) return null
    return { offset: bytes(offset + BigInt(index)), expected: data[index] ?? 0, actual: mine[index] ?? 0 }
  }

  /** Stores `(base + offset of the qword in the part) ^ seed` in each qword; the guest's fillPattern does the same with gpas. */
  fillPattern(part: Span, base: bigint, seed: bigint): void {
    this.write(part.offset, fillPattern(Number(part.size), base, seed))
  }

  /** The first qword that is not what fillPattern stored, by its address counted from `base`; null where all are. */
  findPatternMismatch(part: Span, base: bigint, seed: bigint) {
    return findPatternMismatch(this.read(part.offset, Number(part.size)), base, seed)
  }

  /** One load of `width` bytes, with SIGBUS and SIGSEGV caught and returned. */
  probe(offset: Bytes, width: Width = 8): Probe {
    return probeOf(this.#native.probeRead(offset, width))
  }

  /** One store of `width` bytes, with SIGBUS and SIGSEGV caught and returned. */
  probeWrite(offset: Bytes, value: bigint, width: Width = 8): Probe {
    return probeOf(this.#native.probeWrite(offset, width, value))
  }

  /** As probe and (with `write`) probeWrite, but in a child made by fork(2). */
  forkProbe(offset: Bytes, options: { readonly width?: Width; readonly write?: bigint } = {}): Probe {
    return probeOf(this.#native.forkProbe(offset, options.width ?? 8, options.write ?? null))
  }

  /** mprotect(2) with PROT_* bits. KernelError EACCES, EINVAL, ENOMEM. */
  mprotect(prot: number, part: Span = this.#all()): void {
    this.#native.mprotect(part.offset, part.size, prot)
  }

  /**
   * madvise(2) with a MADV_* number: the SIGBUS that MADV_HWPOISON sends its caller, null without one. KernelError with its errno; where
   * there was a signal as well (EBUSY for MADV_HWPOISON of a guest_memfd, 7.3.4) the error has it as `sigbus`.
   */
  madvise(advice: number, part: Span = this.#all()): MemorySignal | null {
    const signal = this.#native.madvise(part.offset, part.size, advice)
    return signal === null ? null : memorySignal(signal)
  }

  /** munmap(2) of a part, which leaves a hole; `close` unmaps all. */
  munmap(part: Span): void {
    this.#native.munmap(part.offset, part.size)
  }

  /** mlock(2). KernelError ENOMEM, EAGAIN. */
  mlock(part: Span = this.#all()): void {
    this.#native.mlock(part.offset, part.size)
  }

  /** munlock(2). */
  munlock(part: Span = this.#all()): void {
    this.#native.munlock(part.offset, part.size)
  }

  /** mincore(2): one byte a page, bit 0 says resident. */
  mincore(part: Span = this.#all()): Uint8Array {
    return this.#native.mincore(part.offset, part.size)
  }

  /** Unmaps everything. Idempotent; any use after it is a TypeError. */
  close(): void {
    this.#onClose(this)
    this.#native.close()
  }

  [Symbol.dispose](): void {
    this.close()
  }

  #all(): Span {
    return { offset: bytes(0), size: this.size }
  }
}

function viewOf(data: Uint8Array): DataView {
  return new DataView(data.buffer, data.byteOffset, data.byteLength)
}

// A kernel without THP has no MADV_NOHUGEPAGE and gives 4 KiB pages anyhow.
function ignoreInvalid(advise: () => void): void {
  try {
    advise()
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'EINVAL')) throw error
  }
}
