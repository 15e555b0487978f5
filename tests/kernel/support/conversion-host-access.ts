// SPDX-License-Identifier: Apache-2.0
import { MADV_POPULATE_READ, MADV_POPULATE_WRITE, MFD_CLOEXEC, O_RDWR, SYS } from 'gmem/abi'
import { binding, Mapping } from 'gmem/kvm'
import { type Need, need, PAGE_SIZE } from 'gmem/testing'

const { addon } = binding

/** include/uapi/linux/futex.h; syscall_64.tbl. */
const FUTEX_WAKE = 1n
const SYS_FUTEX = 202
/** include/uapi/linux/io_uring.h: io_uring_register(2)'s opcode, and the size of struct io_uring_params. */
const IORING_REGISTER_BUFFERS = 0n
const IO_URING_PARAMS_BYTES = 120
/** include/uapi/linux/loop.h; include/uapi/asm-generic/fcntl.h. */
const LOOP_CTL_GET_FREE = 0x4c82
const LOOP_SET_FD = 0x4c00
const LOOP_CLR_FD = 0x4c01
const O_DIRECT = 0o40000

/** One page of ordinary memory that is also a file: where bytes may go to, and come from. */
export interface Outside {
  readonly fd: number
  readonly mapping: Mapping
  close(): void
}

/** A new Outside, each byte of it `byte`. */
export function outsideOf(byte: number): Outside {
  const fd = addon.memfdCreate('gmem-outside', MFD_CLOEXEC)
  addon.ftruncate(fd, PAGE_SIZE)
  // PROT_READ | PROT_WRITE, MAP_SHARED
  const mapping = new Mapping(addon.mmap(PAGE_SIZE, 3, 1, fd, 0n, 0n))
  mapping.fill(byte)
  return {
    fd,
    mapping,
    close: () => {
      mapping.close()
      addon.close(fd)
    },
  }
}

/** A way in which the kernel touches the first page of a mapping for a process that asks it to. */
export interface HostAccess {
  /** `read(2) into it`. */
  readonly what: string
  /** The errno where the page cannot be reached. */
  readonly refusal: string
  /** Where the bytes go: out of the mapping, into it, or nowhere. */
  readonly moves: 'out' | 'in' | 'nothing'
  /** The kernel copies by the process's own mapping, i.e. it has no use for the page itself. */
  readonly isByMapping?: true
  readonly needs?: readonly Need[]
  /** KernelError with `refusal` where the page cannot be reached. */
  readonly run: (target: Mapping, outside: Outside) => unknown
}

const ioUring = triedOnce('io_uring', () => withIoUring(() => {}))

const loopDevice = triedOnce('a loop device', () => {
  const outside = outsideOf(0)
  try {
    withLoopDevice(outside.fd, () => {})
  } finally {
    outside.close()
  }
})

