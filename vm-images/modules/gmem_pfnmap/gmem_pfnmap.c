// SPDX-License-Identifier: GPL-2.0
/*
 * gmem_pfnmap: memory that user space, and so KVM, sees through VM_PFNMAP mappings. Each
 * open file of /dev/gmem_pfnmap has one set of pages of a chosen kind, mapped in a chosen
 * way, and as many spares; gmem_pfnmap.h has the calls. Pages live until the last mapping
 * and the file are gone. One whose refcount is not what it was at first is kept, with a
 * warning: somebody still has it. For throw-away VMs only.
 */
#include <linux/bitmap.h>
#include <linux/fs.h>
#include <linux/io.h>
#include <linux/miscdevice.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/pagemap.h>
#include <linux/rwsem.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/uaccess.h>
#include <linux/version.h>
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 17, 0)
#include <linux/pfn_t.h>
#endif
#include "gmem_pfnmap.h"

#define PAGES_MAX 512U
#define WORDS (PAGE_SIZE / sizeof(u64))

/* A page frame; what moves when pages are replaced. */
struct frame {
	unsigned long pfn;
	u64 __iomem *io; /* of PHYSICAL memory */
	int refcount; /* at first */
};

struct set {
	/* Page faults read it, under mmap_lock; calls that change frames write it. */
	struct rw_semaphore lock;
	/* Its own, so that zapping one set leaves the others alone. */
	struct address_space mapping;
	struct gmem_pfnmap_create is;
	bool created;
	void __iomem *io;
	struct page *blocks[2]; /* TAILS and COMPOUND */
	struct frame frames[2][PAGES_MAX]; /* [1]: the spares */
	u32 faults[PAGES_MAX];
	DECLARE_BITMAP(protected, PAGES_MAX);
};

static bool is_block(const struct set *set)
{
	return set->is.kind == GMEM_PFNMAP_TAILS || set->is.kind == GMEM_PFNMAP_COMPOUND;
}

static u64 frame_read(const struct frame *frame, unsigned int word)
{
	if (frame->io)
		return readq(frame->io + word);
	return READ_ONCE(((u64 *)page_address(pfn_to_page(frame->pfn)))[word]);
}

static void frame_write(const struct frame *frame, unsigned int word, u64 value)
{
	if (frame->io)
		writeq(value, frame->io + word);
	else
		WRITE_ONCE(((u64 *)page_address(pfn_to_page(frame->pfn)))[word], value);
}

static void frame_fill(const struct frame *frame, u64 value)
{
	for (unsigned int word = 0; word < WORDS; word++)
		frame_write(frame, word, value);
}

/* --- allocation ----------------------------------------------------------------- */

static void free_frame(struct frame *frame, bool reserved)
{
	struct page *page = pfn_to_page(frame->pfn);

	if (WARN(page_ref_count(page) != frame->refcount, "gmem_pfnmap: pfn %lx has refcount %d, had %d\n",
		 frame->pfn, page_ref_count(page), frame->refcount))
		return;
	if (reserved)
		ClearPageReserved(page);
	__free_page(page);
}

static void free_block(struct set *set, int generation)
{
	struct page *block = set->blocks[generation];
	unsigned int order = get_order(set->is.pages * PAGE_SIZE);

	for (unsigned int i = 0; i < set->is.pages; i++) {
		int wanted = i ? 0 : 1;

		if (WARN(page_ref_count(block + i) != wanted, "gmem_pfnmap: pfn %lx has refcount %d, had %d\n",
			 page_to_pfn(block + i), page_ref_count(block + i), wanted))
			return;
	}
	__free_pages(block, order);
}

static void free_set(struct set *set)
{
	for (int generation = 0; generation < 2; generation++) {
		if (set->blocks[generation])
			free_block(set, generation);
		if (is_block(set) || set->is.kind == GMEM_PFNMAP_PHYSICAL)
			continue;
		for (unsigned int i = 0; i < set->is.pages; i++)
			if (set->frames[generation][i].pfn)
				free_frame(&set->frames[generation][i], set->is.kind == GMEM_PFNMAP_RESERVED);
	}
	if (set->io)
		iounmap(set->io);
}

static int alloc_block(struct set *set, int generation)
{
	gfp_t gfp = GFP_KERNEL | __GFP_ZERO | (set->is.kind == GMEM_PFNMAP_COMPOUND ? __GFP_COMP : 0);
	struct page *block = alloc_pages(gfp, get_order(set->is.pages * PAGE_SIZE));

	if (!block)
		return -ENOMEM;
	set->blocks[generation] = block;
	for (unsigned int i = 0; i < set->is.pages; i++)
		set->frames[generation][i] = (struct frame){ .pfn = page_to_pfn(block + i) };
	return 0;
}

