// SPDX-License-Identifier: Apache-2.0
import {
  FALLOC_FL_KEEP_SIZE,
  FALLOC_FL_PUNCH_HOLE,
  GUEST_MEMFD_FLAG_INIT_SHARED,
  GUEST_MEMFD_FLAG_MMAP,
  MAP_SHARED,
  PROT_READ,
  PROT_WRITE,
} from '../abi/index.js'
import type { NativeGuestMemfd } from '../binding/addon.js'
import { type Bytes, bytes } from '../units.js'
import type { Children, Closable } from './children.js'
import {
  type AttributesRequest,
  attemptAttributes,
  attemptGmemConvert,
  convert,
  type GmemConvertRequest,
  type Sharing,
  setAttributes,
} from './conversion.js'
import { Mapping } from './mapping.js'
import type { Span } from './range.js'

/** kvm_create_guest_memfd.flags: by name, or as any u64. */
export type GuestMemfdFlags = { readonly mmap?: boolean; readonly initShared?: boolean } | bigint

/** The u64 of creation flags. */
export function guestMemfdFlagBits(flags: GuestMemfdFlags): bigint {
  if (typeof flags === 'bigint') return flags
  const mmap = flags.mmap === true ? GUEST_MEMFD_FLAG_MMAP : 0n
  const initShared = flags.initShared === true ? GUEST_MEMFD_FLAG_INIT_SHARED : 0n
  return mmap | initShared
}

/** fstat(2) of a guest_memfd. */
export type FileStat = ReturnType<NativeGuestMemfd['fstat']>

/** A guest_memfd: a file of guest memory, one KVM_CREATE_GUEST_MEMFD. It keeps its VM alive, as the kernel does. */
export class GuestMemfd implements Disposable, Closable {
  /** Bytes asked for when it was created. */
  readonly size: Bytes
  /** Creation flags. */
  readonly flags: bigint
  readonly #native: NativeGuestMemfd
  readonly #owner: Children
  readonly #outliving: Children
  readonly #ioctl = (request: number, argument: Uint8Array) => this.ioctl(request, argument)

  /** Use `vm.createGuestMemfd()`. `owner` closes it; `outliving` owns what dup() makes. */
  constructor(
    native: NativeGuestMemfd,
    made: { readonly size: Bytes; readonly flags: bigint },
    owners: { readonly owner: Children; readonly outliving: Children },
  ) {
    this.#native = native
    this.size = made.size
    this.flags = made.flags
    this.#owner = owners.owner
    this.#outliving = owners.outliving
    this.#owner.add(this)
  }

  get fd(): number {
    return this.#native.fd
  }

  /** Created with GUEST_MEMFD_FLAG_MMAP. */
  get hasMmap(): boolean {
    return (this.flags & GUEST_MEMFD_FLAG_MMAP) !== 0n
  }

  /** fallocate(2) as given. KernelError EOPNOTSUPP for other modes, EINVAL unaligned or beyond the end, EFBIG on wrap. */
  fallocate(request: { readonly mode: number; readonly offset: bigint; readonly length: bigint }): void {
    this.#native.fallocate(request.mode, request.offset, request.length)
  }

  /** Allocates pages: fallocate(FALLOC_FL_KEEP_SIZE). */
  allocate(part: Span = this.whole()): void {
    this.#native.fallocate(FALLOC_FL_KEEP_SIZE, part.offset, part.size)
  }

  /** Frees pages, which read zero when touched again: fallocate(FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE). */
  punchHole(part: Span = this.whole()): void {
    this.#native.fallocate(FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, part.offset, part.size)
  }

  /** ftruncate(2). KernelError EINVAL: a guest_memfd never changes its size. */
  truncate(size: bigint): void {
    this.#native.ftruncate(size)
  }

  /** fstat(2). */
  stat(): FileStat {
    return this.#native.fstat()
  }

