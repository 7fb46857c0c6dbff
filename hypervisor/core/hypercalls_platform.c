/* SPDX-License-Identifier: MIT */
/*
 * Calls about guests' platforms. Those that describe one find the guest under the core's lock; those that touch a
 * running one take the locks themselves (guest_platform.h).
 */
#include "guest_platform.h"
#include "hypercalls.h"

/** A handle's guest, with the core's lock, or NULL and the lock is released. */
static struct guest *find(uint64_t handle, struct core_locked *held)
{
	struct guest *guest;

	*held = core_lock();
	guest = guest_find(*held, handle);
	if (!guest)
		core_unlock(*held);
	return guest;
}

enum bulkhead_error hypercalls_platform_create(const uint64_t *arguments, uint64_t *value)
{
	struct core_locked held;
	struct guest *guest = find(arguments[0], &held);
	enum bulkhead_error error;

	(void)value;
	if (!guest)
		return BULKHEAD_NO_GUEST;
	error = guest_platform_create(held, guest, phys_at(arguments[1]));
	core_unlock(held);
	return error;
}

enum bulkhead_error hypercalls_platform_blob(const uint64_t *arguments, uint64_t *value)
{
	struct core_locked held;
	struct guest *guest = find(arguments[0], &held);
	enum bulkhead_error error;

	(void)value;
	if (!guest)
		return BULKHEAD_NO_GUEST;
	error = guest_platform_set_blob(held, guest, guest_phys_at(arguments[1]), arguments[2]);
	core_unlock(held);
	return error;
}

enum bulkhead_error hypercalls_platform_device(const uint64_t *arguments, uint64_t *value)
{
	struct core_locked held;
	struct guest *guest = find(arguments[0], &held);
	enum bulkhead_error error;

	(void)value;
	if (!guest)
		return BULKHEAD_NO_GUEST;
	error = guest_platform_add_device(held, guest, arguments[1], phys_at(arguments[2]));
	core_unlock(held);
	return error;
}

enum bulkhead_error hypercalls_platform_relay(const uint64_t *arguments, uint64_t *value)
{
	struct core_locked held;
	struct guest *guest = find(arguments[0], &held);
	enum bulkhead_error error;

	(void)value;
	if (!guest)
		return BULKHEAD_NO_GUEST;
	error = guest_platform_add_relay(held, guest, arguments[1], phys_at(arguments[2]));
	core_unlock(held);
	return error;
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