static int alloc_single(struct set *set, int generation)
{
	for (unsigned int i = 0; i < set->is.pages; i++) {
		struct page *page = alloc_page(GFP_KERNEL | __GFP_ZERO);

		if (!page)
			return -ENOMEM;
		if (set->is.kind == GMEM_PFNMAP_RESERVED)
			SetPageReserved(page);
		set->frames[generation][i] = (struct frame){ .pfn = page_to_pfn(page), .refcount = 1 };
	}
	return 0;
}

static int take_physical(struct set *set)
{
	unsigned long first = PHYS_PFN(set->is.address);
	unsigned int all = 2 * set->is.pages;

	for (unsigned int i = 0; i < all; i++)
		if (pfn_valid(first + i))
			return -ENODEV;
	set->io = ioremap(set->is.address, all * PAGE_SIZE);
	if (!set->io)
		return -ENOMEM;
	for (unsigned int i = 0; i < all; i++) {
		struct frame *frame = &set->frames[i / set->is.pages][i % set->is.pages];

		*frame = (struct frame){ .pfn = first + i, .io = set->io + i * PAGE_SIZE };
		frame_fill(frame, 0);
	}
	return 0;
}

static int create_set(struct set *set)
{
	int error;

	if (set->is.kind == GMEM_PFNMAP_PHYSICAL)
		return take_physical(set);
	for (int generation = 0; generation < 2; generation++) {
		error = is_block(set) ? alloc_block(set, generation) : alloc_single(set, generation);
		if (error)
			return error;
	}
	return 0;
}

static long create_call(struct set *set, const struct gmem_pfnmap_create *wanted)
{
	bool physical = wanted->kind == GMEM_PFNMAP_PHYSICAL;
	int error;

	if (wanted->kind >= GMEM_PFNMAP_KINDS || wanted->way >= GMEM_PFNMAP_WAYS || wanted->zero)
		return -EINVAL;
	if (!wanted->pages || wanted->pages > PAGES_MAX)
		return -EINVAL;
	if (physical != !!wanted->address || !PAGE_ALIGNED(wanted->address))
		return -EINVAL;
	down_write(&set->lock);
	if (set->created) {
		error = -EBUSY;
	} else {
		set->is = *wanted;
		error = create_set(set);
		set->created = !error;
		if (error) {
			free_set(set);
			set->io = NULL;
			memset(set->blocks, 0, sizeof(set->blocks));
			memset(set->frames, 0, sizeof(set->frames));
		}
	}
	up_write(&set->lock);
	return error;
}

/* --- mappings ------------------------------------------------------------------- */

/* Of a page that is mapped now: writable where user space may write and nothing else forbids it. */
static pgprot_t prot_of(struct set *set, struct vm_area_struct *vma, bool writable)
{
	/* The protection of a private mapping is read-only until it has copied. */
	pgprot_t prot = vm_get_page_prot(writable ? vma->vm_flags : vma->vm_flags & ~VM_SHARED);

	return set->is.kind == GMEM_PFNMAP_PHYSICAL ? pgprot_noncached(prot) : prot;
}

static vm_fault_t pfnmap_fault(struct vm_fault *vmf)
{
	struct set *set = vmf->vma->vm_private_data;
	vm_fault_t result = VM_FAULT_SIGBUS;
	bool writable;

	down_read(&set->lock);
	if (vmf->pgoff < set->is.pages && set->is.way != GMEM_PFNMAP_REMAP) {
		writable = set->is.way != GMEM_PFNMAP_NOTIFY || (vmf->flags & FAULT_FLAG_WRITE);
		if (test_bit(vmf->pgoff, set->protected))
			writable = false;
		result = vmf_insert_pfn_prot(vmf->vma, vmf->address, set->frames[0][vmf->pgoff].pfn,
					     prot_of(set, vmf->vma, writable));
		WRITE_ONCE(set->faults[vmf->pgoff], set->faults[vmf->pgoff] + 1);
	}
	up_read(&set->lock);
	return result;
}

static vm_fault_t insert_huge(struct vm_fault *vmf, unsigned long pfn, bool write)
{
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 17, 0)
	return vmf_insert_pfn_pmd(vmf, pfn, write);
#else
	return vmf_insert_pfn_pmd(vmf, __pfn_to_pfn_t(pfn, PFN_DEV), write);
#endif
}

