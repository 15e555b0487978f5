// SPDX-License-Identifier: Apache-2.0
import { accessSync } from 'node:fs'
import {
  type CapabilityName,
  capabilityLabel,
  GUEST_MEMFD_FLAG_INIT_SHARED,
  GUEST_MEMFD_FLAG_MMAP,
  type VmTypeName,
} from '../abi/index.js'
import { releaseAtLeast } from './release.js'
import { TARGET_HAS_IT } from './skip-text.js'
import { type TargetInfo, vmTypeInfo } from './target.js'

/** Something that a test needs from its target. A value: it can be named, negated and asked. */
export interface Need {
  /** What is needed, as a noun: `VM type SW_PROTECTED`. */
  readonly name: string
  /** Why the target does not have it; null where it does. A promise where that takes running a guest. */
  unmet(target: TargetInfo): Unmet | Promise<Unmet>
}

/** Why a target does not have something; null where it does. */
export type Unmet = string | null

/** A need of one's own. */
export function need(name: string, unmet: Need['unmet']): Need {
  return { name, unmet }
}

/** The reason to skip: the first need that is not met, or null. */
export async function firstUnmet(needs: readonly Need[], target: TargetInfo): Promise<Unmet> {
  if (target.kvmError === 'ENOTTY') return 'needs /dev/kvm: what is there is no KVM device (ENOTTY)'
  if (target.kvmError !== '') return `needs /dev/kvm: opening it fails with ${target.kvmError}`
  for (const { name, unmet } of needs) {
    const reason = await unmet(target)
    if (reason !== null) return `needs ${name}: ${reason}`
  }
  return null
}

function typeNeed(type: VmTypeName): Need {
  return need(`VM type ${type}`, (target) => {
    const info = vmTypeInfo(target, type)
    if (info === null)
      return `KVM_CAP_VM_TYPES reports only ${target.vmTypes.map((each) => each.type).join(', ')}`
    return info.error === '' ? null : `KVM_CREATE_VM fails with ${info.error}`
  })
}

/** The target makes VMs of the type. */
export const vmType = {
  default: typeNeed('DEFAULT'),
  swProtected: typeNeed('SW_PROTECTED'),
  snp: typeNeed('SNP'),
  tdx: typeNeed('TDX'),
} as const

/** KVM_CHECK_EXTENSION of a capability is not 0: on the system, or on a VM of `type`. */
export function cap(capability: CapabilityName, type?: VmTypeName): Need {
  const where = type === undefined ? '' : ` on a ${type} VM`
  return need(`${capabilityLabel(capability)}${where}`, (target) => {
    const from = type === undefined ? target : vmTypeInfo(target, type)
    return from?.capabilities[capability] ? null : 'KVM_CHECK_EXTENSION gives 0'
  })
}

/** KVM_SET_MEMORY_ATTRIBUTES with an attribute works on a VM with private memory. */
export const memoryAttribute = {
  private: need('KVM_MEMORY_ATTRIBUTE_PRIVATE', (target) => {
    const codes = target.vmTypes
      .filter((info) => info.error === '')
      .map((info) => `${info.type}: ${info.privateAttribute}`)
    if (target.vmTypes.some((info) => info.error === '' && info.privateAttribute === '')) return null
    return `KVM_SET_MEMORY_ATTRIBUTES fails on every VM type (${codes.join(', ')})`
  }),
} as const

/** KVM_CREATE_GUEST_MEMFD works without flags, on a VM of `type`. */
export function guestMemfd(type: VmTypeName = 'DEFAULT'): Need {
  return need(`guest_memfd on a ${type} VM`, (target) =>
    (vmTypeInfo(target, type)?.guestMemfdFlags ?? null) === null
      ? 'KVM_CREATE_GUEST_MEMFD fails without flags'
      : null,
  )
}

/** A memslot can have a guest_memfd (KVM_MEM_GUEST_MEMFD), on a VM of `type`: on DEFAULT since 6.18. */
export function guestMemfdMemslot(type: VmTypeName = 'DEFAULT'): Need {
  return need(`memslots with a guest_memfd on a ${type} VM`, (target) => {
    const code = vmTypeInfo(target, type)?.guestMemfdMemslot ?? 'no such VM type'
    return code === '' ? null : `KVM_SET_USER_MEMORY_REGION2 fails with ${code}`
  })
}

