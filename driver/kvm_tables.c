// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * Pages for page tables. A guest's tables are paid by its guest; the service domain's own, which its large pages need
 * when a part of them is given away, are paid here too, and taken back when guests end.
 *
 * Pages come from small blocks, because each new 2 MiB area that a page is paid from costs a table itself.
 */
#include "kvm.h"

#include <linux/gfp.h>
#include <linux/io.h>
#include <linux/mm.h>
#include <linux/printk.h>
#include <linux/rwsem.h>

#define BLOCK_ORDER 4
#define KEPT_PAGES  32
#define PAID_MAX    16 /* far more than one call can need: a table a level, for two address spaces */

/*
 * Held to read by whoever pays and repeats, to write by whoever takes back: a table that was paid for one call must
 * not be taken back before the call has used it.
 */
static DECLARE_RWSEM(tables_lock);
static DEFINE_SPINLOCK(pool_lock);
static LIST_HEAD(pool);
static unsigned int pool_count;
static DEFINE_XARRAY(service_paid); /* pages paid for the service domain, by page frame number */

static void pool_put(struct page *page)
{
	spin_lock(&pool_lock);
	if (pool_count < KEPT_PAGES) {
		list_add(&page->lru, &pool);
		pool_count++;
		page = NULL;
	}
	spin_unlock(&pool_lock);
	if (page)
		__free_page(page);
}

static struct page *pool_take(void)
{
	struct page *page;

	spin_lock(&pool_lock);
	page = list_first_entry_or_null(&pool, struct page, lru);
	if (page) {
		list_del(&page->lru);
		pool_count--;
	}
	spin_unlock(&pool_lock);
	return page;
}

static struct page *take_page(gfp_t flags)
{
	struct page *page = pool_take();

	if (page)
		return page;
	page = alloc_pages(GFP_KERNEL | __GFP_NOWARN | __GFP_NORETRY, BLOCK_ORDER);
	if (!page)
		return alloc_page(GFP_KERNEL | flags);
	split_page(page, BLOCK_ORDER);
	for (unsigned int i = 1; i < 1u << BLOCK_ORDER; i++)
		pool_put(page + i);
	return page;
}

static int pay_service(gfp_t flags)
{
	struct page *page = take_page(flags);
	const struct hypercall call = { BULKHEAD_CALL_GUEST_PAY, { 0, page ? page_to_phys(page) : 0 } };
	int error;

	if (!page)
		return -ENOMEM;
	error = xa_err(xa_store(&service_paid, page_to_pfn(page), page, GFP_KERNEL | flags));
	if (error) {
		pool_put(page);
		return error;
	}
	error = hypercall_make(&call, NULL);
	if (error) {
		xa_erase(&service_paid, page_to_pfn(page));
		pool_put(page);
	}
	return error;
}

int kvm_tables_pay_service(void)
{
	int error;

	down_read(&tables_lock);
	error = pay_service(__GFP_NOFAIL);
	up_read(&tables_lock);
	return error;
}

static int pay_guest(struct guest *guest)
{
	struct page *page = take_page(0);
	const struct hypercall call = { BULKHEAD_CALL_GUEST_PAY, { guest->handle, page ? page_to_phys(page) : 0 } };
	int error;

	if (!page)
		return -ENOMEM;
	error = hypercall_make(&call, NULL);
	if (error == -ENOMEM) { /* the service domain has to split a large page to give this one */
		error = pay_service(0);
		if (!error)
			error = hypercall_make(&call, NULL);
	}
	if (error)
		pool_put(page);
	else
		list_add(&page->lru, &guest->tables);
	return error;
}

int kvm_tables_pay_guest(struct guest *guest)
{
	int error;

	down_read(&tables_lock);
	error = pay_guest(guest);
	up_read(&tables_lock);
	return error;
}

int kvm_tables_call(struct guest *guest, const struct hypercall *call, u64 *value)
{
	int error = hypercall_make(call, value);

	if (error != -ENOMEM)
		return error;
	/* The status does not say whose table is missing: pay in turns. What is not used now is used later. */
	down_read(&tables_lock);
	for (unsigned int paid = 0; error == -ENOMEM && paid < PAID_MAX; paid++) {
		error = guest->handle && paid % 2 ? pay_guest(guest) : pay_service(0);
		if (error)
			break;
		error = hypercall_make(call, value);
	}
	up_read(&tables_lock);
	return error;
}

void kvm_tables_refund(void)
{
	const struct hypercall refund = { BULKHEAD_CALL_GUEST_REFUND };
	u64 address;

	down_write(&tables_lock);
	while (!hypercall_make(&refund, &address)) {
		struct page *page = xa_erase(&service_paid, PHYS_PFN(address));
		const struct hypercall pay = { BULKHEAD_CALL_GUEST_PAY, { 0, address } };

		if (!page) { /* not from here: as it was */
			(void)hypercall_make(&pay, NULL);
			break;
		}
		pool_put(page);
	}
	up_write(&tables_lock);
}

void kvm_tables_free(struct guest *guest)
{
	struct page *page, *next;

	list_for_each_entry_safe(page, next, &guest->tables, lru) {
		list_del(&page->lru);
		pool_put(page);
	}
}

void kvm_tables_exit(void)
{
	struct page *page;

	kvm_tables_refund();
	while ((page = pool_take()))
		__free_page(page);
	if (!xa_empty(&service_paid))
		pr_warn("the hypervisor keeps pages for the service domain's tables; they stay reserved\n");
	xa_destroy(&service_paid);
}