static vm_fault_t pfnmap_huge_fault(struct vm_fault *vmf, unsigned int order)
{
	struct vm_area_struct *vma = vmf->vma;
	struct set *set = vma->vm_private_data;
	unsigned long start = vmf->address & PMD_MASK;
	unsigned long first = linear_page_index(vma, start);
	vm_fault_t result = VM_FAULT_FALLBACK;

	if (set->is.way != GMEM_PFNMAP_HUGE || order != PMD_ORDER)
		return result;
	if (start < vma->vm_start || start + PMD_SIZE > vma->vm_end)
		return result;
	down_read(&set->lock);
	/* A set is not larger than one such page: what is contiguous at both ends is so throughout. */
	if (first == 0 && set->is.pages == PTRS_PER_PMD && IS_ALIGNED(set->frames[0][0].pfn, PTRS_PER_PMD) &&
	    set->frames[0][PTRS_PER_PMD - 1].pfn == set->frames[0][0].pfn + PTRS_PER_PMD - 1 &&
	    bitmap_empty(set->protected, PAGES_MAX)) {
		result = insert_huge(vmf, set->frames[0][0].pfn, vma->vm_flags & VM_WRITE);
		WRITE_ONCE(set->faults[0], set->faults[0] + 1);
	}
	up_read(&set->lock);
	return result;
}

static vm_fault_t pfnmap_mkwrite(struct vm_fault *vmf)
{
	struct set *set = vmf->vma->vm_private_data;
	vm_fault_t result = 0;

	down_read(&set->lock);
	if (vmf->pgoff >= set->is.pages || test_bit(vmf->pgoff, set->protected))
		result = VM_FAULT_SIGBUS;
	up_read(&set->lock);
	return result;
}

static const struct vm_operations_struct pfnmap_vm_ops = {
	.fault = pfnmap_fault,
	.huge_fault = pfnmap_huge_fault,
	.pfn_mkwrite = pfnmap_mkwrite,
};

static int remap_all(struct set *set, struct vm_area_struct *vma)
{
	pgprot_t prot = prot_of(set, vma, true);
	int error = 0;

	for (unsigned long i = 0; i < vma_pages(vma) && !error; i++)
		error = remap_pfn_range(vma, vma->vm_start + i * PAGE_SIZE, set->frames[0][vma->vm_pgoff + i].pfn,
					PAGE_SIZE, prot);
	return error;
}

/* EINVAL: a private mapping, more than the set has, or none created yet. */
static int pfnmap_mmap(struct file *file, struct vm_area_struct *vma)
{
	struct set *set = file->private_data;
	int error = -EINVAL;

	if (!(vma->vm_flags & VM_SHARED))
		return error;
	down_read(&set->lock);
	if (set->created && vma->vm_pgoff < set->is.pages && vma_pages(vma) <= set->is.pages - vma->vm_pgoff) {
		vma->vm_private_data = set;
		vma->vm_ops = &pfnmap_vm_ops;
		vm_flags_set(vma, VM_IO | VM_PFNMAP | VM_DONTEXPAND | VM_DONTDUMP);
		error = set->is.way == GMEM_PFNMAP_REMAP ? remap_all(set, vma) : 0;
	}
	up_read(&set->lock);
	return error;
}

/* --- calls ---------------------------------------------------------------------- */

static void zap(struct set *set, const struct gmem_pfnmap_range *range)
{
	unmap_mapping_range(&set->mapping, (loff_t)range->first * PAGE_SIZE, (loff_t)range->count * PAGE_SIZE, 1);
}

static void replace(struct set *set, const struct gmem_pfnmap_range *range)
{
	unsigned int end = range->first + range->count;

	for (unsigned int i = range->first; i < end; i++)
		swap(set->frames[0][i], set->frames[1][i]);
	zap(set, range);
	for (unsigned int i = range->first; i < end; i++)
		frame_fill(&set->frames[1][i], range->value);
}

static long range_call(struct set *set, unsigned int call, const struct gmem_pfnmap_range *range)
{
	long error = 0;

	down_write(&set->lock);
	if (!set->created || range->first >= set->is.pages || !range->count ||
	    range->count > set->is.pages - range->first) {
		error = -EINVAL;
	} else if (call == GMEM_PFNMAP_ZAP) {
		zap(set, range);
	} else if (call == GMEM_PFNMAP_REPLACE) {
		replace(set, range);
	} else if (set->is.way == GMEM_PFNMAP_REMAP) {
		error = -EOPNOTSUPP;
	} else {
		if (range->value)
			bitmap_set(set->protected, range->first, range->count);
		else
			bitmap_clear(set->protected, range->first, range->count);
		zap(set, range);
	}
	up_write(&set->lock);
	return error;
}

static const struct frame *frame_of(struct set *set, u32 page, u32 spare)
{
	return set->created && page < set->is.pages && spare <= 1 ? &set->frames[spare][page] : NULL;
}

