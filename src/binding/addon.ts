// SPDX-License-Identifier: Apache-2.0
/**
 * The shape of the native addon: mechanism only. One class per KVM fd, one syscall per method. Every 64-bit
 * quantity is a bigint, every fd and 32-bit quantity a number, every struct a Uint8Array that the kernel may write back.
 *
 * Three kinds of bad news, three types: the kernel refused (KernelError, thrown from C++ with the kernel's own errno
 * name), the caller misused the API (TypeError: wrong type, closed object, vCPU already running), impossible (abort).
 *
 * Nothing but src/binding imports the addon; see ./index.ts for the recorder that all calls pass.
 */

/** A KVM_RUN that came back, as the kernel filled `struct kvm_run`; decoded by reason, nothing interpreted. */
export interface RawExit {
  /** KVM_RUN's return value: 0 or -1. */
  ret: number
  /** errno of a failed KVM_RUN as a positive number, 0 on success. */
  errno: number
  /** Symbolic errno (`EFAULT`), empty on success. */
  code: string
  /** kvm_run.exit_reason (KVM_EXIT_*). Meaningless with errnos other than EFAULT and EHWPOISON. */
  exitReason: number
  /** The 256-byte union of kvm_run that follows exit_reason (offset 32), copied. */
  payload: Uint8Array
  /** IO exits: the data bytes at kvm_run + data_offset, size*count of them; otherwise empty. */
  ioData: Uint8Array
  /** True where KVM_RUN ended with EINTR because the deadline passed (immediate_exit + signal). */
  deadlineExpired: boolean
  /** True where KVM_RUN ended with EINTR because of kick() or close(). A kick that came too late for that changes nothing. */
  kicked: boolean
  /** KVM sent the thread a SIGBUS for poisoned memory during KVM_RUN, which then ended with EINTR. */
  sigbus: NativeSignal | null
}

/** A signal that the kernel sent for memory: siginfo_t's si_code and si_addr. */
export interface NativeSignal {
  signal: 'SIGBUS' | 'SIGSEGV'
  code: number
  address: bigint
}

/** What an access to memory did. A fault is data, not an exception. */
export type NativeProbe = { ok: true; value: bigint } | ({ ok: false } & NativeSignal)

export interface NativeKvm {
  /** The file descriptor of /dev/kvm. */
  readonly fd: number
  /** KVM_GET_API_VERSION. */
  apiVersion(): number
  /** KVM_CHECK_EXTENSION on the system fd. */
  checkExtension(capability: number): number
  /** KVM_CREATE_VM. KernelError EINVAL where the type is not offered. */
  createVm(type: bigint): NativeVm
  /** KVM_GET_SUPPORTED_CPUID: `struct kvm_cpuid2` with as many entries as the kernel has. */
  supportedCpuid(): Uint8Array
  close(): void
}

export interface NativeVm {
  readonly fd: number
  checkExtension(capability: number): number
  /** KVM_ENABLE_CAP with up to four args. */
  enableCapability(capability: number, args: bigint[], flags: number): number
  /** KVM_CREATE_GUEST_MEMFD. The descriptor gets O_CLOEXEC set by us (the kernel does not: kvm_gmem_create, 7.3.4). */
  createGuestMemfd(size: bigint, flags: bigint): NativeGuestMemfd
  /** KVM_SET_USER_MEMORY_REGION. */
  setUserMemoryRegion(slot: number, flags: number, gpa: bigint, size: bigint, userspaceAddr: bigint): void
  /** KVM_SET_USER_MEMORY_REGION2. `guestMemfd` is a raw fd number. */
  setUserMemoryRegion2(
    slot: number,
    flags: number,
    gpa: bigint,
    size: bigint,
    userspaceAddr: bigint,
    guestMemfdOffset: bigint,
    guestMemfd: number,
  ): void
  /** KVM_SET_MEMORY_ATTRIBUTES. */
  setMemoryAttributes(gpa: bigint, size: bigint, attributes: bigint, flags: bigint): void
  /** KVM_CREATE_VCPU, issued on the vCPU's own thread, which the returned object owns. */
  createVcpu(id: number): NativeVcpu
  /** KVM_GET_STATS_FD, read whole: name to values. */
  stats(): Record<string, bigint[]>
  close(): void
}

