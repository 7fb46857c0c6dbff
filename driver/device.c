// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * /dev/bulkhead. Every request is one hypercall that fills a page, copied to the caller afterwards:
 * the hypervisor is only ever given pages of the kernel's own, never a program's memory.
 */
#include "device.h"

#include <linux/fs.h>
#include <linux/gfp.h>
#include <linux/io.h>
#include <linux/miscdevice.h>
#include <linux/module.h>
#include <linux/uaccess.h>
#include <bulkhead/device.h>

#include "hypercall.h"
#include "kvm.h"

static long answer_status(void *page, void __user *user)
{
	const struct hypercall call = { BULKHEAD_CALL_STATUS, { virt_to_phys(page) } };
	int error = hypercall_make(&call, NULL);

	if (error)
		return error;
	return copy_to_user(user, page, sizeof(struct bulkhead_status)) ? -EFAULT : 0;
}

static long answer_stats(void *page, void __user *user)
{
	struct hypercall call = { BULKHEAD_CALL_STATS, { virt_to_phys(page) } };
	u32 processor;
	int error;

	if (copy_from_user(&processor, user + offsetof(struct bulkhead_stats, processor), sizeof(processor)))
		return -EFAULT;
	call.arguments[1] = processor;
	error = hypercall_make(&call, NULL);
	if (error)
		return error;
	return copy_to_user(user, page, sizeof(struct bulkhead_stats)) ? -EFAULT : 0;
}

static long answer_log(void *page, void __user *user)
{
	struct hypercall call = { BULKHEAD_CALL_LOG_READ, { virt_to_phys(page) } };
	const struct bulkhead_log *log = page;
	u64 position;
	int error;

	if (copy_from_user(&position, user + offsetof(struct bulkhead_log, first), sizeof(position)))
		return -EFAULT;
	call.arguments[1] = position;
	error = hypercall_make(&call, NULL);
	if (error)
		return error;
	if (log->size_bytes > sizeof(log->text))
		return -EPROTO;
	return copy_to_user(user, page, sizeof(*log)) ? -EFAULT : 0;
}

static long answer_measure(void *page, void __user *user)
{
	struct bulkhead_device_guest guest;
	int error;

	if (copy_from_user(&guest, user, sizeof(guest)))
		return -EFAULT;
	if (guest.reserved)
		return -EINVAL;
	error = kvm_guest_measure(guest.guest, page);
	if (error)
		return error;
	memcpy(&guest.measurement, page, sizeof(guest.measurement));
	return copy_to_user(user, &guest, sizeof(guest)) ? -EFAULT : 0;
}

static long device_ioctl(struct file *file, unsigned int request, unsigned long argument)
{
	void __user *user = (void __user *)argument;
	long result = -ENOTTY;
	void *page;

	page = (void *)get_zeroed_page(GFP_KERNEL);
	if (!page)
		return -ENOMEM;
	switch (request) {
	case BULKHEAD_DEVICE_STATUS:
		result = answer_status(page, user);
		break;
	case BULKHEAD_DEVICE_STATS:
		result = answer_stats(page, user);
		break;
	case BULKHEAD_DEVICE_LOG:
		result = answer_log(page, user);
		break;
	case BULKHEAD_DEVICE_MEASURE:
		result = answer_measure(page, user);
		break;
	}
	free_page((unsigned long)page);
	return result;
}

static const struct file_operations device_operations = {
	.owner = THIS_MODULE,
	.unlocked_ioctl = device_ioctl,
	.compat_ioctl = compat_ptr_ioctl,
	.llseek = noop_llseek,
};

static struct miscdevice device = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "bulkhead",
	.mode = 0600,
	.fops = &device_operations,
};

int bulkhead_device_register(void)
{
	return misc_register(&device);
}

void bulkhead_device_unregister(void)
{
	misc_deregister(&device);
}