  /** read(2). KernelError EINVAL in every release up to 7.3. */
  read(length: number): Uint8Array {
    return this.#native.read(length)
  }

  /** write(2). KernelError EINVAL in every release up to 7.3. */
  write(data: Uint8Array): number {
    return this.#native.write(data)
  }

  /** pread(2). KernelError ESPIPE in every release up to 7.3. */
  pread(length: number, offset: bigint): Uint8Array {
    return this.#native.pread(length, offset)
  }

  /** pwrite(2). KernelError ESPIPE in every release up to 7.3. */
  pwrite(data: Uint8Array, offset: bigint): number {
    return this.#native.pwrite(data, offset)
  }

  /** lseek(2) with SEEK_*. KernelError ESPIPE in every release up to 7.3. */
  lseek(offset: bigint, whence: number): bigint {
    return this.#native.lseek(offset, whence)
  }

  /** Any ioctl on the file; bytes are written back, also where it fails. KernelError ENOTTY for all up to 7.3. */
  ioctl(request: number, argument: Uint8Array | bigint | null = null): number {
    return this.#native.ioctl(request, argument)
  }

  /**
   * KVM_SET_MEMORY_ATTRIBUTES2: the attributes of a range of the file. ConversionError EINVAL, ENOMEM, EAGAIN (with `errorOffset`: a page
   * is in use); ENOTTY up to 7.3. Nothing has changed where it fails.
   */
  setAttributes(request: {
    readonly offset: bigint
    readonly size: bigint
    readonly attributes: bigint
    readonly flags?: bigint
  }): void {
    setAttributes(this.#ioctl, request)
  }

  /** KVM_SET_MEMORY_ATTRIBUTES2 exactly as given, malformed or not: its errno, and the struct after the call. */
  attemptAttributes(request: AttributesRequest) {
    return attemptAttributes(this.#ioctl, request)
  }

  /** KVM_GMEM_CONVERT_PRIVATE or _SHARED (only in an early posting) exactly as given: its errno, and the struct after the call. */
  attemptGmemConvert(to: Sharing, request: GmemConvertRequest) {
    return attemptGmemConvert(this.#ioctl, to, request)
  }

  /** Converts a range in place, with the ioctl that the kernel has. ConversionError as `setAttributes`; ENOTTY where there is none. */
  convert(range: Span, to: Sharing): void {
    convert(this.#ioctl, range, to)
  }

  /**
   * mmap(2), shared and read-write unless said otherwise. KernelError ENODEV without GUEST_MEMFD_FLAG_MMAP, EINVAL for MAP_PRIVATE,
   * EPERM for PROT_EXEC. The mapping outlives this fd and is closed with the VM.
   */
  mmap(
    options: {
      readonly offset?: bigint
      readonly size?: bigint
      readonly prot?: number
      readonly flags?: number
    } = {},
  ): Mapping {
    const offset = options.offset ?? 0n
    const size = options.size ?? this.size - offset
    const prot = options.prot ?? PROT_READ | PROT_WRITE
    const native = this.#native.mmap(size, prot, options.flags ?? MAP_SHARED, offset)
    return this.#owner.add(new Mapping(native, (self) => this.#owner.delete(self)))
  }

  /** dup(2). The duplicate is not closed with the VM but with the Kvm, to see what outlives a VM fd. */
  dup(): GuestMemfd {
    const owners = { owner: this.#outliving, outliving: this.#outliving }
    return new GuestMemfd(this.#native.dup(), { size: this.size, flags: this.flags }, owners)
  }

  /** The whole file. */
  whole(): Span {
    return { offset: bytes(0), size: this.size }
  }

  /** A part of the file. */
  span(offset: Bytes, size: Bytes): Span {
    return { offset, size }
  }

  /** close(2). Idempotent; any use after it is a TypeError. Mappings of it stay. */
  close(): void {
    this.#owner.delete(this)
    this.#native.close()
  }

  [Symbol.dispose](): void {
    this.close()
  }
}