export interface NativeVcpu {
  readonly fd: number
  /** True from run() until its promise settles. */
  readonly running: boolean
  /**
   * KVM_RUN on the vCPU's thread. Resolves for every outcome of KVM_RUN: a failing errno is in RawExit, never thrown.
   * After `deadlineMs` the vCPU is kicked; 0 sets immediate_exit before, which only completes the exit before this run.
   * EINTR from a signal that is neither the deadline's nor a kick's is retried. TypeError when already running or closed.
   * All other methods but kick() and close() are a TypeError meanwhile.
   */
  run(deadlineMs: number): Promise<RawExit>
  /** Sets immediate_exit and signals the thread. Does nothing when not running. */
  kick(): void
  /** KVM_GET_REGS / KVM_SET_REGS / KVM_GET_SREGS / KVM_SET_SREGS as raw structs (144 and 312 bytes). */
  getRegs(): Uint8Array
  setRegs(regs: Uint8Array): void
  getSregs(): Uint8Array
  setSregs(sregs: Uint8Array): void
  /** KVM_SET_CPUID2 with a whole `struct kvm_cpuid2`. */
  setCpuid2(cpuid: Uint8Array): void
  /** sched_setaffinity(2) of the vCPU's thread: bit N of byte N / 8 is processor N. EINVAL where it names none that is online. */
  setAffinity(mask: Uint8Array): void
  /** KVM_PRE_FAULT_MEMORY: returns what the kernel wrote back; a failing errno is returned, not thrown. */
  preFaultMemory(
    gpa: bigint,
    size: bigint,
    flags: bigint,
  ): { ret: number; errno: number; code: string; gpa: bigint; size: bigint; sigbus: NativeSignal | null }
  /** Any vCPU ioctl, issued on the vCPU's thread. `argument` is written back. KernelError on failure. */
  ioctl(request: number, argument: Uint8Array | bigint | null): number
  /** Writes into kvm_run (for example hypercall.ret, or MMIO read data) at a byte offset. */
  writeRun(offset: number, data: Uint8Array): void
  /** Reads kvm_run bytes. */
  readRun(offset: number, length: number): Uint8Array
  stats(): Record<string, bigint[]>
  /** Kicks, joins the thread with a bound of 5 s (throws KernelError ETIMEDOUT on expiry), closes. Idempotent. */
  close(): void
}

export interface NativeGuestMemfd {
  readonly fd: number
  /** fallocate(2) with any mode. */
  fallocate(mode: number, offset: bigint, length: bigint): void
  ftruncate(length: bigint): void
  fstat(): {
    size: bigint
    blocks: bigint
    blksize: bigint
    ino: bigint
    dev: bigint
    mode: number
    nlink: bigint
    mtimeNs: bigint
    ctimeNs: bigint
  }
  read(length: number): Uint8Array
  write(data: Uint8Array): number
  pread(length: number, offset: bigint): Uint8Array
  pwrite(data: Uint8Array, offset: bigint): number
  lseek(offset: bigint, whence: number): bigint
  ioctl(request: number, argument: Uint8Array | bigint | null): number
  /** mmap(2) of the file; prot and flags as given. */
  mmap(length: bigint, prot: number, flags: number, offset: bigint): NativeMapping
  /** dup(2), F_DUPFD_CLOEXEC. */
  dup(): NativeGuestMemfd
  close(): void
}

export interface NativeMapping {
  /** hva of the first byte. */
  readonly address: bigint
  /** Bytes mapped. */
  readonly length: bigint
  /** Copy out. A fault throws an Error with `{ name: 'MemoryAccessError', signal, code, address }`. RangeError out of bounds. */
  read(offset: bigint, length: number): Uint8Array
  write(offset: bigint, data: Uint8Array): void
  /** memset. */
  fill(offset: bigint, length: bigint, byte: number): void
  /** The offset of the first byte in the range that differs from `byte`, or null. */
  findMismatch(offset: bigint, length: bigint, byte: number): { offset: bigint; actual: number } | null
  /** One load or store of 1, 2, 4 or 8 bytes with SIGBUS and SIGSEGV caught. */
  probeRead(offset: bigint, width: number): NativeProbe
  probeWrite(offset: bigint, width: number, value: bigint): NativeProbe
  /** fork(); the child probes (read where value is null), reports through a pipe and exits. Never runs JS in the child. */
  forkProbe(offset: bigint, width: number, value: bigint | null): NativeProbe
  mprotect(offset: bigint, length: bigint, prot: number): void
  /**
   * madvise(2). MADV_HWPOISON comes with a SIGBUS (BUS_MCEERR_AR) for the caller, which is returned; null without one.
   * Where the call fails as well (EBUSY for a page of a guest_memfd, 7.3.4), the KernelError has it as `sigbus`.
   */
  madvise(offset: bigint, length: bigint, advice: number): NativeSignal | null
  munmap(offset: bigint, length: bigint): void
  mlock(offset: bigint, length: bigint): void
  munlock(offset: bigint, length: bigint): void
  /** mincore(2): one byte a page. */
  mincore(offset: bigint, length: bigint): Uint8Array
  /** Unmaps everything. Idempotent; use after it is a TypeError. */
  close(): void
}

