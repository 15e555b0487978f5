// SPDX-License-Identifier: Apache-2.0
import { O_RDWR, SYS } from 'gmem/abi'
import { type Bytes, binding, type Mapping } from 'gmem/kvm'
import { bytes, type GmemContext, type Need, pages, path } from 'gmem/testing'
import { pipe, sys } from './system-calls.js'

const { addon } = binding

/** include/uapi/linux/io_uring.h: io_uring_register(2)'s opcodes, and the size of struct io_uring_params. */
const IORING_REGISTER_BUFFERS = 0n
const IORING_UNREGISTER_BUFFERS = 1n
const IO_URING_PARAMS_BYTES = 120
/** mm/gup_test.h, 7.3.4. */
const GUP_TEST = '/sys/kernel/debug/gup_test'
const PIN_LONGTERM_TEST_START = 0x40186707
const PIN_LONGTERM_TEST_STOP = 0x6708
const PIN_LONGTERM_TEST_FLAG_USE_WRITE = 1n

/** A reference to a page that is not a mapping. */
export interface Pin {
  /** Gives it back. */
  release(): void
}

/** A way to hold a page of the host's memory for as long as one likes. */
export interface PinKind {
  /** `a vmsplice(2) into a pipe`. */
  readonly what: string
  readonly needs: readonly Need[]
  /** Pins the page of a mapping at an offset. */
  readonly take: (scope: Pick<GmemContext, 'defer'>, mapping: Mapping, offset: Bytes) => Pin
}

/** The ways that this project knows. */
export const pinKinds: readonly PinKind[] = [
  {
    what: 'a vmsplice(2) into a pipe',
    needs: [],
    take: (scope, mapping, offset) => {
      const held = splicePage(scope, mapping, offset)
      return { release: () => held.drain() }
    },
  },
  {
    what: 'a registered buffer of io_uring',
    needs: [path('/proc/sys/kernel/io_uring_disabled')],
    take: registerBuffer,
  },
  {
    what: 'a long-term pin (gup_test)',
    needs: [path(GUP_TEST)],
    take: pinLongTerm,
  },
]

/** A page in a pipe: the pipe refers to the page itself until it is read. */
export function splicePage(
  scope: Pick<GmemContext, 'defer'>,
  mapping: Mapping,
  offset: Bytes,
): { drain(): Uint8Array } {
  const { readEnd, writeEnd } = pipe(scope)
  sys('vmsplice', writeEnd, iovec(mapping.hvaOf(offset)), 1n, 0n)
  return {
    drain: () => {
      const page = new Uint8Array(Number(pages(1)))
      sys('read', readEnd, page, pages(1))
      return page
    },
  }
}

function registerBuffer({ defer }: Pick<GmemContext, 'defer'>, mapping: Mapping, offset: Bytes): Pin {
  const fd = Number(addon.syscall(SYS.io_uring_setup, [1n, new Uint8Array(IO_URING_PARAMS_BYTES)]))
  defer(() => addon.close(fd))
  sys('io_uring_register', fd, IORING_REGISTER_BUFFERS, iovec(mapping.hvaOf(offset)), 1n)
  return { release: () => sys('io_uring_register', fd, IORING_UNREGISTER_BUFFERS, null, 0n) }
}

function pinLongTerm({ defer }: Pick<GmemContext, 'defer'>, mapping: Mapping, offset: Bytes): Pin {
  const fd = addon.open(GUP_TEST, O_RDWR, 0)
  defer(() => addon.close(fd))
  // struct pin_longterm_test: addr, size, flags.
  const request = BigUint64Array.of(mapping.hvaOf(offset), pages(1), PIN_LONGTERM_TEST_FLAG_USE_WRITE)
  addon.ioctl(fd, PIN_LONGTERM_TEST_START, new Uint8Array(request.buffer))
  return { release: () => addon.ioctl(fd, PIN_LONGTERM_TEST_STOP, null) }
}

/** struct iovec of one page. */
export function iovec(address: bigint): Uint8Array {
  return new Uint8Array(BigUint64Array.of(address, pages(1)).buffer)
}

/** The bytes of one page of a mapping. */
export function pageOf(mapping: Mapping, page: number): Uint8Array {
  return mapping.read(bytes(pages(page)), Number(pages(1)))
}
