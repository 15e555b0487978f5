// SPDX-License-Identifier: Apache-2.0
import { afterEach, describe, expect, test } from 'vitest'
import { addon, anonymous, GMEM_MMAP_SHARED, KernelError, PAGE, qwords, Scope, thrownBy } from './support.js'

const KVM_CREATE_GUEST_MEMFD = 0xc040_aed4
const KVM_SET_USER_MEMORY_REGION = 0x4020_ae46
const KVM_GET_CLOCK = 0x8030_ae7c
const GETPID = 39
const FTRUNCATE = 77
const GETRANDOM = 318

const scope = new Scope()
afterEach(() => scope.close())
const vm = () => scope.use(scope.use(addon.openKvm('/dev/kvm')).createVm(0n))

describe('a struct', () => {
  test('that is whole is accepted', () => {
    const fd = addon.ioctl(vm().fd, KVM_CREATE_GUEST_MEMFD, qwords(PAGE, 0n, 0n, 0n, 0n, 0n, 0n, 0n))

    addon.close(fd)
    expect(fd).toBeGreaterThan(2)
  })

  test('that is one byte short is EFAULT: the kernel meets the end of it', () => {
    const short = qwords(PAGE, 0n, 0n, 0n, 0n, 0n, 0n, 0n).slice(0, 63)

    expect(thrownBy(() => addon.ioctl(vm().fd, KVM_CREATE_GUEST_MEMFD, short))).toMatchObject({
      code: 'EFAULT',
    })
  })

  test('with an unknown flag is EINVAL', () => {
    const unknownFlag = qwords(PAGE, 1n << 63n, 0n, 0n, 0n, 0n, 0n, 0n)

    expect(thrownBy(() => addon.ioctl(vm().fd, KVM_CREATE_GUEST_MEMFD, unknownFlag))).toMatchObject({
      code: 'EINVAL',
      syscall: 'ioctl(0xc040aed4)',
    })
  })

  test('that the kernel fills is written back, and not beyond', () => {
    const clock = new Uint8Array(64).fill(0xee)

    addon.ioctl(vm().fd, KVM_GET_CLOCK, clock)

    expect(clock.slice(0, 8)).not.toEqual(new Uint8Array(8).fill(0xee))
    expect(clock.slice(48)).toEqual(new Uint8Array(16).fill(0xee))
  })

  test('may lie in a mapping and be passed by address', () => {
    const memory = anonymous(scope, PAGE)
    memory.write(PAGE - 64n, qwords(PAGE))

    const fd = addon.ioctl(vm().fd, KVM_CREATE_GUEST_MEMFD, memory.address + PAGE - 64n)

    addon.close(fd)
    expect(
      thrownBy(() => addon.ioctl(vm().fd, KVM_CREATE_GUEST_MEMFD, 0xdead_0000_0000_0000n)),
    ).toMatchObject({ code: 'EFAULT' })
  })

  test('null is a null pointer', () => {
    expect(thrownBy(() => addon.ioctl(vm().fd, KVM_SET_USER_MEMORY_REGION, null))).toMatchObject({
      code: 'EFAULT',
    })
  })

  test('that needs less than given is accepted, as by any program', () => {
    const region = new Uint8Array(4096)
    region.set(qwords(5n, 0n, 0n, 0n))

    // Deletes memslot 5, which is not there.
    expect(thrownBy(() => addon.ioctl(vm().fd, KVM_SET_USER_MEMORY_REGION, region))).toMatchObject({
      code: 'EINVAL',
    })
  })
})

