// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * A guest's memory. A protected guest's comes from Linux's allocator, 2 MiB at a time while there are such blocks, page
 * by page otherwise; it is given at LOAD and when the guest first touches it, and freed only after the hypervisor has
 * given it back cleared. An unprotected guest's is its monitor's own, pinned and lent.
 *
 * An area is 2 MiB of the guest. A page of it that is filled stays filled at that address until the guest ends, or gives
 * it up (balloon): then Linux gets it back at once, and a new one is given when the guest touches the address again.
 */
#include "kvm.h"

#include <linux/gfp.h>
#include <linux/io.h>
#include <linux/mm.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

struct guest_area {
	struct page *block; /* KVM_AREA_PAGES in a row, or NULL: */
	struct page **pages; /* page by page; an unprotected guest's are the monitor's */
	DECLARE_BITMAP(filled, KVM_AREA_PAGES);
};

#define BLOCK_FLAGS (GFP_KERNEL_ACCOUNT | __GFP_NOWARN | __GFP_NORETRY)
/* Linux looks for memory, but ends no program to get any: it is the guest that is refused. */
#define PAGE_FLAGS  (GFP_KERNEL_ACCOUNT | __GFP_NOWARN | __GFP_RETRY_MAYFAIL)
/* What a new guest leaves Linux, to go on with: 32 MiB. */
#define LEFT_PAGES  (32ul << (20 - PAGE_SHIFT))

static const struct guest_region *find_region(const struct guest *guest, u64 number)
{
	for (unsigned int i = 0; i < guest->region_count; i++) {
		const struct guest_region *region = &guest->regions[i];

		if (number >= region->first && number - region->first < region->page_count)
			return region;
	}
	return NULL;
}

int kvm_memory_set_region(struct guest *guest, const struct kvm_userspace_memory_region *region)
{
	bool is_private = region->flags & BULKHEAD_KVM_MEM_PRIVATE;
	struct hypercall call = { BULKHEAD_CALL_GUEST_RANGE, { guest->handle, region->guest_phys_addr,
							       region->memory_size / PAGE_SIZE } };
	struct guest_region *added;
	int error;

	if (!guest->handle || region->flags & ~BULKHEAD_KVM_MEM_PRIVATE || is_private != guest->is_protected)
		return -EINVAL;
	if (is_private ? region->userspace_addr : !region->userspace_addr)
		return -EINVAL;
	if ((region->guest_phys_addr | region->memory_size | region->userspace_addr) & ~PAGE_MASK)
		return -EINVAL;
	if (!is_private && !access_ok((void __user *)region->userspace_addr, region->memory_size))
		return -EINVAL;
	if (region->memory_size == 0 || region->slot != guest->region_count)
		return -EOPNOTSUPP; /* regions are added one after the other, and stay */
	if (guest->region_count == BULKHEAD_MAX_RANGES)
		return -ENOSPC;
	error = kvm_tables_call(guest, &call, NULL);
	if (error)
		return error;
	added = &guest->regions[guest->region_count];
	added->first = region->guest_phys_addr / PAGE_SIZE;
	added->page_count = region->memory_size / PAGE_SIZE;
	added->user_address = region->userspace_addr;
	guest->region_count++;
	return 0;
}

/** The area of a page, made if there is none yet. With memory_lock held. */
static struct guest_area *get_area(struct guest *guest, const struct guest_region *region, u64 number)
{
	u64 first = number & ~(u64)(KVM_AREA_PAGES - 1);
	struct guest_area *area = xa_load(&guest->areas, number / KVM_AREA_PAGES);

