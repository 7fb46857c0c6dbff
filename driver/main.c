// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * Bulkhead's kernel module for the service domain.
 *
 * It is a convenience, not a guard: whatever it does, any code at CPL 0 of the service domain could
 * do by calling the hypervisor itself, and the hypervisor trusts neither.
 */
#define pr_fmt(fmt) "bulkhead: " fmt

#include <linux/init.h>
#include <linux/module.h>

#include "device.h"
#include "hypercall.h"
#include "kvm.h"

static int __init bulkhead_init(void)
{
	int error = hypercall_find();

	if (error == -ENODEV)
		pr_info("this kernel does not run under Bulkhead\n");
	if (error)
		return error;
	error = bulkhead_device_register();
	if (error)
		return error;
	error = kvm_device_register();
	if (error)
		bulkhead_device_unregister();
	return error;
}

static void __exit bulkhead_exit(void)
{
	kvm_device_unregister();
	bulkhead_device_unregister();
}

module_init(bulkhead_init);
module_exit(bulkhead_exit);

MODULE_DESCRIPTION("The service domain's interface to the Bulkhead hypervisor");
MODULE_AUTHOR("Bulkhead");
MODULE_LICENSE("Dual MIT/GPL");
