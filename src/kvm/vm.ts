// SPDX-License-Identifier: Apache-2.0
import {
  type Capability,
  capabilityNumber,
  KVM_GET_DIRTY_LOG,
  KVM_MEMORY_ATTRIBUTE_PRIVATE,
  kvm_dirty_log,
  MAP_ANONYMOUS,
  MAP_PRIVATE,
  PROT_READ,
  PROT_WRITE,
} from '../abi/index.js'
import type { NativeKvm, NativeVm } from '../binding/addon.js'
import { binding } from '../binding/index.js'
import { type Bytes, bytes, type Gpa, PAGE_SIZE } from '../units.js'
import { type AddMemoryOptions, addMemory } from './add-memory.js'
import { allowEveryProcessor } from './affinity.js'
import { Children, type Closable } from './children.js'
import { cpuidOf } from './cpuid.js'
import { GuestMemfd, type GuestMemfdFlags, guestMemfdFlagBits } from './guest-memfd.js'
import type { Mapping } from './mapping.js'
import type { Memory } from './memory.js'
import { type Memslot, Memslots } from './memslots.js'
import { MonitorImage } from './monitor-image.js'
import type { GpaRange } from './range.js'
import { Vcpu } from './vcpu.js'

/** What a Vm needs from the Kvm that makes it. */
export interface VmMaker {
  readonly kvm: NativeKvm
  /** Owns what outlives the VM fd: duplicates of guest_memfds. */
  readonly outliving: Children
  readonly onClose: (self: Vm) => void
}

/** A VM. Closing it closes its vCPUs, guest_memfds and mappings first. */
export class Vm implements Disposable, Closable {
  readonly #native: NativeVm
  readonly #maker: VmMaker
  readonly #vcpus = new Children()
  readonly #children = new Children()
  readonly #memslots: Memslots
  #monitor: MonitorImage | null = null
  #nextVcpuId = 0

  /** Use `kvm.createVm()`. */
  constructor(native: NativeVm, maker: VmMaker) {
    this.#native = native
    this.#maker = maker
    this.#memslots = new Memslots(native)
  }

  get fd(): number {
    return this.#native.fd
  }

  /** KVM_CHECK_EXTENSION on the VM: 0 where it lacks the capability. */
  capability(capability: Capability): number {
    return this.#native.checkExtension(capabilityNumber(capability))
  }

  /** True where the VM has the capability. */
  has(capability: Capability): boolean {
    return this.capability(capability) > 0
  }

  /** KVM_ENABLE_CAP with up to four args. KernelError EINVAL where it cannot be enabled so. */
  enableCapability(capability: Capability, args: readonly bigint[] = [], flags = 0): void {
    this.#native.enableCapability(capabilityNumber(capability), [...args], flags)
  }

