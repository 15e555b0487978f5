/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The ioctls of /dev/gmem_pfnmap; tests/kernel/support/pfnmap.ts has them in TypeScript.
 * Every call but CREATE is EINVAL before CREATE, and for pages beyond the set.
 */
#ifndef GMEM_PFNMAP_H
#define GMEM_PFNMAP_H

#include <linux/ioctl.h>
#include <linux/types.h>

/* What the pages are. */
enum gmem_pfnmap_kind {
	GMEM_PFNMAP_REFCOUNTED, /* each allocated alone, refcount 1 */
	GMEM_PFNMAP_TAILS, /* of one non-compound allocation: refcount 1 for the first page, 0 for all others */
	GMEM_PFNMAP_COMPOUND, /* of one compound page */
	GMEM_PFNMAP_RESERVED, /* each allocated alone, PageReserved */
	GMEM_PFNMAP_PHYSICAL, /* physical addresses without a struct page: a PCI BAR */
	GMEM_PFNMAP_KINDS,
};

/* How they get into page tables. */
enum gmem_pfnmap_way {
	GMEM_PFNMAP_REMAP, /* remap_pfn_range() in mmap(2); what is zapped stays so */
	GMEM_PFNMAP_FAULT, /* vmf_insert_pfn_prot() in the fault handler, writable at once */
	GMEM_PFNMAP_NOTIFY, /* the same, read-only until pfn_mkwrite() is asked */
	GMEM_PFNMAP_HUGE, /* vmf_insert_pfn_pmd() in the huge fault handler, else as FAULT */
	GMEM_PFNMAP_WAYS,
};

struct gmem_pfnmap_create {
	__u32 kind;
	__u32 way;
	__u32 pages; /* 1..512; as many again are the spares */
	__u32 zero;
	__u64 address; /* of PHYSICAL memory, page aligned; 0 otherwise */
};

struct gmem_pfnmap_range {
	__u32 first;
	__u32 count;
	__u64 value;
};

struct gmem_pfnmap_word {
	__u32 page;
	__u32 spare; /* 1: the page that takes this one's place at the next REPLACE */
	__u64 offset; /* in the page, a multiple of 8 */
	__u64 value;
};

#define GMEM_PFNMAP_VALID (1 << 0) /* it has a struct page */
#define GMEM_PFNMAP_IS_RESERVED (1 << 1)
#define GMEM_PFNMAP_IS_COMPOUND (1 << 2)
#define GMEM_PFNMAP_IS_PINNED (1 << 3) /* folio_maybe_dma_pinned() */

struct gmem_pfnmap_info {
	__u32 page;
	__u32 spare;
	__u64 pfn;
	__s32 refcount; /* of this struct page itself; 0 without one */
	__s32 mapcount;
	__u32 flags;
	__u32 faults; /* how often this page was put into a page table by a fault */
};

/* Allocates the set, zeroed. EBUSY: there is one. EINVAL; ENOMEM; ENODEV: such an address has a struct page. */
#define GMEM_PFNMAP_CREATE _IOW('g', 0, struct gmem_pfnmap_create)
/* Takes pages out of all page tables. */
#define GMEM_PFNMAP_ZAP _IOW('g', 1, struct gmem_pfnmap_range)
/*
 * Puts the spares in the place of pages, and zaps. When it returns, the pages that were replaced are full of
 * `value`: whoever can still write to them or read them gives itself away.
 */
#define GMEM_PFNMAP_REPLACE _IOW('g', 2, struct gmem_pfnmap_range)
/* From now on pages are mapped read-only (value 1) or as before (value 0), and zaps them. EOPNOTSUPP with REMAP. */
#define GMEM_PFNMAP_PROTECT _IOW('g', 3, struct gmem_pfnmap_range)
/* The kernel's own view of a page. */
#define GMEM_PFNMAP_READ _IOWR('g', 4, struct gmem_pfnmap_word)
#define GMEM_PFNMAP_WRITE _IOW('g', 5, struct gmem_pfnmap_word)
#define GMEM_PFNMAP_INFO _IOWR('g', 6, struct gmem_pfnmap_info)

#endif
