/* SPDX-License-Identifier: MIT */
/*
 * Calls about guests and their processors: each hands on to the function that checks and acts.
 */
#include "hypercalls.h"

enum bulkhead_error hypercalls_guest_create(struct request *request)
{
	return guest_create(request->held, phys_at(request->arguments[0]), request->arguments[1], &request->value);
}

enum bulkhead_error hypercalls_guest_pay(struct request *request)
{
	return ownership_pay(request->held, request->guest, phys_at(request->arguments[1]));
}

enum bulkhead_error hypercalls_guest_refund(struct request *request)
{
	struct phys page = { 0 };
	enum bulkhead_error error = ownership_refund(request->held, request->guest, &page);

	if (!error)
		request->value = page.value;
	return error;
}

enum bulkhead_error hypercalls_guest_range(struct request *request)
{
	return guest_add_range(request->held, request->guest, guest_phys_at(request->arguments[1]), request->arguments[2]);
}

static enum bulkhead_error give(struct request *request, enum transfer_kind kind)
{
	return ownership_give(request->held, request->guest, phys_at(request->arguments[1]), guest_phys_at(request->arguments[2]),
			      request->arguments[3], kind);
}

enum bulkhead_error hypercalls_guest_donate(struct request *request)
{
	return give(request, TRANSFER_DONATE);
}

enum bulkhead_error hypercalls_guest_load(struct request *request)
{
	return give(request, TRANSFER_LOAD);
}

enum bulkhead_error hypercalls_guest_share(struct request *request)
{
	return ownership_lend(request->held, request->guest, phys_at(request->arguments[1]), guest_phys_at(request->arguments[2]),
			      request->arguments[3]);
}

enum bulkhead_error hypercalls_guest_unshare(struct request *request)
{
	return ownership_unlend(request->held, request->guest, phys_at(request->arguments[1]), request->arguments[2]);
}

enum bulkhead_error hypercalls_guest_seal(struct request *request)
{
	return guest_seal(request->held, request->guest);
}

enum bulkhead_error hypercalls_guest_measure(struct request *request)
{
	struct bulkhead_measurement *answer = ownership_service_page(request->held, phys_at(request->arguments[1]));
	const struct measurement *measurement = &request->guest->measurement;

	if (!answer)
		return BULKHEAD_NOT_OWNED;
	*answer = (struct bulkhead_measurement){
		.record_count = measurement->record_count,
		.is_sealed = request->guest->state == BULKHEAD_GUEST_SEALED,
	};
	for (unsigned int i = 0; i < BULKHEAD_MEASUREMENT_BYTES; i++)
		answer->digest[i] = measurement->digest[i];
	return BULKHEAD_OK;
}

enum bulkhead_error hypercalls_guest_reclaim(struct request *request)
{
	return ownership_take_back(request->held, phys_at(request->arguments[0]), request->arguments[1]);
}

enum bulkhead_error hypercalls_guest_destroy(struct request *request)
{
	return guest_destroy(request->held, request->guest);
}

enum bulkhead_error hypercalls_vcpu_create(struct request *request)
{
	return guest_add_vcpu(request->held, request->guest, request->arguments[1], phys_at(request->arguments[2]),
			      phys_at(request->arguments[3]));
}

enum bulkhead_error hypercalls_vcpu_set(struct request *request)
{
	return guest_set_vcpu(request->held, request->guest, request->arguments[1], phys_at(request->arguments[2]));
}

enum bulkhead_error hypercalls_vcpu_get(struct request *request)
{
	return guest_get_vcpu(request->held, request->guest, request->arguments[1], phys_at(request->arguments[2]));
}

enum bulkhead_error hypercalls_vcpu_run(struct request *request)
{
	return guest_run_vcpu(request->arguments[0], request->arguments[1]);
}
