// SPDX-License-Identifier: Apache-2.0
import { describe, expect, it } from 'vitest'
import * as needs from '../../src/testing/needs.js'
import type { TargetInfo, VmTypeInfo } from '../../src/testing/target.js'

const defaultVm: VmTypeInfo = {
  type: 'DEFAULT',
  number: 0,
  reported: true,
  error: '',
  capabilities: { GUEST_MEMFD: 1 },
  guestMemfdFlags: 3,
  guestMemfdMemslot: '',
  privateAttribute: 'EINVAL',
  preFault: 'EOPNOTSUPP',
  inPlaceConversion: 'ENOTTY',
}
const swProtectedVm: VmTypeInfo = {
  ...defaultVm,
  type: 'SW_PROTECTED',
  number: 1,
  guestMemfdFlags: 1,
  privateAttribute: '',
  preFault: '',
}
const target: TargetInfo = {
  schema: 1,
  release: '7.3.4-gmem',
  version: '#1 SMP',
  arch: 'x86_64',
  cpuVendor: 'AuthenticAMD',
  kvmError: '',
  apiVersion: 12,
  capabilities: { MEMORY_ATTRIBUTES: 8 },
  vmTypes: [defaultVm],
  ioctls: { KVM_CREATE_GUEST_MEMFD: true, KVM_SET_MEMORY_ATTRIBUTES: false },
  tdp: false,
  thp: true,
  hugetlbFree: 2,
  numaNodes: 1,
}
const capable: TargetInfo = { ...target, vmTypes: [defaultVm, swProtectedVm], tdp: true }

const reason = (need: needs.Need, on = target) => needs.firstUnmet([need], on)

describe('an unmet need', () => {
  it.each([
    [needs.vmType.swProtected, 'needs VM type SW_PROTECTED: KVM_CAP_VM_TYPES reports only DEFAULT'],
    [
      needs.memoryAttribute.private,
      'needs KVM_MEMORY_ATTRIBUTE_PRIVATE: KVM_SET_MEMORY_ATTRIBUTES fails on every VM type (DEFAULT: EINVAL)',
    ],
    [needs.cap('PRE_FAULT_MEMORY'), 'needs KVM_CAP_PRE_FAULT_MEMORY: KVM_CHECK_EXTENSION gives 0'],
    [
      needs.cap('MEMORY_ATTRIBUTES', 'DEFAULT'),
      'needs KVM_CAP_MEMORY_ATTRIBUTES on a DEFAULT VM: KVM_CHECK_EXTENSION gives 0',
    ],
    [
      needs.inPlaceConversion,
      'needs in-place conversion: KVM_SET_MEMORY_ATTRIBUTES2 fails on the guest_memfds of every VM type (DEFAULT: ENOTTY)',
    ],
    [
      needs.guestMemfdMemslot('SW_PROTECTED'),
      'needs memslots with a guest_memfd on a SW_PROTECTED VM: KVM_SET_USER_MEMORY_REGION2 fails with no such VM type',
    ],
    [needs.preFault(), 'needs KVM_PRE_FAULT_MEMORY on a DEFAULT VM: it fails with EOPNOTSUPP'],
    [needs.tdp, 'needs two-dimensional paging: KVM uses shadow paging here'],
    [needs.hugetlb(3), 'needs 3 free 2 MiB hugetlb pages: the pool has 2 (/proc/sys/vm/nr_hugepages)'],
    [needs.numaNodes(2), 'needs 2 NUMA nodes: 1 online'],
    [needs.ioctl('KVM_SET_MEMORY_ATTRIBUTES'), 'needs KVM_SET_MEMORY_ATTRIBUTES: the kernel answers ENOTTY'],
    [needs.kernelAtLeast('7.4'), 'needs kernel 7.4 or later: this is 7.3.4-gmem'],
    [needs.not(needs.thp), 'needs no transparent huge pages: the target has it'],
  ])('%# gives its reason', async (need, expected) => {
    expect(await reason(need)).toBe(expected)
  })

  it('names a missing file', async () => {
    expect(await reason(needs.path('/sys/kernel/no-such-thing'))).toMatch(
      /^needs \/sys\/kernel\/no-such-thing: ENOENT/,
    )
  })

  it('is the first of several', async () => {
    expect(await needs.firstUnmet([needs.thp, needs.tdp, needs.vmType.swProtected], target)).toMatch(
      /^needs two-dimensional/,
    )
  })

  it('is /dev/kvm before everything else', async () => {
    const reason = await needs.firstUnmet([], { ...target, kvmError: 'ENOENT' })

    expect(reason).toBe('needs /dev/kvm: opening it fails with ENOENT')
  })
})

describe('a met need', () => {
  it.each([
    needs.vmType.swProtected,
    needs.memoryAttribute.private,
    needs.cap('MEMORY_ATTRIBUTES'),
    needs.cap('GUEST_MEMFD', 'SW_PROTECTED'),
    needs.guestMemfd('SW_PROTECTED'),
    needs.guestMemfdFlag.mmap('SW_PROTECTED'),
    needs.sharedGuestMemfd,
    needs.preFault('SW_PROTECTED'),
    needs.guestMemfdMemslot('SW_PROTECTED'),
    needs.not(needs.guestMemfdFlag.initShared('SW_PROTECTED')),
    needs.not(needs.inPlaceConversion),
    needs.tdp,
    needs.hugetlb(2),
    needs.numaNodes(1),
    needs.ioctl('KVM_CREATE_GUEST_MEMFD'),
    needs.kernelAtLeast('7.3.4'),
    needs.path('/'),
  ])('%# gives no reason', async (need) => {
    expect(await reason(need, capable)).toBeNull()
  })
})
