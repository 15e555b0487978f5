// SPDX-License-Identifier: Apache-2.0
import { O_CLOEXEC, SYS } from 'gmem/abi'
import { binding, Mapping, type NativeCall, type NativeCallResult, scaledMs } from 'gmem/kvm'
import { bytes, type GmemContext, type Need, need, PAGE_SIZE, pages } from 'gmem/testing'
import { sys, sysNumber } from './system-calls.js'

const { addon } = binding

/** include/uapi/linux/userfaultfd.h. */
const UFFD_API = 0xaan
const UFFDIO_API = 0xc018aa3f
const UFFDIO_REGISTER = 0xc020aa00
const UFFDIO_COPY = 0xc028aa03
/** Bits of struct uffdio_register's mode. */
export const UFFD_MODE = { missing: 1n, writeProtect: 2n, minor: 4n } as const
const UFFD_MESSAGE_BYTES = 32
/** poll(2). */
const POLLIN = 1
const FAULT_MS_MAX = 10_000

/** userfaultfd(2) lets us hold a fault of the kernel itself. */
export const userFaults: Need = need('userfaultfd(2) for faults of the kernel', () => {
  try {
    addon.close(openUserFaults())
    return null
  } catch (error) {
    return error instanceof Error ? error.message : String(error)
  }
})

/** A page of our memory at which whoever touches it stops until it is given bytes. */
export interface StalledPage {
  readonly mapping: Mapping
  /**
   * Starts a system call on another thread, and comes back once it has stopped at the page. What it returns in the end; Error where it
   * fails.
   */
  stall(name: keyof typeof SYS, args: NativeCall['args']): Promise<bigint>
  /** Gives the page its bytes: whoever waits goes on. */
  resume(content: Uint8Array): void
}

/** A new one. */
export function stalledPage({ defer }: Pick<GmemContext, 'defer'>): StalledPage {
  const mapping = Mapping.anonymous(pages(1))
  defer(() => mapping.close())
  const fd = openUserFaults()
  const running: Promise<unknown>[] = []
  // Without its userfaultfd the page is an ordinary one, and whoever waits goes on.
  defer(async () => {
    addon.close(fd)
    await Promise.all(running)
  })
  watchFaults(fd, mapping, UFFD_MODE.missing)
  return {
    mapping,
    stall(name, args) {
      const call = addon.syscallsOnThread([{ number: SYS[name], args }], 1)
      running.push(call)
      awaitFault(fd)
      return call.then((results) => returned(name, results))
    },
    resume(content) {
      const source = Mapping.anonymous(pages(1))
      source.write(bytes(0), content)
      // struct uffdio_copy: dst, src, len, mode, copy.
      ioctl(fd, UFFDIO_COPY, [mapping.hva, source.hva, PAGE_SIZE, 0n, 0n])
      source.close()
    },
  }
}

/** A new userfaultfd, its API agreed on: the caller closes it. */
export function openUserFaults(): number {
  const fd = sysNumber('userfaultfd', O_CLOEXEC)
  // struct uffdio_api: api, features, ioctls.
  ioctl(fd, UFFDIO_API, [UFFD_API, 0n, 0n])
  return fd
}

/** UFFDIO_REGISTER of a whole mapping. KernelError EINVAL where it cannot be watched so. */
export function watchFaults(fd: number, mapping: Mapping, mode: bigint): void {
  // struct uffdio_register: start, len, mode, ioctls.
  ioctl(fd, UFFDIO_REGISTER, [mapping.hva, mapping.size, mode, 0n])
}

function ioctl(fd: number, request: number, fields: readonly bigint[]): void {
  addon.ioctl(fd, request, new Uint8Array(BigUint64Array.from(fields).buffer))
}

/** Waits for the one fault that comes, and takes note of it: struct pollfd is fd, events, revents. */
function awaitFault(fd: number): void {
  const waiting = new Uint8Array(8)
  const view = new DataView(waiting.buffer)
  view.setInt32(0, fd, true)
  view.setInt16(4, POLLIN, true)
  const ready = sys('poll', waiting, 1n, scaledMs(FAULT_MS_MAX))
  if (ready !== 1n) throw new Error('nobody touched the page that stalls')
  sys('read', fd, new Uint8Array(UFFD_MESSAGE_BYTES), BigInt(UFFD_MESSAGE_BYTES))
}

function returned(name: string, [result]: readonly NativeCallResult[]): bigint {
  if (result === undefined || result.value < 0n)
    throw new Error(`${name}(2) fails with ${Object.keys(result?.errors ?? {})}`)
  return result.value
}
