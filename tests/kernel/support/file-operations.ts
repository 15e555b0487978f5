// SPDX-License-Identifier: Apache-2.0
import {
  F_ADD_SEALS,
  F_GET_SEALS,
  F_SETFL,
  O_DIRECT,
  O_RDONLY,
  O_RDWR,
  SEEK_CUR,
  SEEK_DATA,
  SEEK_END,
  SEEK_HOLE,
  SEEK_SET,
} from 'gmem/abi'
import { binding, type GuestMemfd } from 'gmem/kvm'
import { type GmemContext, kernelAtLeast, pages } from 'gmem/testing'
import { memfd, pathFd, pipe, procPath, sys } from './system-calls.js'

const { addon } = binding

const EPOLL_CTL_ADD = 1
const FALLOC_FL_KEEP_SIZE = 1
const F_SEAL_SEAL = 1
const NOW = null
const ONE_PAGE = 4096
const BUFFER = new Uint8Array(ONE_PAGE).fill(0x5a)

// ioctls that other files have: a terminal's window size, the flags of an inode, a clone of a file's contents.
const TIOCGWINSZ = 0x5413
const FS_IOC_GETFLAGS = 0x8008_6601
const FICLONE = 0x4004_9409

/** A system call on a guest_memfd of four pages, and the errno it is refused with. */
export interface Operation {
  readonly what: string
  readonly errno: string
  readonly call: (file: GuestMemfd, context: GmemContext) => unknown
}

/** What only a file that write(2) can populate has: a way to write, and a position (anon inodes with O_RDWR have no FMODE_CAN_*). */
export const WRITING: readonly Operation[] = [
  { what: 'write(2)', errno: 'EINVAL', call: (file) => file.write(BUFFER) },
  { what: 'write(2) of nothing', errno: 'EINVAL', call: (file) => file.write(new Uint8Array(0)) },
  { what: 'pwrite64(2)', errno: 'ESPIPE', call: (file) => file.pwrite(BUFFER, 0n) },
  { what: 'lseek(2) with SEEK_SET', errno: 'ESPIPE', call: (file) => file.lseek(0n, SEEK_SET) },
  { what: 'lseek(2) with SEEK_CUR', errno: 'ESPIPE', call: (file) => file.lseek(0n, SEEK_CUR) },
  { what: 'lseek(2) with SEEK_END', errno: 'ESPIPE', call: (file) => file.lseek(0n, SEEK_END) },
  { what: 'lseek(2) with SEEK_DATA', errno: 'ESPIPE', call: (file) => file.lseek(0n, SEEK_DATA) },
  { what: 'lseek(2) with SEEK_HOLE', errno: 'ESPIPE', call: (file) => file.lseek(0n, SEEK_HOLE) },
]

/** What the file has no operation for. */
export const DATA: readonly Operation[] = [
  { what: 'read(2)', errno: 'EINVAL', call: (file) => file.read(ONE_PAGE) },
  { what: 'read(2) of nothing', errno: 'EINVAL', call: (file) => file.read(0) },
  { what: 'pread64(2)', errno: 'ESPIPE', call: (file) => file.pread(ONE_PAGE, 0n) },
  {
    what: 'pread64(2) at a negative offset',
    errno: 'EINVAL',
    call: (file) => sys('pread64', file.fd, BUFFER.slice(), ONE_PAGE, -1),
  },
  {
    what: 'splice(2) into a pipe',
    errno: 'EINVAL',
    call: (file, context) => sys('splice', file.fd, null, pipe(context).writeEnd, null, ONE_PAGE, 0),
  },
  {
    what: 'splice(2) from a pipe',
    errno: 'EINVAL',
    call: (file, context) => sys('splice', filledPipe(context), null, file.fd, null, ONE_PAGE, 0),
  },
  {
    what: 'sendfile(2) into a pipe',
    errno: 'EINVAL',
    call: (file, context) => sys('sendfile', pipe(context).writeEnd, file.fd, null, ONE_PAGE),
  },
  {
    what: 'sendfile(2) from a memfd',
    errno: 'EINVAL',
    call: (file, context) => sys('sendfile', file.fd, memfd(context, pages(1)), null, ONE_PAGE),
  },
  {
    what: 'copy_file_range(2) to a memfd',
    errno: 'EXDEV',
    call: (file, context) =>
      sys('copy_file_range', file.fd, null, memfd(context, pages(1)), null, ONE_PAGE, 0),
  },
  {
    what: 'copy_file_range(2) from a memfd',
    errno: 'EXDEV',
    call: (file, context) =>
      sys('copy_file_range', memfd(context, pages(1)), null, file.fd, null, ONE_PAGE, 0),
  },
  {
    what: 'copy_file_range(2) within the file',
    errno: 'EINVAL',
    call: (file) => sys('copy_file_range', file.fd, null, file.fd, null, ONE_PAGE, 0),
  },
  { what: 'fsync(2)', errno: 'EINVAL', call: (file) => sys('fsync', file.fd) },
  { what: 'fdatasync(2)', errno: 'EINVAL', call: (file) => sys('fdatasync', file.fd) },
]

