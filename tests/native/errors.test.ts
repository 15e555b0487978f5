// SPDX-License-Identifier: Apache-2.0
import { afterEach, expect, test } from 'vitest'
import {
  addon,
  anonymous,
  GMEM_MMAP_SHARED,
  KernelError,
  MAP_ANON,
  MAP_SHARED,
  PAGE,
  PROT_RW,
  Scope,
  thrownBy,
} from './support.js'

const scope = new Scope()
afterEach(() => scope.close())

test.each([
  [133, 'EHWPOISON'],
  [95, 'EOPNOTSUPP'],
  [11, 'EAGAIN'],
  [22, 'EINVAL'],
  [-22, 'EINVAL'],
  [524, 'ENOTSUPP'],
  [4000, 'ERRNO_4000'],
  [0, ''],
])('errno %i is %s', (errno, name) => {
  expect(addon.errnoName(errno)).toBe(name)
})

test('a refusal of the kernel is a KernelError with Node-shaped fields, on the caller’s stack', () => {
  const vm = scope.use(scope.use(addon.openKvm('/dev/kvm')).createVm(0n))

  const error = thrownBy(() => vm.createGuestMemfd(1n, 0n))

  expect(error).toBeInstanceOf(KernelError)
  expect(error).toMatchObject({
    name: 'KernelError',
    code: 'EINVAL',
    errno: -22,
    syscall: 'KVM_CREATE_GUEST_MEMFD',
    message: 'EINVAL: Invalid argument, KVM_CREATE_GUEST_MEMFD',
  })
  expect(error).toHaveProperty('stack', expect.stringContaining('errors.test.ts'))
})

test.each([
  ['openKvm', 'ENOENT', 'open', () => addon.openKvm('/dev/no-such-file')],
  [
    'openKvm on what is not KVM',
    'ENOTTY',
    'KVM_GET_API_VERSION',
    () => scope.use(addon.openKvm('/dev/null')).apiVersion(),
  ],
  ['mmap of length 0', 'EINVAL', 'mmap', () => addon.mmap(0n, PROT_RW, MAP_ANON, -1, 0n, 0n)],
  ['mmap of a bad fd', 'EBADF', 'mmap', () => addon.mmap(PAGE, PROT_RW, MAP_SHARED, 9999, 0n, 0n)],
  [
    'aligned mmap of a bad fd',
    'EBADF',
    'mmap',
    () => addon.mmap(PAGE, PROT_RW, MAP_SHARED, 9999, 0n, 0x20_0000n),
  ],
  ['mmap of everything', 'ENOMEM', 'mmap', () => addon.mmap(2n ** 64n - PAGE, PROT_RW, MAP_ANON, -1, 0n, 0n)],
  ['close of a bad fd', 'EBADF', 'close', () => addon.close(9999)],
  [
    'ioctl that the file does not know',
    'ENOTTY',
    'ioctl(0xae41)',
    () => addon.ioctl(scope.use(addon.openKvm('/dev/null')).fd, 0xae41, null),
  ],
  ['syscall that does not exist', 'ENOSYS', 'syscall(100000)', () => addon.syscall(100_000, [])],
])('%s: %s from %s', (_, code, syscall, call) => {
  const error = thrownBy(call)

  expect(error).toBeInstanceOf(KernelError)
  expect(error).toMatchObject({ code, syscall })
})

test.each([
  ['openKvm(7)', () => Reflect.apply(addon.openKvm, addon, [7])],
  ['createVm(0) with a number', () => Reflect.apply(kvm().createVm, kvm(), [0])],
  ['createVm(-1n)', () => kvm().createVm(-1n)],
  ['createVm(2n ** 64n)', () => kvm().createVm(2n ** 64n)],
  ['createVm()', () => Reflect.apply(kvm().createVm, kvm(), [])],
  ['checkExtension(-1)', () => kvm().checkExtension(-1)],
  ['checkExtension(2 ** 32)', () => kvm().checkExtension(2 ** 32)],
  ['checkExtension(0.5)', () => kvm().checkExtension(0.5)],
  ['checkExtension(NaN)', () => kvm().checkExtension(Number.NaN)],
  ['errnoName(2 ** 31)', () => addon.errnoName(2 ** 31)],
  ['enableCapability with five args', () => vm().enableCapability(1, [0n, 0n, 0n, 0n, 0n], 0)],
  ['enableCapability with a number in args', () => Reflect.apply(vm().enableCapability, vm(), [1, [0], 0])],
  ['createVcpu(-1)', () => vm().createVcpu(-1)],
  ['setRegs with 143 bytes', () => vcpu().setRegs(new Uint8Array(143))],
  ['setSregs with 313 bytes', () => vcpu().setSregs(new Uint8Array(313))],
  ['setRegs with an Int8Array', () => Reflect.apply(vcpu().setRegs, vcpu(), [new Int8Array(144)])],
  ['run() without a deadline', () => Reflect.apply(vcpu().run, vcpu(), [])],
  ['run(-1)', () => vcpu().run(-1)],
  ['run(NaN)', () => vcpu().run(Number.NaN)],
  ['run(Infinity)', () => vcpu().run(Number.POSITIVE_INFINITY)],
  ['Vcpu.ioctl(KVM_RUN)', () => vcpu().ioctl(0xae80, null)],
  ['ioctl with a string', () => Reflect.apply(addon.ioctl, addon, [0, 0, 'x'])],
  ['ioctl with undefined', () => Reflect.apply(addon.ioctl, addon, [0, 0])],
  ['ioctl request of 33 bits', () => addon.ioctl(0, 2 ** 32, null)],
  ['syscall with seven args', () => addon.syscall(39, [0n, 0n, 0n, 0n, 0n, 0n, 0n])],
  ['syscall with a bigint of 65 bits', () => addon.syscall(39, [2n ** 64n])],
  ['syscall with a bigint below -2n ** 63n', () => addon.syscall(39, [-(2n ** 63n) - 1n])],
  ['syscall with an unsafe number', () => addon.syscall(39, [2 ** 60])],
  ['syscall with a string', () => Reflect.apply(addon.syscall, addon, [39, ['x']])],
  ['mmap with MAP_FIXED', () => addon.mmap(PAGE, PROT_RW, MAP_ANON | 0x10, -1, 0n, 0n)],
  ['mmap aligned to 3 pages', () => addon.mmap(PAGE, PROT_RW, MAP_ANON, -1, 0n, 3n * PAGE)],
  ['Mapping.fill with 256', () => anonymous(scope, PAGE).fill(0n, 1n, 256)],
  ['Mapping.read of a negative length', () => anonymous(scope, PAGE).read(0n, -1)],
  ['probeRead of width 3', () => anonymous(scope, PAGE).probeRead(0n, 3)],
  ['probeWrite of a value wider than the access', () => anonymous(scope, PAGE).probeWrite(0n, 1, 256n)],
])('%s is a TypeError', (_, call) => {
  expect(call).toThrow(TypeError)
})

test('a guest_memfd’s offsets may have all 64 bits: the kernel decides', () => {
  const memfd = scope.use(vm().createGuestMemfd(PAGE, GMEM_MMAP_SHARED))

  expect(thrownBy(() => memfd.fallocate(3, 2n ** 64n - PAGE, PAGE))).toMatchObject({
    code: 'EINVAL',
    syscall: 'fallocate',
  })
  expect(() => memfd.fallocate(3, -PAGE, PAGE)).toThrow(TypeError)
})

const kvm = () => scope.use(addon.openKvm('/dev/kvm'))
const vm = () => scope.use(kvm().createVm(0n))
const vcpu = () => scope.use(vm().createVcpu(0))
