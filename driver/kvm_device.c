// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * /dev/kvm: what the machine offers, and making guests. docs/driver.md says which ioctls there are and how they differ
 * from Linux's own.
 */
#define pr_fmt(fmt) "bulkhead: " fmt

#include "kvm.h"

#include <linux/fs.h>
#include <linux/gfp.h>
#include <linux/io.h>
#include <linux/miscdevice.h>
#include <linux/module.h>
#include <linux/uaccess.h>
#include <asm/processor.h>
#include <asm/tsc.h>

#define VCPU_MMAP_BYTES (2 * PAGE_SIZE)

struct kvm_facts kvm_facts;

static const struct {
	long capability;
	int answer;
} capabilities[] = {
	{ KVM_CAP_IRQCHIP, 1 },
	{ KVM_CAP_USER_MEMORY, 1 },
	{ KVM_CAP_SET_TSS_ADDR, 1 },
	{ KVM_CAP_EXT_CPUID, 1 },
	{ KVM_CAP_NR_VCPUS, BULKHEAD_MAX_VCPUS },
	{ KVM_CAP_MAX_VCPUS, BULKHEAD_MAX_VCPUS },
	{ KVM_CAP_NR_MEMSLOTS, BULKHEAD_MAX_RANGES },
	{ KVM_CAP_IMMEDIATE_EXIT, 1 },
	{ BULKHEAD_KVM_CAP, BULKHEAD_ABI_VERSION },
};

long kvm_check_extension(long capability)
{
	for (size_t i = 0; i < ARRAY_SIZE(capabilities); i++)
		if (capabilities[i].capability == capability)
			return capabilities[i].answer;
	return 0;
}

/*
 * The leaves a guest can find something in. Values are the processor's: the most a guest can be offered. What it is
 * offered the hypervisor decides, and no ioctl changes that.
 */
static const struct {
	u32 first, last;
} leaves[] = { { 0, 1 }, { 7, 7 }, { 0x80000000, 0x80000008 } };

static long supported_cpuid(void __user *user)
{
	struct kvm_cpuid2 head;
	struct kvm_cpuid_entry2 entry;
	u32 count = 0;

	if (copy_from_user(&head, user, sizeof(head)))
		return -EFAULT;
	for (size_t i = 0; i < ARRAY_SIZE(leaves); i++) {
		for (u32 leaf = leaves[i].first; leaf <= leaves[i].last; leaf++) {
			entry = (struct kvm_cpuid_entry2){ .function = leaf };
			if (leaf == 7)
				entry.flags = KVM_CPUID_FLAG_SIGNIFCANT_INDEX;
			cpuid_count(leaf, 0, &entry.eax, &entry.ebx, &entry.ecx, &entry.edx);
			if (count == head.nent)
				return -E2BIG;
			if (copy_to_user(user + sizeof(head) + count * sizeof(entry), &entry, sizeof(entry)))
				return -EFAULT;
			count++;
		}
	}
	head.nent = count;
	return copy_to_user(user, &head, sizeof(head)) ? -EFAULT : 0;
}

static long kvm_ioctl(struct file *file, unsigned int request, unsigned long argument)
{
	switch (request) {
	case KVM_GET_API_VERSION:
		return argument ? -EINVAL : KVM_API_VERSION;
	case KVM_CHECK_EXTENSION:
		return kvm_check_extension(argument);
	case KVM_GET_VCPU_MMAP_SIZE:
		return argument ? -EINVAL : VCPU_MMAP_BYTES;
	case KVM_GET_SUPPORTED_CPUID:
		return supported_cpuid((void __user *)argument);
	case KVM_CREATE_VM:
		return argument ? -EINVAL : kvm_guest_create();
	default:
		return -ENOTTY;
	}
}

static const struct file_operations operations = {
	.owner = THIS_MODULE,
	.unlocked_ioctl = kvm_ioctl,
	.llseek = noop_llseek,
};

static struct miscdevice device = {
	.minor = KVM_MINOR,
	.name = "kvm",
	.fops = &operations,
};

static int read_facts(void)
{
	struct bulkhead_status *status = (void *)get_zeroed_page(GFP_KERNEL);
	const struct hypercall call = { BULKHEAD_CALL_STATUS, { status ? virt_to_phys(status) : 0 } };
	int error;

	if (!status)
		return -ENOMEM;
	error = hypercall_make(&call, NULL);
	kvm_facts.vcpu_pages = status->vcpu_pages;
	kvm_facts.platform_pages = status->platform_pages;
	kvm_facts.tsc_khz = status->tsc_khz ?: tsc_khz;
	free_page((unsigned long)status);
	if (error)
		return error;
	return kvm_facts.vcpu_pages && kvm_facts.tsc_khz ? 0 : -EPROTO;
}

int kvm_device_register(void)
{
	int error = read_facts();

	if (!error)
		error = misc_register(&device);
	if (error == -EBUSY || error == -EEXIST)
		pr_err("/dev/kvm belongs to Linux's KVM; unload the modules kvm_amd, kvm_intel and kvm first\n");
	return error == -EEXIST ? -EBUSY : error;
}

void kvm_device_unregister(void)
{
	misc_deregister(&device);
	kvm_tables_exit();
}