	if (area)
		return area;
	area = kzalloc(sizeof(*area), GFP_KERNEL_ACCOUNT);
	if (!area)
		return NULL;
	if (guest->is_protected && first >= region->first && first + KVM_AREA_PAGES <= region->first + region->page_count)
		area->block = alloc_pages(BLOCK_FLAGS, KVM_AREA_ORDER);
	if (!area->block)
		area->pages = kcalloc(KVM_AREA_PAGES, sizeof(area->pages[0]), GFP_KERNEL_ACCOUNT);
	if ((!area->block && !area->pages) ||
	    xa_err(xa_store(&guest->areas, number / KVM_AREA_PAGES, area, GFP_KERNEL_ACCOUNT))) {
		if (area->block)
			__free_pages(area->block, KVM_AREA_ORDER);
		kfree(area->pages);
		kfree(area);
		return NULL;
	}
	return area;
}

/** The page that is, or will be, at an index of an area; made if need be. */
static struct page *area_page(struct guest_area *area, unsigned int index)
{
	if (area->block)
		return area->block + index;
	if (!area->pages[index])
		area->pages[index] = alloc_page(PAGE_FLAGS);
	return area->pages[index];
}

/** Gives a run of one area's pages to the guest: DONATE, LOAD or SHARE. */
static int give(struct guest *guest, u64 number, struct guest_area *area, struct page *page, u64 call,
		unsigned int page_count)
{
	const struct hypercall hypercall = { call, { guest->handle, page_to_phys(page), number * PAGE_SIZE, page_count } };
	int error = kvm_tables_call(guest, &hypercall, NULL);

	if (!error)
		bitmap_set(area->filled, number % KVM_AREA_PAGES, page_count);
	return error;
}

static int fill_private(struct guest *guest, const struct guest_region *region, struct guest_area *area, u64 number)
{
	u64 first = number, end = number + 1, base = number - number % KVM_AREA_PAGES;
	struct page *page;

	/* Of a block, all the empty pages around: one exit instead of many. */
	while (area->block && first > base && first > region->first && !test_bit(first - 1 - base, area->filled))
		first--;
	while (area->block && end < base + KVM_AREA_PAGES && end < region->first + region->page_count &&
	       !test_bit(end - base, area->filled))
		end++;
	page = area_page(area, first - base);
	return page ? give(guest, first, area, page, BULKHEAD_CALL_GUEST_DONATE, end - first) : -ENOMEM;
}

/** Pins what the monitor has in an area's declared part and lends it, run by run. */
static int fill_lent(struct guest *guest, const struct guest_region *region, struct guest_area *area, u64 number)
{
	u64 base = number - number % KVM_AREA_PAGES;
	u64 first = max(base, region->first);
	u64 end = min(base + KVM_AREA_PAGES, region->first + region->page_count);
	unsigned long address = region->user_address + (first - region->first) * PAGE_SIZE;
	struct page **pages = &area->pages[first - base];
	int pinned, error = 0;

	if (current->mm != guest->mm)
		return -EIO;
	if (*pages)
		return -EFAULT; /* tried already, and did not arrive */
	pinned = pin_user_pages_fast(address, end - first, FOLL_WRITE | FOLL_LONGTERM, pages);
	if (pinned <= 0)
		return pinned ? pinned : -EFAULT;
	for (int i = 0; i < pinned && !error;) {
		int run = 1;

		while (i + run < pinned && page_to_pfn(pages[i + run]) == page_to_pfn(pages[i]) + run &&
		       page_to_pfn(pages[i + run]) % KVM_AREA_PAGES)
			run++;
		error = give(guest, first + i, area, pages[i], BULKHEAD_CALL_GUEST_SHARE, run);
		i += run;
	}
	return error;
}

/** Pages of the declared memory that Linux has yet to give. A block lies wholly inside what is declared. */
static unsigned long missing_pages(struct guest *guest)
{
	const struct guest_area *area;
	unsigned long index, count = 0;

	for (unsigned int i = 0; i < guest->region_count; i++)
		count += guest->regions[i].page_count;
	xa_for_each(&guest->areas, index, area)
		count -= area->block ? KVM_AREA_PAGES : bitmap_weight(area->filled, KVM_AREA_PAGES);
	return count;
}