/**
 * No system call, but a copy of args[2] bytes from address args[1] to address args[0] in userspace: EFAULT where memory cannot be
 * accessed. For syscallsOnThread, where it is timed and raced like a system call.
 */
export const COPY_NUMBER = 0xffff_ffff

/** A call of syscall(2): integers are passed by value, Uint8Arrays by the address of a copy. */
export interface NativeCall {
  readonly number: number
  readonly args: readonly (bigint | number | Uint8Array | null)[]
}

/** What came of all rounds of a call. */
export interface NativeCallResult {
  /** What the last one returned; -1 where it failed. */
  readonly value: bigint
  /** How often each errno came, by its name; '' counts those that worked. */
  readonly errors: Readonly<Record<string, number>>
  /** How long each took, in ns, in order: a u64 each. */
  readonly durationsNs: Uint8Array
}

export type KernelErrorClass = new (
  code: string,
  errno: number,
  syscall: string,
  description: string,
) => Error

/** The constructors, for their prototypes: objects are made by the addon only. */
export type NativeClassName = 'Kvm' | 'Vm' | 'Vcpu' | 'GuestMemfd' | 'Mapping'

export interface Addon {
  readonly classes: Readonly<Record<NativeClassName, { readonly prototype: object }>>
  /** Registers the class that C++ throws for kernel refusals; once per environment. */
  initialize(kernelError: KernelErrorClass): void
  /** open(path, O_RDWR | O_CLOEXEC). KernelError ENOENT, EACCES, ... */
  openKvm(path: string): NativeKvm
  /** mmap(NULL, length, prot, flags, fd, offset). `align` > 4096 gives an hva aligned so (for THP). */
  mmap(length: bigint, prot: number, flags: number, fd: number, offset: bigint, align: bigint): NativeMapping
  /** memfd_create(2). Returns the raw fd. */
  memfdCreate(name: string, flags: number): number
  /** Any ioctl on any fd: `argument` bytes are written back, a bigint is passed by value, null as 0. KernelError on failure. */
  ioctl(fd: number, request: number, argument: Uint8Array | bigint | null): number
  /** syscall(2) for what has no method: integers are passed by value, Uint8Arrays by address and written back. */
  syscall(number: number, args: (bigint | number | Uint8Array | null)[]): bigint
  /**
   * syscall(2) on a thread of its own: `calls` one after the other, `rounds` times over, each timed. For calls that block, or race.
   * Resolves when all are done, in the order of `calls`; nothing is written back into Uint8Arrays. TypeError, RangeError for misuse.
   */
  syscallsOnThread(calls: readonly NativeCall[], rounds: number): Promise<NativeCallResult[]>
  open(path: string, flags: number, mode: number): number
  close(fd: number): void
  ftruncate(fd: number, length: bigint): void
  /** What files hold, each with a NUL after it; nothing but that where one cannot be read. `paths`: one a line. See read_files.h. */
  readFiles(paths: string): Uint8Array
  /** fork(); the child issues the ioctl on the inherited fd and reports its errno name ('' for success). */
  forkIoctl(fd: number, request: number, argument: Uint8Array | bigint | null): string
  /** strerrorname_np(3): `EHWPOISON`, `EOPNOTSUPP`. */
  errnoName(errno: number): string
  /** The guest monitor, assembled: position independent, entry at offset 0. See native/guest/monitor.S. */
  readonly monitor: Uint8Array
}
