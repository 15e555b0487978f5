// SPDX-License-Identifier: Apache-2.0
import { type Bytes, binding, type GuestMemfd, type Mapping, type Memory, type Vm } from 'gmem/kvm'
import { bytes, type GmemContext, pages, SHARED_FLAGS, writeFlag } from 'gmem/testing'
import { BASE } from './conversion.js'
import { pageBeforeHole } from './system-calls.js'

/** syscall_64.tbl. */
const SYS_WRITEV = 20
const IOVEC_BYTES = 16

/** What a test of write() needs. */
export const canWrite = [writeFlag.need]

/** Flags of a file that host and guest share and that can be written. */
export const writable = (): bigint => SHARED_FLAGS | writeFlag.bit()

/** Memory of DEFAULT VMs, all of it one file that can be written and that nobody has touched. */
export function writableMemory(vm: Vm, pageCount: number): Memory {
  return vm.addMemory({ gpa: BASE, size: pages(pageCount), guestMemfd: writable() })
}

/** So many pages, each full of its own byte: `first`, `first + 1`, ... */
export function distinctPages(pageCount: number, first = 0x11): Uint8Array {
  const data = new Uint8Array(pageCount * 4096)
  for (let page = 0; page < pageCount; page += 1) data.fill(first + page, page * 4096, (page + 1) * 4096)
  return data
}

/** struct iovec of each part, one after the other. */
export function iovecs(...parts: readonly { readonly hva: bigint; readonly length: bigint }[]): Uint8Array {
  return new Uint8Array(BigUint64Array.from(parts.flatMap(({ hva, length }) => [hva, length])).buffer)
}

/** writev(2) of what `iovecs` made: the bytes written. */
export function writev(file: GuestMemfd, parts: Uint8Array): number {
  return Number(binding.addon.syscall(SYS_WRITEV, [file.fd, parts, BigInt(parts.length / IOVEC_BYTES)]))
}

/**
 * The bytes of a mapping from `offset` on that are none of `allowed`, each value once: what nobody wrote there.
 */
export function strayBytes(mapping: Mapping, offset: Bytes, allowed: readonly number[]): number[] {
  const seen = new Set(mapping.read(offset, Number(mapping.size - offset)))
  return [...seen].filter((byte) => !allowed.includes(byte))
}

/** `length` bytes of host memory, each of them `byte`, after which there is a hole: where they begin. */
export function beforeHole(scope: Pick<GmemContext, 'defer'>, length: number, byte: number): bigint {
  const mapping = pageBeforeHole(scope)
  mapping.fill(byte, { offset: bytes(0), size: pages(1) })
  return mapping.hvaOf(bytes(4096 - length))
}
