// SPDX-License-Identifier: Apache-2.0
import { readdirSync } from 'node:fs'
import { O_PATH, PROT_READ, PROT_WRITE, SYS } from 'gmem/abi'
import { binding, type GuestMemfd, Mapping } from 'gmem/kvm'
import { type GmemContext, pages } from 'gmem/testing'

type Argument = bigint | number | Uint8Array | null

/** A system call by name, straight. KernelError with its errno, whose `syscall` is the number. */
export function sys(name: keyof typeof SYS, ...args: Argument[]): bigint {
  return binding.addon.syscall(SYS[name], args)
}

/** The same for calls that return an fd or another small number. */
export function sysNumber(name: keyof typeof SYS, ...args: Argument[]): number {
  return Number(sys(name, ...args))
}

/** fds of this process that are open now. */
export function openFds(): number {
  return readdirSync('/proc/self/fd').length
}

/** What this process's /proc/self/fd says of a file. */
export function procPath(file: GuestMemfd): string {
  return `/proc/self/fd/${file.fd}`
}

/** An ordinary memfd of `size` bytes, closed after the test. */
export function memfd({ defer }: Pick<GmemContext, 'defer'>, size: bigint): number {
  const fd = binding.addon.memfdCreate('ordinary', 0)
  defer(() => binding.addon.close(fd))
  binding.addon.ftruncate(fd, size)
  return fd
}

/** An O_PATH fd of a guest_memfd, closed after the test. */
export function pathFd({ defer }: Pick<GmemContext, 'defer'>, file: GuestMemfd): number {
  const fd = binding.addon.open(procPath(file), O_PATH, 0)
  defer(() => binding.addon.close(fd))
  return fd
}

/** A pipe, closed after the test: its two fds. */
export function pipe({ defer }: Pick<GmemContext, 'defer'>): {
  readonly readEnd: number
  readonly writeEnd: number
} {
  const ends = new Uint8Array(8)
  sys('pipe2', ends, 0)
  const view = new DataView(ends.buffer)
  const readEnd = view.getInt32(0, true)
  const writeEnd = view.getInt32(4, true)
  defer(() => binding.addon.close(readEnd))
  defer(() => binding.addon.close(writeEnd))
  return { readEnd, writeEnd }
}

/** Host memory of one page that no one may touch from some byte on: what follows it is a hole in the address space. */
export function pageBeforeHole(
  { defer }: Pick<GmemContext, 'defer'>,
  prot = PROT_READ | PROT_WRITE,
): Mapping {
  const mapping = Mapping.anonymous(pages(2))
  defer(() => mapping.close())
  mapping.mprotect(0, { offset: pages(1), size: pages(1) })
  mapping.mprotect(prot, { offset: pages(0), size: pages(1) })
  return mapping
}
