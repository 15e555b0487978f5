// SPDX-License-Identifier: Apache-2.0
/**
 * How an ioctl request number is made (include/uapi/asm-generic/ioctl.h): direction in bits 30..31, size of the argument in
 * bits 16..29, type in bits 8..15, number in bits 0..7. KVM compares the whole number, so the right nr with another size is ENOTTY.
 */

const NONE = 0
const WRITE = 1
const READ = 2

/** The type byte of all KVM ioctls. */
export const KVMIO = 0xae

/** The type byte of the first in-place conversion ioctls of a guest_memfd (RFC v2 of 2025-05-14, 04/51); in no release. */
export const KVM_GMEM_IO = 0xaf

/** `_IOC(direction, type, nr, size)`: direction 0 none, 1 write, 2 read, 3 both; size in bytes. */
export function ioc(direction: number, type: number, nr: number, size: number): number {
  return ((direction << 30) | (size << 16) | (type << 8) | nr) >>> 0
}

/** `_IO(type, nr)`: no argument, or one passed by value. */
export function io(type: number, nr: number): number {
  return ioc(NONE, type, nr, 0)
}

/** `_IOW(type, nr, size)`: the kernel reads a struct of `size` bytes. */
export function iow(type: number, nr: number, size: number): number {
  return ioc(WRITE, type, nr, size)
}

/** `_IOR(type, nr, size)`: the kernel writes a struct of `size` bytes. */
export function ior(type: number, nr: number, size: number): number {
  return ioc(READ, type, nr, size)
}

/** `_IOWR(type, nr, size)`: the kernel reads and writes a struct of `size` bytes. */
export function iowr(type: number, nr: number, size: number): number {
  return ioc(READ | WRITE, type, nr, size)
}