describe('syscall', () => {
  test('returns a bigint', () => {
    expect(addon.syscall(GETPID, [])).toBe(BigInt(process.pid))
  })

  test('passes bytes by address and writes them back', () => {
    const random = new Uint8Array(4096)

    expect(addon.syscall(GETRANDOM, [random, 4096, null])).toBe(4096n)

    expect(random).not.toEqual(new Uint8Array(4096))
  })

  test('a buffer that is shorter than the call is told ends the copy: nothing is overrun', () => {
    const short = new Uint8Array(16)

    expect(addon.syscall(GETRANDOM, [short, 4096, null])).toBe(16n)

    expect(short).not.toEqual(new Uint8Array(16))
  })

  test('passes negative numbers and bigints sign-extended', () => {
    const memfd = scope.use(vm().createGuestMemfd(PAGE, GMEM_MMAP_SHARED))

    for (const length of [-1, -1n, 2n ** 64n - 1n]) {
      expect(thrownBy(() => addon.syscall(FTRUNCATE, [memfd.fd, length]))).toMatchObject({ code: 'EINVAL' })
    }
    expect(thrownBy(() => addon.syscall(FTRUNCATE, [-1, 0]))).toMatchObject({ code: 'EBADF' })
  })
})

describe('forkIoctl', () => {
  test('of a VM from another process is EIO', () => {
    const region = qwords(0n, 0n, 0n, 0n)

    expect(addon.forkIoctl(vm().fd, KVM_SET_USER_MEMORY_REGION, region)).toBe('EIO')
  })

  test('names success with an empty string', () => {
    const KVM_GET_API_VERSION = 0xae00

    expect(addon.forkIoctl(scope.use(addon.openKvm('/dev/kvm')).fd, KVM_GET_API_VERSION, null)).toBe('')
  })
})

describe('a guest_memfd', () => {
  test('has the size it was made with, mode 0600, no links to it', () => {
    const memfd = scope.use(vm().createGuestMemfd(3n * PAGE, GMEM_MMAP_SHARED))

    expect(memfd.fstat()).toMatchObject({ size: 3n * PAGE, blocks: 0n, blksize: PAGE, mode: 0o100600 })
  })

  test.each([
    ['read', 'EINVAL', 'read'],
    ['write', 'EINVAL', 'write'],
    ['pread', 'ESPIPE', 'pread64'],
    ['pwrite', 'ESPIPE', 'pwrite64'],
    ['lseek', 'ESPIPE', 'lseek'],
    ['ftruncate', 'EINVAL', 'ftruncate'],
    ['ioctl', 'ENOTTY', 'ioctl(0xae00)'],
  ])('%s is refused with %s', (method, code, syscall) => {
    const memfd = scope.use(vm().createGuestMemfd(PAGE, GMEM_MMAP_SHARED))
    const calls: Record<string, () => unknown> = {
      read: () => memfd.read(8),
      write: () => memfd.write(new Uint8Array(8)),
      pread: () => memfd.pread(8, 0n),
      pwrite: () => memfd.pwrite(new Uint8Array(8), 0n),
      lseek: () => memfd.lseek(0n, 0),
      ftruncate: () => memfd.ftruncate(2n * PAGE),
      ioctl: () => memfd.ioctl(0xae00, null),
    }

    const error = thrownBy(() => calls[method]?.())

    expect(error).toBeInstanceOf(KernelError)
    expect(error).toMatchObject({ code, syscall })
  })

  test('fallocate allocates and punches, which fstat counts', () => {
    const PUNCH_HOLE_KEEP_SIZE = 3
    const KEEP_SIZE = 1
    const memfd = scope.use(vm().createGuestMemfd(4n * PAGE, GMEM_MMAP_SHARED))
    const mapping = scope.use(memfd.mmap(4n * PAGE, 3, 1, 0n))

    memfd.fallocate(KEEP_SIZE, 0n, 2n * PAGE)
    mapping.fill(0n, 2n * PAGE, 0x11)
    memfd.fallocate(PUNCH_HOLE_KEEP_SIZE, PAGE, PAGE)

    expect(mapping.findMismatch(0n, PAGE, 0x11)).toBeNull()
    expect(mapping.findMismatch(PAGE, PAGE, 0)).toBeNull()
  })

  test('dup is another descriptor of the same file', () => {
    const memfd = scope.use(vm().createGuestMemfd(PAGE, GMEM_MMAP_SHARED))
    const copy = scope.use(memfd.dup())

    expect(copy.fd).not.toBe(memfd.fd)
    expect(copy.fstat().ino).toBe(memfd.fstat().ino)
    memfd.close()
    expect(copy.fstat().size).toBe(PAGE)
  })
})
