// SPDX-License-Identifier: Apache-2.0
import { S_IFMT, S_IFREG } from 'gmem/abi'
import type { Vm } from 'gmem/kvm'
import {
  bytes,
  cap,
  cases,
  describe,
  expect,
  gpa,
  guestMemfd,
  guestMemfdMemslot,
  inPlaceConversion,
  kernelAtLeast,
  not,
  pages,
  sharedGuestMemfd,
  test,
  vmType,
} from 'gmem/testing'
import { errnoOf } from './support/conversion.js'
import { onlyReleasedFlags } from './support/released-flags.js'
import { openFds, sys } from './support/system-calls.js'
import { onEveryVmType } from './support/vm-types.js'

const ALL_BITS = Array.from({ length: 64 }, (_, bit) => 1n << BigInt(bit))
const MMAP = 1n
const INIT_SHARED = 2n

/** A file's size is a loff_t: the largest is the last multiple of 4096 below 2^63. */
const LARGEST = bytes((1n << 63n) - 4096n)

/** f_type of a guest_memfd's own file system (include/uapi/linux/magic.h, "GMEM"). */
const GUEST_MEMFD_MAGIC = 0x474d454dn
/** f_type of files of anon_inodefs, where they lived before (include/uapi/linux/magic.h). */
const ANON_INODE_FS_MAGIC = 0x09041934n

/** The outcome of creating one page with flags: an errno, or '' for a file. */
function outcomeOf(vm: Vm, flags: bigint): string {
  return errnoOf(() => vm.createGuestMemfd({ size: pages(1), flags }).close())
}

/** The next flag to be invented, perhaps: series add flags from the lowest free bit on. */
function lowestBitBeside(flags: bigint): bigint {
  return ALL_BITS.find((bit) => (flags & bit) === 0n) ?? 0n
}