int kvm_memory_fill_all(struct guest *guest)
{
	int error = 0;

	/* Asked before anything is taken: what is given to a guest Linux cannot take back, whoever needs it next. */
	if (guest->is_protected && si_mem_available() < (long)(missing_pages(guest) + LEFT_PAGES))
		return -ENOMEM;
	for (unsigned int i = 0; i < guest->region_count && !error; i++) {
		const struct guest_region *region = &guest->regions[i];
		u64 end = region->first + region->page_count, number = region->first;

		while (number < end && !error) {
			const struct guest_area *area = xa_load(&guest->areas, number / KVM_AREA_PAGES);
			unsigned int index = number % KVM_AREA_PAGES;

			if (area && test_bit(index, area->filled))
				number = number - index + find_next_zero_bit(area->filled, KVM_AREA_PAGES, index);
			else
				error = fatal_signal_pending(current) ? -EINTR : kvm_memory_fill(guest, number * PAGE_SIZE);
			cond_resched();
		}
	}
	return error;
}

/** Makes a block's pages single ones, so that each can be freed. */
static int split(struct guest_area *area)
{
	area->pages = kcalloc(KVM_AREA_PAGES, sizeof(area->pages[0]), GFP_KERNEL_ACCOUNT);
	if (!area->pages)
		return -ENOMEM;
	split_page(area->block, KVM_AREA_ORDER);
	for (unsigned int i = 0; i < KVM_AREA_PAGES; i++)
		area->pages[i] = area->block + i;
	area->block = NULL;
	return 0;
}

/** Takes a page back that the guest gave up. Returns 0, -EPERM if it did not, or -ENOMEM. With memory_lock held. */
static int take_back(struct guest *guest, struct guest_area *area, unsigned int index)
{
	struct page *page = area_page(area, index);
	const struct hypercall reclaim = { BULKHEAD_CALL_GUEST_RECLAIM, { page_to_phys(page), 1 } };
	int error = kvm_tables_call(guest, &reclaim, NULL);

	if (error)
		return error;
	clear_bit(index, area->filled);
	/* If its block cannot be split, it waits there for the guest to want it again. */
	if (area->block && split(area))
		return 0;
	__free_page(page);
	area->pages[index] = NULL;
	return 0;
}

void kvm_memory_take_back(struct guest *guest, u64 address)
{
	u64 number = address / PAGE_SIZE;
	struct guest_area *area;

	mutex_lock(&guest->memory_lock);
	area = xa_load(&guest->areas, number / KVM_AREA_PAGES);
	/* What fails here is taken back when the guest touches the page again, or at its end. */
	if (guest->is_protected && area && test_bit(number % KVM_AREA_PAGES, area->filled))
		(void)take_back(guest, area, number % KVM_AREA_PAGES);
	mutex_unlock(&guest->memory_lock);
}

int kvm_memory_fill(struct guest *guest, u64 address)
{
	u64 number = address / PAGE_SIZE;
	const struct guest_region *region = find_region(guest, number);
	struct guest_area *area;
	int error;

	if (!region)
		return -EFAULT;
	if (mutex_lock_killable(&guest->memory_lock))
		return -EINTR;
	area = get_area(guest, region, number);
	if (!area)
		error = -ENOMEM;
	else if (test_bit(number % KVM_AREA_PAGES, area->filled)) {
		/* Another vCPU was first, or is about to hear that the guest gave the page up before it touched it again. */
		error = guest->is_protected ? take_back(guest, area, number % KVM_AREA_PAGES) : -EPERM;
		if (!error)
			error = fill_private(guest, region, area, number);
		else if (error == -EPERM)
			error = 0;
	} else {
		error = guest->is_protected ? fill_private(guest, region, area, number) :
					      fill_lent(guest, region, area, number);
	}
	mutex_unlock(&guest->memory_lock);
	return error;
}

