// SPDX-License-Identifier: Apache-2.0
import type { Memory, Vm } from 'gmem/kvm'
import { describe, guestMemfd, memoryAttribute, type Need, sharedGuestMemfd, vmType } from 'gmem/testing'

/** One VM type, and how its guests get at a guest_memfd. */
export interface VmKind {
  readonly type: 'DEFAULT' | 'SW_PROTECTED'
  /** What making a file on such a VM needs. */
  readonly offered: readonly Need[]
  /** What a memslot with a file that the guest uses needs. */
  readonly bindable: readonly Need[]
  /** Flags of a file whose pages the guest uses: shared with the host on DEFAULT, private on SW_PROTECTED. */
  readonly flags: { readonly mmap?: boolean; readonly initShared?: boolean }
  /** Makes the guest's accesses to a memory go to its file. */
  readonly serveFromFile: (vm: Vm, memory: Memory) => void
}

/** The VM types that software can offer. */
export const VM_KINDS: readonly VmKind[] = [
  {
    type: 'DEFAULT',
    offered: [guestMemfd('DEFAULT')],
    bindable: [sharedGuestMemfd],
    flags: { mmap: true, initShared: true },
    // A memslot whose file has GUEST_MEMFD_FLAG_MMAP serves shared accesses from it.
    serveFromFile: () => {},
  },
  {
    type: 'SW_PROTECTED',
    offered: [vmType.swProtected, guestMemfd('SW_PROTECTED')],
    bindable: [vmType.swProtected, memoryAttribute.private],
    flags: {},
    serveFromFile: (vm, memory) => vm.setPrivate(memory),
  },
]

/** A family that holds on every VM type: its tests are registered once for each. */
export function onEveryVmType(family: (kind: VmKind) => void): void {
  for (const kind of VM_KINDS) describe(`on a ${kind.type} VM`, () => family(kind))
}
