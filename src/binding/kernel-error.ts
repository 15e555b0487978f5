// SPDX-License-Identifier: Apache-2.0

/**
 * The kernel refused: thrown from C++ with the kernel's own errno name, on the caller's stack.
 *
 * Compare `code`, never the text or the number: it is the symbolic errno (`EHWPOISON`, `EOPNOTSUPP`), for which Node's own
 * table lacks names or has others.
 */
export class KernelError extends Error {
  override readonly name = 'KernelError'
  /** Symbolic errno: `EINVAL`. */
  readonly code: string
  /** The errno as a negative number, as in Node's system errors: -22. */
  readonly errno: number
  /** What was asked: `KVM_CREATE_GUEST_MEMFD`, `mmap`, `ioctl(0xae41)`, `syscall(237)`. */
  readonly syscall: string

  /** `description` is the text of strerror(3): the message reads `EINVAL: Invalid argument, KVM_CREATE_GUEST_MEMFD`. */
  constructor(code: string, errno: number, syscall: string, description: string) {
    super(`${code}: ${description}, ${syscall}`)
    this.code = code
    this.errno = errno
    this.syscall = syscall
  }
}

/** How the kernel refused a call, null where it did not. Throws what else the call throws. */
export function refusalOf(call: () => unknown): KernelError | null {
  try {
    call()
    return null
  } catch (error) {
    if (error instanceof KernelError) return error
    throw error
  }
}