function flagRefused(target: TargetInfo, type: VmTypeName, bit: bigint): Unmet {
  const accepted = vmTypeInfo(target, type)?.guestMemfdFlags ?? 0
  return (BigInt(accepted) & bit) === 0n ? 'KVM_CREATE_GUEST_MEMFD refuses it' : null
}

function flagNeed(name: string, bit: bigint): (type?: VmTypeName) => Need {
  return (type = 'DEFAULT') =>
    need(`GUEST_MEMFD_FLAG_${name} on a ${type} VM`, (target) => flagRefused(target, type, bit))
}

/** KVM_CREATE_GUEST_MEMFD accepts the flag, on a VM of a type (DEFAULT unless given). */
export const guestMemfdFlag = {
  mmap: flagNeed('MMAP', GUEST_MEMFD_FLAG_MMAP),
  initShared: flagNeed('INIT_SHARED', GUEST_MEMFD_FLAG_INIT_SHARED),
} as const

/** Memslots that a guest_memfd backs on a DEFAULT VM, with a mapping that host and guest share (since 6.18). */
export const sharedGuestMemfd: Need = need(
  'GUEST_MEMFD_FLAG_MMAP and INIT_SHARED on a DEFAULT VM',
  (target) =>
    flagRefused(target, 'DEFAULT', GUEST_MEMFD_FLAG_MMAP) ??
    flagRefused(target, 'DEFAULT', GUEST_MEMFD_FLAG_INIT_SHARED),
)

/** KVM_PRE_FAULT_MEMORY works on a VM of `type`. */
export function preFault(type: VmTypeName = 'DEFAULT'): Need {
  return need(`KVM_PRE_FAULT_MEMORY on a ${type} VM`, (target) => {
    const code = vmTypeInfo(target, type)?.preFault ?? 'no such VM type'
    return code === '' ? null : `it fails with ${code}`
  })
}

/** A guest_memfd converts in place: KVM_SET_MEMORY_ATTRIBUTES2 works on it, on a VM with private memory. */
export const inPlaceConversion: Need = need('in-place conversion', (target) => {
  const usable = target.vmTypes.filter((info) => info.error === '')
  if (usable.some((info) => info.inPlaceConversion === '')) return null
  const codes = usable.map((info) => `${info.type}: ${info.inPlaceConversion}`)
  return `KVM_SET_MEMORY_ATTRIBUTES2 fails on the guest_memfds of every VM type (${codes.join(', ')})`
})

/** Two-dimensional paging (EPT, NPT). */
export const tdp: Need = need('two-dimensional paging', (target) =>
  target.tdp ? null : 'KVM uses shadow paging here',
)

/** Transparent huge pages of 2 MiB. */
export const thp: Need = need('transparent huge pages', (target) =>
  target.thp ? null : 'a touched 2 MiB area with MADV_HUGEPAGE was not one huge page',
)

/** Free 2 MiB pages in the hugetlb pool. */
export function hugetlb(pages: number): Need {
  return need(`${pages} free 2 MiB hugetlb pages`, (target) =>
    target.hugetlbFree >= pages ? null : `the pool has ${target.hugetlbFree} (/proc/sys/vm/nr_hugepages)`,
  )
}

/** NUMA nodes that are online. */
export function numaNodes(count: number): Need {
  return need(`${count} NUMA nodes`, (target) =>
    target.numaNodes >= count ? null : `${target.numaNodes} online`,
  )
}

/** A file that is there, and accessible: a module's or feature's mark. Looked up when asked. */
export function path(file: string): Need {
  return need(file, () => {
    try {
      accessSync(file)
      return null
    } catch (error) {
      return error instanceof Error ? error.message : String(error)
    }
  })
}

/** An ioctl that the kernel knows (not ENOTTY), by name: `KVM_SET_MEMORY_ATTRIBUTES`. */
export function ioctl(name: string): Need {
  return need(name, (target) => (target.ioctls[name] === true ? null : 'the kernel answers ENOTTY'))
}

/** A release or later: only for behaviour that cannot be probed. */
export function kernelAtLeast(version: string): Need {
  return need(`kernel ${version} or later`, (target) =>
    releaseAtLeast(target.release, version) ? null : `this is ${target.release}`,
  )
}

/** The opposite of a need. */
export function not(other: Need): Need {
  return need(`no ${other.name}`, async (target) =>
    (await other.unmet(target)) === null ? TARGET_HAS_IT : null,
  )
}