/** Loads bytes into a run of pages of one area. */
static int load_run(struct guest *guest, const struct guest_region *region, u64 number, const void __user *from,
		    u64 size_bytes)
{
	struct guest_area *area = get_area(guest, region, number);
	unsigned int index = number % KVM_AREA_PAGES, page_count = DIV_ROUND_UP(size_bytes, PAGE_SIZE);
	struct page *page;
	u8 *to;

	if (!area)
		return -ENOMEM;
	if (find_next_bit(area->filled, KVM_AREA_PAGES, index) < index + page_count)
		return -EEXIST;
	page = area_page(area, index);
	if (!page)
		return -ENOMEM;
	to = page_address(page);
	if (copy_from_user(to, from, size_bytes))
		return -EFAULT;
	memset(to + size_bytes, 0, page_count * PAGE_SIZE - size_bytes);
	return give(guest, number, area, page, BULKHEAD_CALL_GUEST_LOAD, page_count);
}

int kvm_memory_load(struct guest *guest, const struct bulkhead_kvm_load *load)
{
	u64 done = 0;
	int error = 0;

	if (!guest->is_protected || load->guest_address & ~PAGE_MASK || load->size_bytes == 0 ||
	    load->size_bytes > U64_MAX - load->guest_address)
		return -EINVAL;
	if (mutex_lock_killable(&guest->memory_lock))
		return -EINTR;
	while (done < load->size_bytes && !error) {
		u64 number = (load->guest_address + done) / PAGE_SIZE;
		const struct guest_region *region = find_region(guest, number);
		u64 bytes = load->size_bytes - done;
		struct guest_area *area;

		if (!region) {
			error = -EINVAL;
			break;
		}
		area = get_area(guest, region, number);
		if (!area) {
			error = -ENOMEM;
			break;
		}
		/* A block takes as much as its area and the region have; single pages go one by one. */
		bytes = min(bytes, (KVM_AREA_PAGES - number % KVM_AREA_PAGES) * PAGE_SIZE);
		bytes = min(bytes, (region->first + region->page_count - number) * PAGE_SIZE);
		if (!area->block)
			bytes = min_t(u64, bytes, PAGE_SIZE);
		error = fatal_signal_pending(current) ?
				-EINTR :
				load_run(guest, region, number, (void __user *)(load->from + done), bytes);
		done += bytes;
	}
	mutex_unlock(&guest->memory_lock);
	return error;
}

/** Whether the guest had a way to give pages up. */
static bool has_balloon(const struct guest *guest)
{
	for (unsigned int i = 0; i < guest->device_count; i++)
		if (guest->devices[i].type == 5)
			return true;
	return false;
}

static void free_area(struct guest *guest, struct guest_area *area)
{
	for (unsigned int i = 0; guest->is_protected && i < KVM_AREA_PAGES && has_balloon(guest); i++) {
		struct page *page = area->block ? area->block + i : area->pages[i];
		const struct hypercall reclaim = { BULKHEAD_CALL_GUEST_RECLAIM, { page ? page_to_phys(page) : 0, 1 } };

		/* NOT_OWNED is the common case: the page came back with the guest's end. */
		while (page && test_bit(i, area->filled) && hypercall_make(&reclaim, NULL) == -ENOMEM)
			(void)kvm_tables_pay_service();
	}
	if (area->block)
		__free_pages(area->block, KVM_AREA_ORDER);
	for (unsigned int i = 0; area->pages && i < KVM_AREA_PAGES; i++) {
		if (!area->pages[i])
			continue;
		if (guest->is_protected)
			__free_page(area->pages[i]);
		else
			unpin_user_pages_dirty_lock(&area->pages[i], 1, true);
	}
	kfree(area->pages);
	kfree(area);
}

void kvm_memory_free(struct guest *guest)
{
	struct guest_area *area;
	unsigned long index;

	xa_for_each(&guest->areas, index, area) {
		free_area(guest, area);
		cond_resched();
	}
	xa_destroy(&guest->areas);
}
