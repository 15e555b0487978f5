// SPDX-License-Identifier: Apache-2.0
/** x86-64 register and page table bits (Intel SDM volume 3, 2.5 and 4.5; AMD APM volume 2, 3.1 and 5.3). */

export const CR0_PE = 1n << 0n
export const CR0_MP = 1n << 1n
export const CR0_ET = 1n << 4n
export const CR0_NE = 1n << 5n
export const CR0_WP = 1n << 16n
export const CR0_PG = 1n << 31n

export const CR4_PAE = 1n << 5n
export const CR4_OSFXSR = 1n << 9n
export const CR4_OSXMMEXCPT = 1n << 10n

export const EFER_LME = 1n << 8n
export const EFER_LMA = 1n << 10n
export const EFER_NX = 1n << 11n

export const PTE_PRESENT = 1n << 0n
export const PTE_WRITE = 1n << 1n
export const PTE_ACCESSED = 1n << 5n
export const PTE_DIRTY = 1n << 6n
export const PTE_LARGE = 1n << 7n

/** Exception vectors that a test may see. */
export const VECTOR = { DE: 0, UD: 6, DF: 8, GP: 13, PF: 14, MC: 18 } as const
