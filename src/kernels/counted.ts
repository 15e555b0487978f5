// SPDX-License-Identifier: Apache-2.0

/** Where the code is that the gcov flavour counts (vm-images/kernel/gcov.config), in a kernel tree. */
export const COUNTED_FOLDERS = ['virt/kvm', 'arch/x86/kvm/mmu'] as const