static long word_call(struct set *set, unsigned int call, struct gmem_pfnmap_word *word)
{
	const struct frame *frame;
	long error = -EINVAL;

	down_read(&set->lock);
	frame = frame_of(set, word->page, word->spare);
	if (frame && word->offset < PAGE_SIZE && IS_ALIGNED(word->offset, sizeof(u64))) {
		if (call == GMEM_PFNMAP_READ)
			word->value = frame_read(frame, word->offset / sizeof(u64));
		else
			frame_write(frame, word->offset / sizeof(u64), word->value);
		error = 0;
	}
	up_read(&set->lock);
	return error;
}

static void describe(struct page *page, struct gmem_pfnmap_info *info)
{
	info->flags = GMEM_PFNMAP_VALID;
	if (PageReserved(page))
		info->flags |= GMEM_PFNMAP_IS_RESERVED;
	if (PageCompound(page))
		info->flags |= GMEM_PFNMAP_IS_COMPOUND;
	if (folio_maybe_dma_pinned(page_folio(page)))
		info->flags |= GMEM_PFNMAP_IS_PINNED;
	info->refcount = page_ref_count(page);
	info->mapcount = folio_mapcount(page_folio(page));
}

static long info_call(struct set *set, struct gmem_pfnmap_info *info)
{
	const struct frame *frame;
	long error = -EINVAL;

	down_read(&set->lock);
	frame = frame_of(set, info->page, info->spare);
	if (frame) {
		*info = (struct gmem_pfnmap_info){
			.page = info->page,
			.spare = info->spare,
			.pfn = frame->pfn,
			.faults = READ_ONCE(set->faults[info->page]),
		};
		if (pfn_valid(frame->pfn))
			describe(pfn_to_page(frame->pfn), info);
		error = 0;
	}
	up_read(&set->lock);
	return error;
}

static long pfnmap_ioctl(struct file *file, unsigned int call, unsigned long argument)
{
	void __user *user = (void __user *)argument;
	struct set *set = file->private_data;
	union {
		struct gmem_pfnmap_create create;
		struct gmem_pfnmap_range range;
		struct gmem_pfnmap_word word;
		struct gmem_pfnmap_info info;
	} data;
	long error;

	if (_IOC_TYPE(call) != 'g' || _IOC_SIZE(call) > sizeof(data))
		return -ENOTTY;
	if (copy_from_user(&data, user, _IOC_SIZE(call)))
		return -EFAULT;
	switch (call) {
	case GMEM_PFNMAP_CREATE:
		return create_call(set, &data.create);
	case GMEM_PFNMAP_ZAP:
	case GMEM_PFNMAP_REPLACE:
	case GMEM_PFNMAP_PROTECT:
		return range_call(set, call, &data.range);
	case GMEM_PFNMAP_READ:
	case GMEM_PFNMAP_WRITE:
		error = word_call(set, call, &data.word);
		break;
	case GMEM_PFNMAP_INFO:
		error = info_call(set, &data.info);
		break;
	default:
		return -ENOTTY;
	}
	if (!error && (_IOC_DIR(call) & _IOC_READ) && copy_to_user(user, &data, _IOC_SIZE(call)))
		return -EFAULT;
	return error;
}

static const struct address_space_operations pfnmap_aops;

static int pfnmap_open(struct inode *inode, struct file *file)
{
	struct set *set = kvzalloc(sizeof(*set), GFP_KERNEL);

	if (!set)
		return -ENOMEM;
	init_rwsem(&set->lock);
	address_space_init_once(&set->mapping);
	set->mapping.host = inode;
	set->mapping.a_ops = &pfnmap_aops;
	mapping_set_gfp_mask(&set->mapping, GFP_KERNEL);
	file->private_data = set;
	file->f_mapping = &set->mapping;
	return 0;
}

/* Mappings hold the file: none is left. */
static int pfnmap_release(struct inode *inode, struct file *file)
{
	struct set *set = file->private_data;

	file->f_mapping = inode->i_mapping;
	if (set->created)
		free_set(set);
	kvfree(set);
	return 0;
}

static const struct file_operations pfnmap_fops = {
	.owner = THIS_MODULE,
	.open = pfnmap_open,
	.release = pfnmap_release,
	.mmap = pfnmap_mmap,
	.unlocked_ioctl = pfnmap_ioctl,
	.llseek = noop_llseek,
};

static struct miscdevice device = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "gmem_pfnmap",
	.mode = 0600,
	.fops = &pfnmap_fops,
};

module_misc_device(device);
MODULE_DESCRIPTION("VM_PFNMAP memory on request, for gmem's tests of KVM");
MODULE_LICENSE("GPL");
