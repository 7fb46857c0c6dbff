/* SPDX-License-Identifier: MIT */
/*
 * Calls about guests and their processors: each finds the guest by its handle under the core's lock
 * and hands on to the function that checks and acts.
 */
#include "hypercalls.h"

struct target target_guest(uint64_t handle)
{
	struct target target = { .held = core_lock() };

	target.guest = guest_find(target.held, handle);
	target.error = target.guest ? BULKHEAD_OK : BULKHEAD_NO_GUEST;
	return target;
}

/* Handle 0 means the service domain. */
static struct target target_payer(uint64_t handle)
{
	struct target target = target_guest(handle);

	if (handle == 0)
		target.error = BULKHEAD_OK;
	return target;
}

enum bulkhead_error target_end(struct target target)
{
	core_unlock(target.held);
	return target.error;
}

enum bulkhead_error hypercalls_guest_create(const uint64_t *arguments, uint64_t *value)
{
	struct core_locked held = core_lock();
	enum bulkhead_error error = guest_create(held, phys_at(arguments[0]), arguments[1], value);

	core_unlock(held);
	return error;
}

enum bulkhead_error hypercalls_guest_pay(const uint64_t *arguments, uint64_t *value)
{
	struct target target = target_payer(arguments[0]);

	(void)value;
	if (!target.error)
		target.error = ownership_pay(target.held, target.guest, phys_at(arguments[1]));
	return target_end(target);
}

enum bulkhead_error hypercalls_guest_refund(const uint64_t *arguments, uint64_t *value)
{
	struct target target = target_payer(arguments[0]);
	struct phys page = { 0 };

	if (!target.error)
		target.error = ownership_refund(target.held, target.guest, &page);
	if (!target.error)
		*value = page.value;
	return target_end(target);
}

enum bulkhead_error hypercalls_guest_range(const uint64_t *arguments, uint64_t *value)
{
	struct target target = target_guest(arguments[0]);

	(void)value;
	if (!target.error)
		target.error = guest_add_range(target.held, target.guest,
					       guest_phys_at(arguments[1]), arguments[2]);
	return target_end(target);
}

static enum bulkhead_error give(const uint64_t *arguments, enum transfer_kind kind)
{
	struct target target = target_guest(arguments[0]);

	if (!target.error)
		target.error = ownership_give(target.held, target.guest, phys_at(arguments[1]),
					      guest_phys_at(arguments[2]), arguments[3], kind);
	return target_end(target);
}

enum bulkhead_error hypercalls_guest_donate(const uint64_t *arguments, uint64_t *value)
{
	(void)value;
	return give(arguments, TRANSFER_DONATE);
}

enum bulkhead_error hypercalls_guest_load(const uint64_t *arguments, uint64_t *value)
{
	(void)value;
	return give(arguments, TRANSFER_LOAD);
}

enum bulkhead_error hypercalls_guest_share(const uint64_t *arguments, uint64_t *value)
{
	struct target target = target_guest(arguments[0]);

	(void)value;
	if (!target.error)
		target.error = ownership_lend(target.held, target.guest, phys_at(arguments[1]),
					      guest_phys_at(arguments[2]), arguments[3]);
	return target_end(target);
}

enum bulkhead_error hypercalls_guest_unshare(const uint64_t *arguments, uint64_t *value)
{
	struct target target = target_guest(arguments[0]);

	(void)value;
	if (!target.error)
		target.error = ownership_unlend(target.held, target.guest, phys_at(arguments[1]),
						arguments[2]);
	return target_end(target);
}

enum bulkhead_error hypercalls_guest_seal(const uint64_t *arguments, uint64_t *value)
{
	struct target target = target_guest(arguments[0]);

	(void)value;
	if (!target.error)
		target.error = guest_seal(target.held, target.guest);
	return target_end(target);
}

enum bulkhead_error hypercalls_guest_measure(const uint64_t *arguments, uint64_t *value)
{
	struct target target = target_guest(arguments[0]);
	struct bulkhead_measurement *answer;

	(void)value;
	if (target.error)
		return target_end(target);
	answer = ownership_service_page(target.held, phys_at(arguments[1]));
	if (!answer) {
		target.error = BULKHEAD_NOT_OWNED;
		return target_end(target);
	}
	*answer = (struct bulkhead_measurement){
		.record_count = target.guest->measurement.record_count,
		.is_sealed = target.guest->state == BULKHEAD_GUEST_SEALED,
	};
	for (unsigned int i = 0; i < SHA256_BYTES; i++)
		answer->digest[i] = target.guest->measurement.digest[i];
	return target_end(target);
}

enum bulkhead_error hypercalls_guest_reclaim(const uint64_t *arguments, uint64_t *value)
{
	struct core_locked held = core_lock();
	enum bulkhead_error error =
		ownership_take_back(held, phys_at(arguments[0]), arguments[1]);

	(void)value;
	core_unlock(held);
	return error;
}

enum bulkhead_error hypercalls_guest_destroy(const uint64_t *arguments, uint64_t *value)
{
	struct target target = target_guest(arguments[0]);

	(void)value;
	if (!target.error)
		target.error = guest_destroy(target.held, target.guest);
	return target_end(target);
}

enum bulkhead_error hypercalls_vcpu_create(const uint64_t *arguments, uint64_t *value)
{
	struct target target = target_guest(arguments[0]);

	(void)value;
	if (!target.error)
		target.error = guest_add_vcpu(target.held, target.guest, arguments[1],
					      phys_at(arguments[2]), phys_at(arguments[3]));
	return target_end(target);
}

enum bulkhead_error hypercalls_vcpu_set(const uint64_t *arguments, uint64_t *value)
{
	struct target target = target_guest(arguments[0]);

	(void)value;
	if (!target.error)
		target.error = guest_set_vcpu(target.held, target.guest, arguments[1],
					      phys_at(arguments[2]));
	return target_end(target);
}

enum bulkhead_error hypercalls_vcpu_get(const uint64_t *arguments, uint64_t *value)
{
	struct target target = target_guest(arguments[0]);

	(void)value;
	if (!target.error)
		target.error = guest_get_vcpu(target.held, target.guest, arguments[1],
					      phys_at(arguments[2]));
	return target_end(target);
}

enum bulkhead_error hypercalls_vcpu_run(const uint64_t *arguments, uint64_t *value)
{
	(void)value;
	return guest_run_vcpu(arguments[0], arguments[1]);
}
