// SPDX-License-Identifier: Apache-2.0

/** A part of the kernel whose execution is counted. */
export interface Subject {
  /** Relative to the kernel's source. */
  readonly file: string
  /** What it is, for people. */
  readonly title: string
  /** The functions that belong to it; all of the file where absent. */
  readonly functions?: RegExp
}

/** What of the kernel implements guest_memfd, the attributes and the fault that they decide; as of 7.3. */
export const SUBJECTS: readonly Subject[] = [
  { file: 'virt/kvm/guest_memfd.c', title: 'guest_memfd' },
  {
    file: 'virt/kvm/kvm_main.c',
    title: 'memory attributes',
    functions: /attributes|^kvm_handle_gfn_range$|^kvm_pre_set/,
  },
  {
    file: 'arch/x86/kvm/mmu/mmu.c',
    title: 'faults and prefaults',
    functions:
      /gmem|attributes|hugepage_|_faultin_pfn|memory_fault|max_(private_)?mapping_level|^kvm_tdp_(page_fault|map_page)$|pre_fault/,
  },
]
