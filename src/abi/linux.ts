// SPDX-License-Identifier: Apache-2.0
/**
 * Constants of the Linux system call interface on x86-64. Sources, Linux 7.3.4: include/uapi/asm-generic/mman-common.h,
 * arch/x86/include/uapi/asm/mman.h, include/uapi/linux/{mman,falloc,memfd,fs}.h, include/uapi/asm-generic/{fcntl,siginfo}.h,
 * arch/x86/entry/syscalls/syscall_64.tbl.
 */

export const PROT_NONE = 0
export const PROT_READ = 1
export const PROT_WRITE = 2
export const PROT_EXEC = 4

export const MAP_SHARED = 0x01
export const MAP_PRIVATE = 0x02
export const MAP_SHARED_VALIDATE = 0x03
export const MAP_FIXED = 0x10
export const MAP_ANONYMOUS = 0x20
export const MAP_LOCKED = 0x2000
export const MAP_NORESERVE = 0x4000
export const MAP_POPULATE = 0x8000
export const MAP_HUGETLB = 0x40000
export const MAP_SYNC = 0x80000
/** MAP_HUGETLB page size in bits 26..31, as log2. */
export const MAP_HUGE_2MB = 21 << 26

export const MREMAP_MAYMOVE = 1
export const MREMAP_FIXED = 2
export const MREMAP_DONTUNMAP = 4

export const MADV_NORMAL = 0
export const MADV_WILLNEED = 3
export const MADV_DONTNEED = 4
export const MADV_FREE = 8
export const MADV_REMOVE = 9
export const MADV_DONTFORK = 10
export const MADV_DOFORK = 11
export const MADV_MERGEABLE = 12
export const MADV_HUGEPAGE = 14
export const MADV_NOHUGEPAGE = 15
export const MADV_DONTDUMP = 16
export const MADV_WIPEONFORK = 18
export const MADV_COLD = 20
export const MADV_PAGEOUT = 21
export const MADV_POPULATE_READ = 22
export const MADV_POPULATE_WRITE = 23
export const MADV_DONTNEED_LOCKED = 24
export const MADV_COLLAPSE = 25
export const MADV_HWPOISON = 100
export const MADV_SOFT_OFFLINE = 101

export const FALLOC_FL_KEEP_SIZE = 0x01
export const FALLOC_FL_PUNCH_HOLE = 0x02
export const FALLOC_FL_COLLAPSE_RANGE = 0x08
export const FALLOC_FL_ZERO_RANGE = 0x10
export const FALLOC_FL_INSERT_RANGE = 0x20
export const FALLOC_FL_UNSHARE_RANGE = 0x40

export const MFD_CLOEXEC = 0x1
export const MFD_ALLOW_SEALING = 0x2
export const MFD_HUGETLB = 0x4
export const MFD_HUGE_2MB = 21 << 26

export const O_RDONLY = 0
export const O_WRONLY = 1
export const O_RDWR = 2
export const O_DIRECT = 0o40000
export const O_LARGEFILE = 0o100000
export const O_CLOEXEC = 0o2000000
export const O_PATH = 0o10000000

export const SEEK_SET = 0
export const SEEK_CUR = 1
export const SEEK_END = 2
export const SEEK_DATA = 3
export const SEEK_HOLE = 4

export const F_DUPFD = 0
export const F_GETFD = 1
export const F_SETFD = 2
export const F_GETFL = 3
export const F_SETFL = 4
export const F_ADD_SEALS = 1033
export const F_GET_SEALS = 1034
export const FD_CLOEXEC = 1

/** struct stat's st_mode: the type of a file, and a regular one. */
export const S_IFMT = 0o170000
export const S_IFREG = 0o100000

/** si_code of SIGSEGV and SIGBUS (include/uapi/asm-generic/siginfo.h). */
export const SI_CODE = {
  SIGSEGV: { SEGV_MAPERR: 1, SEGV_ACCERR: 2, SEGV_PKUERR: 4 },
  SIGBUS: { BUS_ADRALN: 1, BUS_ADRERR: 2, BUS_OBJERR: 3, BUS_MCEERR_AR: 4, BUS_MCEERR_AO: 5 },
} as const

// set_mempolicy(2), mbind(2)
export const MPOL_DEFAULT = 0
export const MPOL_PREFERRED = 1
export const MPOL_BIND = 2
export const MPOL_INTERLEAVE = 3
export const MPOL_F_NODE = 1
export const MPOL_F_ADDR = 2

/** System call numbers of x86-64, for `binding.addon.syscall`. */
export const SYS = {
  read: 0,
  write: 1,
  open: 2,
  close: 3,
  fstat: 5,
  poll: 7,
  mmap: 9,
  mprotect: 10,
  munmap: 11,
  ioctl: 16,
  pread64: 17,
  pwrite64: 18,
  pipe: 22,
  mremap: 25,
  msync: 26,
  mincore: 27,
  madvise: 28,
  dup: 32,
  dup2: 33,
  setitimer: 38,
  clock_gettime: 228,
  sched_setaffinity: 203,
  sendfile: 40,
  socket: 41,
  connect: 42,
  accept: 43,
  sendto: 44,
  recvfrom: 45,
  sendmsg: 46,
  recvmsg: 47,
  bind: 49,
  listen: 50,
  getsockname: 51,
  socketpair: 53,
  setsockopt: 54,
  fcntl: 72,
  fsync: 74,
  fdatasync: 75,
  ftruncate: 77,
  fchmod: 91,
  fchown: 93,
  prlimit64: 302,
  fstatfs: 138,
  mlock: 149,
  munlock: 150,
  readahead: 187,
  io_setup: 206,
  io_destroy: 207,
  io_getevents: 208,
  io_submit: 209,
  fadvise64: 221,
  epoll_create1: 291,
  epoll_ctl: 233,
  delete_module: 176,
  mbind: 237,
  get_mempolicy: 239,
  move_pages: 279,
  unshare: 272,
  splice: 275,
  sync_file_range: 277,
  vmsplice: 278,
  utimensat: 280,
  fallocate: 285,
  pipe2: 293,
  process_vm_readv: 310,
  process_vm_writev: 311,
  finit_module: 313,
  memfd_create: 319,
  userfaultfd: 323,
  copy_file_range: 326,
  io_uring_setup: 425,
  io_uring_enter: 426,
  io_uring_register: 427,
  pidfd_open: 434,
  close_range: 436,
  pidfd_getfd: 438,
  process_madvise: 440,
  memfd_secret: 447,
} as const
