// SPDX-License-Identifier: Apache-2.0
import { KVM_PRE_FAULT_MEMORY, kvm_pre_fault_memory } from 'gmem/abi'
import { binding, type GpaRange, type Memory, type Vcpu, type Vm } from 'gmem/kvm'
import { type Need, pages, preFault, sharedGuestMemfd } from 'gmem/testing'
import { BASE, errnoOf, privateMemory } from './conversion.js'

/** Memory that KVM_PRE_FAULT_MEMORY can be asked to map. */
export interface PrefaultKind {
  /** `private memory of a SW_PROTECTED VM`. */
  readonly what: string
  readonly type: 'DEFAULT' | 'SW_PROTECTED'
  readonly needs: readonly Need[]
  /** A memory at BASE, of so many pages. */
  readonly make: (vm: Vm, pageCount: number) => Memory
}

const SHARED_FILE = { mmap: true, initShared: true }
const onDefault = [preFault('DEFAULT')]
const onSwProtected = [...privateMemory, preFault('SW_PROTECTED')]

/** Private memory of a SW_PROTECTED VM. */
export const privateKind: PrefaultKind = {
  what: 'private memory of a SW_PROTECTED VM',
  type: 'SW_PROTECTED',
  needs: onSwProtected,
  make: (vm, pageCount) => {
    const memory = vm.addMemory({ gpa: BASE, size: pages(pageCount), guestMemfd: {} })
    vm.setPrivate(memory)
    return memory
  },
}

/** A guest_memfd that host and guest share. */
export const sharedKind: PrefaultKind = {
  what: 'a shared guest_memfd of a DEFAULT VM',
  type: 'DEFAULT',
  needs: [...onDefault, sharedGuestMemfd],
  make: (vm, pageCount) => vm.addMemory({ gpa: BASE, size: pages(pageCount), guestMemfd: SHARED_FILE }),
}

/** Every kind. */
export const PREFAULT_KINDS: readonly PrefaultKind[] = [
  {
    what: 'ordinary memory of a DEFAULT VM',
    type: 'DEFAULT',
    needs: onDefault,
    make: (vm, pageCount) => vm.addMemory({ gpa: BASE, size: pages(pageCount) }),
  },
  sharedKind,
  {
    what: 'shared memory of a SW_PROTECTED VM',
    type: 'SW_PROTECTED',
    needs: onSwProtected,
    make: (vm, pageCount) => vm.addMemory({ gpa: BASE, size: pages(pageCount), guestMemfd: {} }),
  },
  privateKind,
]

/** Faults that a guest takes in an operation, by KVM's own count. The vCPU must have run before: its monitor takes some, too. */
export async function faultsIn(vcpu: Vcpu, operation: () => Promise<unknown>): Promise<bigint> {
  const before = vcpu.stat('pf_taken')
  await operation()
  return vcpu.stat('pf_taken') - before
}

/** What is left to do after KVM_PRE_FAULT_MEMORY, in the form of its result. */
export function remainder(code: string, { gpa, size }: GpaRange): object {
  return { code, gpa, size, sigbus: null }
}

/** What became of a request: the errno's name, '' for success, and what is left of the range. */
export interface PrefaultedHere {
  readonly code: string
  readonly gpa: bigint
  readonly size: bigint
}

/** KVM_PRE_FAULT_MEMORY by the calling thread, which is the one that takes signals: the errno's name, and what the kernel wrote back. */
export function prefaultHere(vcpu: Vcpu, range: GpaRange): PrefaultedHere {
  const request = kvm_pre_fault_memory.encode(range)
  const code = errnoOf(() => binding.addon.ioctl(vcpu.fd, KVM_PRE_FAULT_MEMORY, request))
  const { gpa, size } = kvm_pre_fault_memory.decode(request)
  return { code, gpa, size }
}
