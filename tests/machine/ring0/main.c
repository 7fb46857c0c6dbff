// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * /dev/ring0. See ring0.h. Never part of a product: only the machine tests' quick system holds it.
 */
#define pr_fmt(fmt) "ring0: " fmt

#include "ring0.h"

#include <linux/fs.h>
#include <linux/gfp.h>
#include <linux/io.h>
#include <linux/list.h>
#include <linux/miscdevice.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/slab.h>
#include <linux/smp.h>
#include <linux/uaccess.h>
#include <asm/processor.h>

#include "instructions.h"

/** Memory handed out by RING0_ALLOCATE: kept until the module goes, since a device may still write to it. */
struct allocation {
	struct list_head list;
	unsigned long address;
	u32 order;
};

static LIST_HEAD(allocations);
static DEFINE_MUTEX(allocations_lock);

/**
 * Maps the page of a physical address: RAM that Linux knows through its own map, anything else (MMIO,
 * what the firmware keeps, what Bulkhead keeps) by a new mapping, cached or not.
 */
static void *map_page(u64 address, bool is_cached, void **to_unmap)
{
	u64 page = address & PAGE_MASK;
	void *mapping;

	*to_unmap = NULL;
	if (page_is_ram(page >> PAGE_SHIFT) && is_cached)
		return __va(address);
	mapping = is_cached ? ioremap_cache(page, PAGE_SIZE) : ioremap(page, PAGE_SIZE);
	*to_unmap = mapping;
	return mapping ? mapping + (address & ~PAGE_MASK) : NULL;
}

/** What runs on the chosen processor, with interrupts off. */
struct work {
	struct ring0 *request;
	void *mapping;
};

static void do_on_processor(void *argument)
{
	struct work *work = argument;
	struct ring0 *request = work->request;
	u64 *value = request->value;
	u32 eax, ebx, ecx, edx;

	switch (request->operation) {
	case RING0_READ:
	case RING0_READ_MMIO:
		request->fault = instruction_read(work->mapping, request->width, value);
		break;
	case RING0_WRITE:
	case RING0_WRITE_MMIO:
		request->fault = instruction_write(work->mapping, request->width, *value);
		break;
	case RING0_RDMSR:
		request->fault = instruction_rdmsr(request->address, value);
		break;
	case RING0_WRMSR:
		request->fault = instruction_wrmsr(request->address, *value);
		break;
	case RING0_IN:
		request->fault = instruction_in(request->address, request->width, value);
		break;
	case RING0_OUT:
		request->fault = instruction_out(request->address, request->width, *value);
		break;
	case RING0_CPUID:
		cpuid_count(request->address, *value, &eax, &ebx, &ecx, &edx);
		value[0] = eax;
		value[1] = ebx;
		value[2] = ecx;
		value[3] = edx;
		break;
	case RING0_CALL:
		request->fault = instruction_call(request->address, value);
		break;
	case RING0_INSTRUCTION:
		request->fault = instruction_by_name(request->address, value);
		break;
	case RING0_TRIPLE_FAULT:
		instruction_triple_fault();
		break;
	}
}

static int allocate(struct ring0 *request)
{
	struct allocation *allocation;

	if (request->width > RING0_ORDER_MAX)
		return -EINVAL;
	allocation = kzalloc(sizeof(*allocation), GFP_KERNEL);
	if (!allocation)
		return -ENOMEM;
	allocation->order = request->width;
	allocation->address = __get_free_pages(GFP_KERNEL | __GFP_ZERO, allocation->order);
	if (!allocation->address) {
		kfree(allocation);
		return -ENOMEM;
	}
	mutex_lock(&allocations_lock);
	list_add(&allocation->list, &allocations);
	mutex_unlock(&allocations_lock);
	request->value[0] = virt_to_phys((void *)allocation->address);
	return 0;
}

/** Searches a page for the complement of a number, so that the search finds no trace of itself. */
static bool find_in_page(const u64 *words, u64 complement, u64 *address)
{
	for (unsigned int i = 0; i < PAGE_SIZE / sizeof(*words); i++)
		if (~READ_ONCE(words[i]) == complement) {
			*address = virt_to_phys((void *)&words[i]);
			return true;
		}
	return false;
}

static void find(struct ring0 *request)
{
	u64 complement = request->value[0];
	unsigned long pfn, end = (virt_to_phys(high_memory - 1) >> PAGE_SHIFT) + 1;

	request->value[0] = ~0ull;
	for (pfn = 0; pfn < end; pfn++) {
		if (page_is_ram(pfn) && find_in_page(__va(pfn << PAGE_SHIFT), complement, &request->value[0]))
			return;
		cond_resched();
	}
}

static bool touches_memory(u32 operation)
{
	return operation <= RING0_WRITE_MMIO;
}

static int check(const struct ring0 *request)
{
	u32 width = request->width;

	if (request->operation >= RING0_OPERATIONS || !cpu_online(request->processor))
		return -EINVAL;
	if (touches_memory(request->operation))
		return (width == 1 || width == 2 || width == 4 || width == 8) &&
				       (request->address & (width - 1)) == 0 ?
			       0 :
			       -EINVAL;
	if (request->operation == RING0_IN || request->operation == RING0_OUT)
		return (width == 1 || width == 2 || width == 4) && request->address <= 0xffff ? 0 : -EINVAL;
	if (request->operation == RING0_INSTRUCTION && request->address >= RING0_INSTRUCTIONS)
		return -EINVAL;
	return 0;
}

static int run(struct ring0 *request)
{
	struct work work = { .request = request };
	void *to_unmap = NULL;
	int error = check(request);

	if (error)
		return error;
	request->fault = RING0_NO_FAULT;
	if (request->operation == RING0_ALLOCATE)
		return allocate(request);
	if (request->operation == RING0_FIND) {
		find(request);
		return 0;
	}
	if (touches_memory(request->operation)) {
		work.mapping = map_page(request->address, request->operation <= RING0_WRITE, &to_unmap);
		if (!work.mapping)
			return -ENXIO;
	}
	error = smp_call_function_single(request->processor, do_on_processor, &work, 1);
	if (to_unmap)
		iounmap(to_unmap);
	return error;
}

static long ring0_ioctl(struct file *file, unsigned int command, unsigned long argument)
{
	void __user *user = (void __user *)argument;
	struct ring0 request;
	int error;

	if (command != RING0_RUN)
		return -ENOTTY;
	if (copy_from_user(&request, user, sizeof(request)))
		return -EFAULT;
	error = run(&request);
	if (error)
		return error;
	return copy_to_user(user, &request, sizeof(request)) ? -EFAULT : 0;
}

static const struct file_operations ring0_operations = {
	.owner = THIS_MODULE,
	.unlocked_ioctl = ring0_ioctl,
	.llseek = noop_llseek,
};

static struct miscdevice ring0_device = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "ring0",
	.mode = 0600,
	.fops = &ring0_operations,
};

static int __init ring0_init(void)
{
	return misc_register(&ring0_device);
}

static void __exit ring0_exit(void)
{
	struct allocation *allocation, *next;

	misc_deregister(&ring0_device);
	list_for_each_entry_safe(allocation, next, &allocations, list) {
		free_pages(allocation->address, allocation->order);
		kfree(allocation);
	}
}

module_init(ring0_init);
module_exit(ring0_exit);

MODULE_DESCRIPTION("Single operations at CPL 0 for the tests of the Bulkhead hypervisor");
MODULE_AUTHOR("Bulkhead");
MODULE_LICENSE("Dual MIT/GPL");
