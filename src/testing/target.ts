// SPDX-License-Identifier: Apache-2.0
/** What one VM type of a target can do, found out by doing it. */
export interface VmTypeInfo {
  /** `DEFAULT`, `SW_PROTECTED`, ... or the number. */
  readonly type: string
  readonly number: number
  /** KVM_CAP_VM_TYPES reports it. */
  readonly reported: boolean
  /** Why KVM_CREATE_VM failed: an errno's name, or ''. All below says nothing then. */
  readonly error: string
  /** KVM_CHECK_EXTENSION on such a VM, by name; those that are not 0. */
  readonly capabilities: Readonly<Record<string, number>>
  /** Bits of kvm_create_guest_memfd.flags that KVM_CREATE_GUEST_MEMFD accepts, each alone; null where it refuses even 0. */
  readonly guestMemfdFlags: number | null
  /** Errno of a memslot with KVM_MEM_GUEST_MEMFD, '' where it works: before 6.18 only a VM that can have private memory takes one. */
  readonly guestMemfdMemslot: string
  /** Errno of KVM_SET_MEMORY_ATTRIBUTES with PRIVATE on one page, '' where it works. */
  readonly privateAttribute: string
  /** Errno of KVM_PRE_FAULT_MEMORY on one page of a plain memslot, '' where it works. */
  readonly preFault: string
  /** Errno of KVM_SET_MEMORY_ATTRIBUTES2 on a guest_memfd, to shared and back (in-place conversion), '' where it works. */
  readonly inPlaceConversion: string
}

/** What a target offers: plain data, probed once per process (and once per saved VM). */
export interface TargetInfo {
  readonly schema: 1
  /** `uname -r`. */
  readonly release: string
  /** `uname -v`. */
  readonly version: string
  readonly arch: string
  /** CPU vendor that guests see. */
  readonly cpuVendor: string
  /** Why /dev/kvm cannot be used: an errno's name, or ''. */
  readonly kvmError: string
  readonly apiVersion: number
  /** KVM_CHECK_EXTENSION on the system, by name; those that are not 0. */
  readonly capabilities: Readonly<Record<string, number>>
  readonly vmTypes: readonly VmTypeInfo[]
  /** ioctls by name: false where the kernel answers ENOTTY. */
  readonly ioctls: Readonly<Record<string, boolean>>
  /** Two-dimensional paging is on: KVM_PRE_FAULT_MEMORY works, or KVM's module parameter says so. */
  readonly tdp: boolean
  /** A 2 MiB aligned, advised and touched area became one huge page. */
  readonly thp: boolean
  /** Free 2 MiB pages in the hugetlb pool. */
  readonly hugetlbFree: number
  /** Online NUMA nodes. */
  readonly numaNodes: number
}

/** The probed facts of one VM type, or null where the target does not report it. */
export function vmTypeInfo(target: TargetInfo, type: string): VmTypeInfo | null {
  return target.vmTypes.find((info) => info.type === type) ?? null
}