  /** KVM_CREATE_GUEST_MEMFD. KernelError EINVAL for flags the VM does not offer, size 0, unaligned or negative; EMFILE. */
  createGuestMemfd(options: { readonly size: Bytes; readonly flags?: GuestMemfdFlags }): GuestMemfd {
    const flags = guestMemfdFlagBits(options.flags ?? 0n)
    const native = this.#native.createGuestMemfd(options.size, flags)
    const owners = { owner: this.#children, outliving: this.#maker.outliving }
    return new GuestMemfd(native, { size: options.size, flags }, owners)
  }

  /**
   * Guest memory in one call: a memslot with host memory behind it and, with `guestMemfd`, a guest_memfd. KernelError of
   * KVM_CREATE_GUEST_MEMFD, mmap(2) and KVM_SET_USER_MEMORY_REGION2.
   */
  addMemory(options: AddMemoryOptions): Memory {
    return addMemory(this, this.#children, options)
  }

  /** Adds a memslot with the lowest free id (or the given one) by KVM_SET_USER_MEMORY_REGION2; returns the id. */
  addMemslot(memslot: Omit<Memslot, 'slot'> & { readonly slot?: number }): number {
    const slot = memslot.slot ?? this.#memslots.free()
    this.#memslots.set({ ...memslot, slot })
    return slot
  }

  /** KVM_SET_USER_MEMORY_REGION2 exactly as given. KernelError EINVAL, EEXIST, EBADF as facts/guest-memfd-abi.md 3.5 lists. */
  setMemslot(memslot: Memslot): void {
    this.#memslots.set(memslot)
  }

  /** KVM_SET_USER_MEMORY_REGION exactly as given. */
  setMemslotV1(memslot: Omit<Memslot, 'guestMemfd' | 'guestMemfdOffset'>): void {
    this.#memslots.setV1(memslot)
  }

  /** Deletes a memslot: size 0. KernelError EINVAL where there is none. */
  deleteMemslot(slot: number): void {
    this.#memslots.set({ slot, gpa: 0n as Gpa, size: bytes(0) })
  }

  /** The dirty bitmap of a memslot, one bit a page (KVM_GET_DIRTY_LOG). KernelError ENOENT where it does not log. */
  dirtyLog(slot: number, size: Bytes): Uint8Array {
    const bitmapBytes = Number((size / PAGE_SIZE + 63n) / 64n) * 8
    const mapping = binding.addon.mmap(
      BigInt(bitmapBytes),
      PROT_READ | PROT_WRITE,
      MAP_PRIVATE | MAP_ANONYMOUS,
      -1,
      0n,
      0n,
    )
    try {
      this.ioctl(KVM_GET_DIRTY_LOG, kvm_dirty_log.encode({ slot, dirty_bitmap: mapping.address }))
      return mapping.read(0n, bitmapBytes)
    } finally {
      mapping.close()
    }
  }

  /** KVM_SET_MEMORY_ATTRIBUTES as given. KernelError EINVAL; ENOTTY without CONFIG_KVM_GENERIC_MEMORY_ATTRIBUTES. */
  setAttributes(request: {
    readonly gpa: bigint
    readonly size: bigint
    readonly attributes: bigint
    readonly flags?: bigint
  }): void {
    this.#native.setMemoryAttributes(request.gpa, request.size, request.attributes, request.flags ?? 0n)
  }

  /** Makes a range private: KVM_SET_MEMORY_ATTRIBUTES with KVM_MEMORY_ATTRIBUTE_PRIVATE. */
  setPrivate(range: GpaRange): void {
    this.#native.setMemoryAttributes(range.gpa, range.size, KVM_MEMORY_ATTRIBUTE_PRIVATE, 0n)
  }

  /** Makes a range shared: KVM_SET_MEMORY_ATTRIBUTES with no attribute. */
  setShared(range: GpaRange): void {
    this.#native.setMemoryAttributes(range.gpa, range.size, 0n, 0n)
  }

  /** KVM_CREATE_VCPU. KernelError EEXIST for an id in use, EINVAL beyond the limit. */
  createVcpu(options: { readonly id?: number } = {}): Vcpu {
    const id = options.id ?? this.#nextVcpuId
    const native = this.#native.createVcpu(id)
    this.#nextVcpuId = Math.max(this.#nextVcpuId, id + 1)
    if (id > 0) allowEveryProcessor(native)
    const prepare = () => {
      const cpuid = cpuidOf(this.#maker.kvm)
      native.setCpuid2(cpuid.supported)
      this.#monitor ??= new MonitorImage(this.#native, cpuid.usesVmmcall)
      return this.#monitor
    }
    return this.#vcpus.add(new Vcpu(native, id, prepare, (self) => this.#vcpus.delete(self)))
  }

  /** Takes over a mapping: it is closed with the VM. */
  adopt(mapping: Mapping): Mapping {
    return this.#children.add(mapping)
  }

  /** Any ioctl on the VM fd, for malformed structs; bytes are written back. KernelError with its errno. */
  ioctl(request: number, argument: Uint8Array | bigint | null = null): number {
    return binding.addon.ioctl(this.fd, request, argument)
  }

  /** The VM's binary statistics (KVM_GET_STATS_FD), by name: `pages_4k`, `pages_2m`, ... */
  stats(): Readonly<Record<string, bigint[]>> {
    return this.#native.stats()
  }

  /** One statistic's first value. TypeError where the kernel has none of that name. */
  stat(name: string): bigint {
    const value = this.stats()[name]?.[0]
    if (value === undefined) throw new TypeError(`this kernel has no VM statistic ${name}`)
    return value
  }

  /** Closes vCPUs, then guest_memfds and mappings, then the VM. Idempotent; any use after it is a TypeError. */
  close(): void {
    this.#maker.onClose(this)
    this.#vcpus.closeAll()
    this.#children.closeAll()
    this.#monitor?.close()
    this.#native.close()
  }

  [Symbol.dispose](): void {
    this.close()
  }
}