describe('KVM_CREATE_GUEST_MEMFD', () => {
  onEveryVmType(({ type, offered }) => {
    test('accepts each single flag that KVM_CAP_GUEST_MEMFD_FLAGS offers and refuses every other with EINVAL', {
      needs: offered,
    }, ({ kvm }) => {
      using vm = kvm.createVm({ type })
      const capability = BigInt(vm.capability('GUEST_MEMFD_FLAGS'))

      const outcomes = ALL_BITS.map((bit) => outcomeOf(vm, bit))

      expect(outcomes).toEqual(ALL_BITS.map((bit) => ((capability & bit) === bit ? '' : 'EINVAL')))
    })

    test('accepts all offered flags at once, and no unknown one beside them', { needs: offered }, ({
      kvm,
    }) => {
      using vm = kvm.createVm({ type })
      const all = BigInt(vm.capability('GUEST_MEMFD_FLAGS'))

      expect(outcomeOf(vm, all)).toBe('')
      expect(outcomeOf(vm, all | lowestBitBeside(all))).toBe('EINVAL')
      expect(outcomeOf(vm, all | (1n << 63n))).toBe('EINVAL')
      expect(outcomeOf(vm, (1n << 64n) - 1n)).toBe('EINVAL')
    })

    test('makes a file of each size that is a positive number of pages below 2^63, and of no other', {
      needs: offered,
    }, ({ kvm }) => {
      using vm = kvm.createVm({ type })

      const sizeOf = (size: bigint) => vm.createGuestMemfd({ size: bytes(size) }).stat().size

      expect(() => sizeOf(0n)).toFailWith('EINVAL')
      expect(sizeOf(4096n)).toBe(4096n)
      expect(() => sizeOf(4097n)).toFailWith('EINVAL')
      expect(sizeOf(LARGEST)).toBe(LARGEST)
      expect(() => sizeOf(LARGEST + 4096n)).toFailWith('EINVAL')
    })

    test('makes a regular file for its owner alone, with pages as blocks and none in use', {
      needs: offered,
    }, ({ kvm }) => {
      using vm = kvm.createVm({ type })

      using file = vm.createGuestMemfd({ size: pages(4) })

      const stat = file.stat()
      expect(stat.mode & S_IFMT).toBe(S_IFREG)
      expect(stat.mode & ~S_IFMT).toBe(0o600)
      expect(stat.blksize).toBe(pages(1))
      expect(stat.blocks).toBe(0n)
    })

    test('makes each file an inode of its own, whose size later ones leave alone', { needs: offered }, ({
      kvm,
    }) => {
      using vm = kvm.createVm({ type })
      using first = vm.createGuestMemfd({ size: pages(1) })

      using second = vm.createGuestMemfd({ size: pages(2) })

      expect(second.stat().ino).not.toBe(first.stat().ino)
      expect(first.stat().size).toBe(pages(1))
      expect(second.stat().size).toBe(pages(2))
    })

    test('is offered: KVM_CAP_GUEST_MEMFD is 1 on the VM', {
      needs: [...offered, guestMemfdMemslot(type)],
    }, ({ kvm }) => {
      using vm = kvm.createVm({ type })

      expect(vm.capability('GUEST_MEMFD')).toBe(1)
    })

    // kvm_gmem_create() asked nobody before 6.18, though the capability said no (kvm_arch_has_private_mem()).
    test('works where KVM_CAP_GUEST_MEMFD is 0: what is refused is the memslot', {
      needs: [...offered, not(guestMemfdMemslot(type))],
    }, ({ kvm }) => {
      using vm = kvm.createVm({ type })
      using file = vm.createGuestMemfd({ size: pages(1) })

      const bind = (): unknown => vm.addMemory({ gpa: gpa(0x1000_0000), size: pages(1), guestMemfd: file })

      expect(vm.capability('GUEST_MEMFD')).toBe(0)
      expect(bind).toFailWith('EINVAL', 'KVM_SET_USER_MEMORY_REGION2')
    })
  })

  cases(
    [
      { what: 'of 0 bytes', size: 0n },
      { what: 'of 1 byte', size: 1n },
      { what: 'one byte short of a page', size: 4095n },
      { what: 'one byte over a page', size: 4097n },
      { what: 'of two and a half pages', size: 10_240n },
      { what: 'one byte below 2^63', size: (1n << 63n) - 1n },
      { what: 'of 2^63 bytes, negative as a loff_t', size: 1n << 63n },
      { what: 'of the last page below 2^64, negative as a loff_t', size: (1n << 64n) - 4096n },
    ],
    ({ what }) => `refuses a size ${what} with EINVAL and leaves no fd behind`,
    { needs: [guestMemfd()] },
    ({ kvm }, { size }) => {
      using vm = kvm.createVm()
      const before = openFds()

      expect(() => vm.createGuestMemfd({ size: bytes(size) })).toFailWith('EINVAL', 'KVM_CREATE_GUEST_MEMFD')

      expect(openFds()).toBe(before)
    },
  )

  cases(
    [
      { what: 'one page', size: pages(1) },
      { what: 'three pages', size: pages(3) },
      { what: '2 MiB and a page', size: pages(513) },
      { what: 'far more than there is memory', size: bytes(1n << 52n) },
      { what: 'the last page below 2^63', size: LARGEST },
    ],
    ({ what }) => `makes a file of ${what}, and fstat(2) has its exact size`,
    { needs: [guestMemfd()] },
    ({ kvm }, { size }) => {
      using vm = kvm.createVm()

      using file = vm.createGuestMemfd({ size })

      expect(file.stat().size).toBe(size)
    },
  )

  test('offers MMAP and INIT_SHARED on a DEFAULT VM', {
    needs: [kernelAtLeast('6.18'), ...onlyReleasedFlags],
  }, ({ kvm }) => {
    using vm = kvm.createVm()

    expect(vm.capability('GUEST_MEMFD_FLAGS')).toBe(Number(MMAP | INIT_SHARED))
  })

  test('offers at system scope every flag that some VM type takes', {
    needs: [kernelAtLeast('6.18'), ...onlyReleasedFlags],
  }, ({ kvm }) => {
    expect(kvm.capability('GUEST_MEMFD_FLAGS')).toBe(Number(MMAP | INIT_SHARED))
    expect(kvm.capability('GUEST_MEMFD')).toBe(1)
  })

  // kvm_arch_supports_gmem_init_shared() is false for a VM with private memory without in-place conversion.
  test('refuses INIT_SHARED on a SW_PROTECTED VM, alone and with MMAP, but takes MMAP', {
    needs: [vmType.swProtected, kernelAtLeast('6.18'), not(inPlaceConversion), ...onlyReleasedFlags],
  }, ({ kvm }) => {
    using vm = kvm.createVm({ type: 'SW_PROTECTED' })

    expect(vm.capability('GUEST_MEMFD_FLAGS')).toBe(Number(MMAP))
    expect(outcomeOf(vm, INIT_SHARED)).toBe('EINVAL')
    expect(outcomeOf(vm, INIT_SHARED | MMAP)).toBe('EINVAL')
    expect(outcomeOf(vm, MMAP)).toBe('')
  })

  test('takes INIT_SHARED without MMAP, for a file that only guests use', { needs: [sharedGuestMemfd] }, ({
    kvm,
  }) => {
    using vm = kvm.createVm()

    using file = vm.createGuestMemfd({ size: pages(1), flags: INIT_SHARED })

    expect(() => file.mmap()).toFailWith('ENODEV')
  })

  test('makes files of the guest_memfd file system since 6.19', { needs: [kernelAtLeast('6.19')] }, ({
    kvm,
  }) => {
    using vm = kvm.createVm()
    using file = vm.createGuestMemfd({ size: pages(1) })

    expect(fileSystemOf(file.fd)).toBe(GUEST_MEMFD_MAGIC)
  })

  test('makes files of anon_inodefs before 6.19', {
    needs: [cap('GUEST_MEMFD'), not(kernelAtLeast('6.19'))],
  }, ({ kvm }) => {
    using vm = kvm.createVm()
    using file = vm.createGuestMemfd({ size: pages(1) })

    expect(fileSystemOf(file.fd)).toBe(ANON_INODE_FS_MAGIC)
  })
})

/** f_type of fstatfs(2): the first field of struct statfs, which has 120 bytes. */
function fileSystemOf(fd: number): bigint {
  const statfs = new Uint8Array(120)
  sys('fstatfs', fd, statfs)
  return new DataView(statfs.buffer).getBigUint64(0, true)
}
