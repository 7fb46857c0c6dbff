/* SPDX-License-Identifier: MIT */
/*
 * Calls about guests' platforms. Those that describe one find the guest under the core's lock; those that touch a
 * running one take the locks themselves (guest_platform.h).
 */
#include "guest_platform.h"
#include "hypercalls.h"

enum bulkhead_error hypercalls_platform_create(const uint64_t *arguments, uint64_t *value)
{
	struct target target = target_guest(arguments[0]);

	(void)value;
	if (!target.error)
		target.error = guest_platform_create(target.held, target.guest, phys_at(arguments[1]));
	return target_end(target);
}

enum bulkhead_error hypercalls_platform_blob(const uint64_t *arguments, uint64_t *value)
{
	struct target target = target_guest(arguments[0]);

	(void)value;
	if (!target.error)
		target.error = guest_platform_set_blob(target.held, target.guest, guest_phys_at(arguments[1]), arguments[2]);
	return target_end(target);
}

enum bulkhead_error hypercalls_platform_device(const uint64_t *arguments, uint64_t *value)
{
	struct target target = target_guest(arguments[0]);

	(void)value;
	if (!target.error)
		target.error = guest_platform_add_device(target.held, target.guest, arguments[1], phys_at(arguments[2]));
	return target_end(target);
}

enum bulkhead_error hypercalls_platform_relay(const uint64_t *arguments, uint64_t *value)
{
	struct target target = target_guest(arguments[0]);

	(void)value;
	if (!target.error)
		target.error = guest_platform_add_relay(target.held, target.guest, arguments[1], phys_at(arguments[2]));
	return target_end(target);
}

enum bulkhead_error hypercalls_platform_config(const uint64_t *arguments, uint64_t *value)
{
	return guest_platform_configure(arguments[0], arguments[1], phys_at(arguments[2]),
					arguments[3], value);
}

enum bulkhead_error hypercalls_platform_line(const uint64_t *arguments, uint64_t *value)
{
	return guest_platform_line(arguments[0], arguments[1], arguments[2], value);
}

enum bulkhead_error hypercalls_platform_backend(const uint64_t *arguments, uint64_t *value)
{
	return guest_platform_backend(arguments[0], arguments[1], value);
}

enum bulkhead_error hypercalls_platform_release(const uint64_t *arguments, uint64_t *value)
{
	return guest_platform_release(arguments[0], arguments[1], value);
}

enum bulkhead_error hypercalls_platform_lose(const uint64_t *arguments, uint64_t *value)
{
	return guest_platform_lose(arguments[0], arguments[1], value);
}
