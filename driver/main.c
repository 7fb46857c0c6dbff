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

static int __init bulkhead_init(void)
{
	int error = hypercall_find();

	if (error == -ENODEV)
		pr_info("this kernel does not run under Bulkhead\n");
	if (error)
		return error;
	return bulkhead_device_register();
}

static void __exit bulkhead_exit(void)
{
	bulkhead_device_unregister();
}

module_init(bulkhead_init);
module_exit(bulkhead_exit);

MODULE_DESCRIPTION("The service domain's interface to the Bulkhead hypervisor");
MODULE_AUTHOR("Bulkhead");
MODULE_LICENSE("Dual MIT/GPL");