/** ksys_readahead() refuses files without a file system of their own since 6.16; before that it reads nothing, and says 0. */
export const READAHEAD: Operation = {
  what: 'readahead(2)',
  errno: 'EINVAL',
  call: (file) => sys('readahead', file.fd, 0, ONE_PAGE),
}
export const readaheadRefuses = kernelAtLeast('6.16')

/** Changes of attributes: kvm_gmem_setattr() refuses all of them (7.3.4), the same size and the same owner too. */
export const ATTRIBUTES: readonly Operation[] = [
  { what: 'ftruncate(2) to 0', errno: 'EINVAL', call: (file) => file.truncate(0n) },
  { what: 'ftruncate(2) to one page less', errno: 'EINVAL', call: (file) => file.truncate(pages(3)) },
  { what: 'ftruncate(2) to the size it has', errno: 'EINVAL', call: (file) => file.truncate(pages(4)) },
  { what: 'ftruncate(2) to one page more', errno: 'EINVAL', call: (file) => file.truncate(pages(5)) },
  { what: 'fchmod(2)', errno: 'EINVAL', call: (file) => sys('fchmod', file.fd, 0o600) },
  { what: 'fchown(2)', errno: 'EINVAL', call: (file) => sys('fchown', file.fd, 0, 0) },
  { what: 'futimens(3)', errno: 'EINVAL', call: (file) => sys('utimensat', file.fd, null, NOW, 0) },
]

/** Everything else. */
export const REST: readonly Operation[] = [
  {
    what: 'ioctl(2) of a terminal',
    errno: 'ENOTTY',
    call: (file) => file.ioctl(TIOCGWINSZ, new Uint8Array(8)),
  },
  {
    what: 'ioctl(2) of inode flags',
    errno: 'ENOTTY',
    call: (file) => file.ioctl(FS_IOC_GETFLAGS, new Uint8Array(8)),
  },
  {
    what: 'ioctl(2) that clones from a memfd',
    errno: 'EXDEV',
    call: (file, context) => file.ioctl(FICLONE, BigInt(memfd(context, pages(4)))),
  },
  { what: 'fcntl(2) F_GET_SEALS', errno: 'EINVAL', call: (file) => sys('fcntl', file.fd, F_GET_SEALS) },
  {
    what: 'fcntl(2) F_ADD_SEALS',
    errno: 'EINVAL',
    call: (file) => sys('fcntl', file.fd, F_ADD_SEALS, F_SEAL_SEAL),
  },
  {
    what: 'fcntl(2) F_SETFL with O_DIRECT',
    errno: 'EINVAL',
    call: (file) => sys('fcntl', file.fd, F_SETFL, O_RDWR | O_DIRECT),
  },
  {
    what: 'epoll_ctl(2) EPOLL_CTL_ADD',
    errno: 'EPERM',
    call: (file, context) => sys('epoll_ctl', epoll(context), EPOLL_CTL_ADD, file.fd, new Uint8Array(12)),
  },
  {
    what: 'open(2) of its /proc/self/fd, read-write',
    errno: 'ENXIO',
    call: (file) => addon.open(procPath(file), O_RDWR, 0),
  },
  {
    what: 'open(2) of its /proc/self/fd, read-only',
    errno: 'ENXIO',
    call: (file) => addon.open(procPath(file), O_RDONLY, 0),
  },
  {
    what: 'fallocate(2) through an O_PATH fd',
    errno: 'EBADF',
    call: (file, context) => sys('fallocate', pathFd(context, file), FALLOC_FL_KEEP_SIZE, 0, ONE_PAGE),
  },
]

/** All of them. */
export const ALL = [...WRITING, ...DATA, ...ATTRIBUTES, ...REST]

/** The read end of a pipe that holds a page. */
function filledPipe(context: GmemContext): number {
  const { readEnd, writeEnd } = pipe(context)
  sys('write', writeEnd, BUFFER.slice(), ONE_PAGE)
  return readEnd
}

function epoll({ defer }: GmemContext): number {
  const fd = Number(sys('epoll_create1', 0))
  defer(() => addon.close(fd))
  return fd
}