/** The ways that this project knows. */
export const hostAccesses: readonly HostAccess[] = [
  {
    what: 'pread(2) into it',
    refusal: 'EFAULT',
    moves: 'in',
    isByMapping: true,
    run: (target, { fd }) => addon.syscall(SYS.pread64, [fd, target.hva, PAGE_SIZE, 0n]),
  },
  {
    what: 'pwrite(2) from it',
    refusal: 'EFAULT',
    moves: 'out',
    isByMapping: true,
    run: (target, { fd }) => addon.syscall(SYS.pwrite64, [fd, target.hva, PAGE_SIZE, 0n]),
  },
  {
    what: 'write(2) from it into a pipe',
    refusal: 'EFAULT',
    moves: 'out',
    isByMapping: true,
    run: (target, outside) =>
      throughPipe(outside, (fd) => addon.syscall(SYS.write, [fd, target.hva, PAGE_SIZE])),
  },
  {
    what: 'vmsplice(2) of it into a pipe',
    refusal: 'EFAULT',
    moves: 'out',
    run: (target, outside) =>
      throughPipe(outside, (fd) => addon.syscall(SYS.vmsplice, [fd, iovec(target), 1n, 0n])),
  },
  {
    what: 'process_vm_readv(2)',
    refusal: 'EFAULT',
    moves: 'out',
    run: (target, { mapping }) => processVm(SYS.process_vm_readv, mapping, target),
  },
  {
    what: 'process_vm_writev(2)',
    refusal: 'EFAULT',
    moves: 'in',
    run: (target, { mapping }) => processVm(SYS.process_vm_writev, mapping, target),
  },
  {
    what: 'a read of /proc/self/mem',
    refusal: 'EIO',
    moves: 'out',
    run: (target, { mapping }) => procMem(SYS.pread64, mapping, target),
  },
  {
    what: 'a write of /proc/self/mem',
    refusal: 'EIO',
    moves: 'in',
    run: (target, { mapping }) => procMem(SYS.pwrite64, mapping, target),
  },
  {
    what: 'madvise(MADV_POPULATE_READ)',
    refusal: 'EFAULT',
    moves: 'nothing',
    run: (target) => target.madvise(MADV_POPULATE_READ),
  },
  {
    what: 'madvise(MADV_POPULATE_WRITE)',
    refusal: 'EFAULT',
    moves: 'nothing',
    run: (target) => target.madvise(MADV_POPULATE_WRITE),
  },
  {
    what: 'an O_DIRECT read into it',
    refusal: 'EFAULT',
    moves: 'in',
    needs: [loopDevice],
    run: (target, { fd }) =>
      withLoopDevice(fd, (disk) => addon.syscall(SYS.pread64, [disk, target.hva, PAGE_SIZE, 0n])),
  },
  {
    what: 'an O_DIRECT write from it',
    refusal: 'EFAULT',
    moves: 'out',
    needs: [loopDevice],
    run: (target, { fd }) =>
      withLoopDevice(fd, (disk) => addon.syscall(SYS.pwrite64, [disk, target.hva, PAGE_SIZE, 0n])),
  },
  { what: 'mlock(2)', refusal: 'ENOMEM', moves: 'nothing', run: (target) => target.mlock() },
  {
    what: 'a futex(2) that other processes share',
    refusal: 'EFAULT',
    moves: 'nothing',
    run: (target) => addon.syscall(SYS_FUTEX, [target.hva, FUTEX_WAKE, 1n]),
  },
  {
    what: 'io_uring_register(2) as a fixed buffer',
    refusal: 'EFAULT',
    moves: 'nothing',
    needs: [ioUring],
    run: (target) =>
      withIoUring((fd) =>
        addon.syscall(SYS.io_uring_register, [fd, IORING_REGISTER_BUFFERS, iovec(target), 1n]),
      ),
  },
]

/** A need that is met where an attempt does not throw. */
function triedOnce(name: string, attempt: () => void): Need {
  let reason: string | null | undefined
  return need(name, () => {
    if (reason !== undefined) return reason
    try {
      attempt()
      reason = null
    } catch (error) {
      reason = error instanceof Error ? error.message : String(error)
    }
    return reason
  })
}

/** struct iovec of a mapping's first page. */
function iovec(mapping: Mapping): Uint8Array {
  const bytes = new Uint8Array(16)
  const view = new DataView(bytes.buffer)
  view.setBigUint64(0, mapping.hva, true)
  view.setBigUint64(8, PAGE_SIZE, true)
  return bytes
}

function processVm(number: number, local: Mapping, remote: Mapping): bigint {
  return addon.syscall(number, [process.pid, iovec(local), 1n, iovec(remote), 1n, 0n])
}

function procMem(number: number, local: Mapping, remote: Mapping): bigint {
  const fd = addon.open('/proc/self/mem', O_RDWR, 0)
  try {
    return addon.syscall(number, [fd, local.hva, PAGE_SIZE, remote.hva])
  } finally {
    addon.close(fd)
  }
}

/** What `put` puts into a pipe goes on to the outside. */
function throughPipe(outside: Outside, put: (fd: number) => unknown): void {
  const ends = new Uint8Array(8)
  addon.syscall(SYS.pipe2, [ends, 0n])
  const [readEnd, writeEnd] = new Int32Array(ends.buffer) as unknown as [number, number]
  try {
    put(writeEnd)
    addon.syscall(SYS.read, [readEnd, outside.mapping.hva, PAGE_SIZE])
  } finally {
    addon.close(readEnd)
    addon.close(writeEnd)
  }
}

function withIoUring<T>(use: (fd: number) => T): T {
  const fd = Number(addon.syscall(SYS.io_uring_setup, [1n, new Uint8Array(IO_URING_PARAMS_BYTES)]))
  try {
    return use(fd)
  } finally {
    addon.close(fd)
  }
}

/** A block device over a file, opened so that data goes between the disk and the caller's pages, past the page cache. */
function withLoopDevice<T>(backingFd: number, use: (disk: number) => T): T {
  const control = addon.open('/dev/loop-control', O_RDWR, 0)
  try {
    const path = `/dev/loop${addon.ioctl(control, LOOP_CTL_GET_FREE, null)}`
    const disk = addon.open(path, O_RDWR | O_DIRECT, 0)
    try {
      addon.ioctl(disk, LOOP_SET_FD, BigInt(backingFd))
      try {
        return use(disk)
      } finally {
        addon.ioctl(disk, LOOP_CLR_FD, null)
      }
    } finally {
      addon.close(disk)
    }
  } finally {
    addon.close(control)
  }
}
