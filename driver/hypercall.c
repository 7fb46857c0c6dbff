// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * Finding and calling the hypervisor.
 *
 * AMD's and Intel's processors have different instructions for a call, and each raises #UD on the
 * other's. Which one to use follows the processor's vendor: the feature bits are no guide, because
 * the hypervisor hides them from the service domain.
 */
#include "hypercall.h"

#include <linux/errno.h>
#include <linux/jump_label.h>
#include <linux/printk.h>
#include <linux/sched.h>
#include <asm/processor.h>

static DEFINE_STATIC_KEY_FALSE(intel_instruction);

int hypercall_find(void)
{
	u32 eax, ebx, ecx, edx;

	cpuid(BULKHEAD_CPUID_BASE, &eax, &ebx, &ecx, &edx);
	if (ebx != BULKHEAD_CPUID_EBX || ecx != BULKHEAD_CPUID_ECX || edx != BULKHEAD_CPUID_EDX ||
	    eax < BULKHEAD_CPUID_LAST)
		return -ENODEV;
	cpuid(BULKHEAD_CPUID_BASE + 1, &eax, &ebx, &ecx, &edx);
	if (eax >> 16 != BULKHEAD_ABI_VERSION >> 16) {
		pr_err("the hypervisor's interface is version %#x, this driver needs %#x; install the driver of the same release\n",
		       eax, BULKHEAD_ABI_VERSION);
		return -EPROTO;
	}
	if (boot_cpu_data.x86_vendor == X86_VENDOR_INTEL)
		static_branch_enable(&intel_instruction);
	return 0;
}

u64 hypercall_once(const struct hypercall *call, u64 *value)
{
	const u64 *argument = call->arguments;
	register u64 r8 asm("r8") = argument[4];
	u64 status = call->number, rdx = argument[2];

	if (static_branch_unlikely(&intel_instruction))
		asm volatile("vmcall"
			     : "+a"(status), "+d"(rdx)
			     : "D"(argument[0]), "S"(argument[1]), "c"(argument[3]), "r"(r8)
			     : "memory");
	else
		asm volatile("vmmcall"
			     : "+a"(status), "+d"(rdx)
			     : "D"(argument[0]), "S"(argument[1]), "c"(argument[3]), "r"(r8)
			     : "memory");
	if (value)
		*value = rdx;
	return status;
}

int hypercall_make(const struct hypercall *call, u64 *value)
{
	u64 status, answer;

	for (;;) {
		status = hypercall_once(call, &answer);
		if (status != BULKHEAD_AGAIN)
			break;
		cond_resched();
	}
	if (value)
		*value = answer;
	return hypercall_errno(status);
}

int hypercall_errno(u64 status)
{
	static const int table[BULKHEAD_ERROR_COUNT] = {
		[BULKHEAD_OK] = 0,
		[BULKHEAD_AGAIN] = -EAGAIN,
		[BULKHEAD_BUSY] = -EBUSY,
		[BULKHEAD_UNKNOWN_CALL] = -EOPNOTSUPP,
		[BULKHEAD_INVALID] = -EINVAL,
		[BULKHEAD_BAD_ADDRESS] = -EFAULT,
		[BULKHEAD_NOT_OWNED] = -EPERM,
		[BULKHEAD_OCCUPIED] = -EEXIST,
		[BULKHEAD_NOT_FILLED] = -ENXIO,
		[BULKHEAD_NO_TABLES] = -ENOMEM,
		[BULKHEAD_NO_GUEST] = -ENOENT,
		[BULKHEAD_BAD_STATE] = -EBADFD,
		[BULKHEAD_LIMIT] = -ENOSPC,
	};

	return status < ARRAY_SIZE(table) ? table[status] : -EPROTO;
}
