/* SPDX-License-Identifier: MIT */
/*
 * The hypercall table and its dispatch.
 */
#include "hypercall.h"

#include "hypercalls.h"

/** What a call is for, and so what is done before its handler. */
enum target {
	THE_MACHINE, /* the core's lock is taken */
	A_GUEST,     /* and the guest found that its first argument names */
	A_PAYER,     /* or the service domain, by handle 0 */
	A_RUNNING,   /* nothing: it takes its locks itself */
};

/** One call: how many arguments it takes, what it is for, and what does it. */
struct hypercall_row {
	uint32_t argument_count;
	enum target target;
	MUST_USE enum bulkhead_error (*handler)(struct request *request);
};

/* Indexed by number. Rows that are not named have no handler and are refused. */
static const struct hypercall_row rows[BULKHEAD_CALL_COUNT] = {
	[BULKHEAD_CALL_VERSION] = { 0, THE_MACHINE, hypercalls_version },
	[BULKHEAD_CALL_STATUS] = { 1, THE_MACHINE, hypercalls_status },
	[BULKHEAD_CALL_STATS] = { 2, THE_MACHINE, hypercalls_stats },
	[BULKHEAD_CALL_LOG_READ] = { 2, THE_MACHINE, hypercalls_log_read },

	[BULKHEAD_CALL_GUEST_CREATE] = { 2, THE_MACHINE, hypercalls_guest_create },
	[BULKHEAD_CALL_GUEST_PAY] = { 2, A_PAYER, hypercalls_guest_pay },
	[BULKHEAD_CALL_GUEST_REFUND] = { 1, A_PAYER, hypercalls_guest_refund },
	[BULKHEAD_CALL_GUEST_RANGE] = { 3, A_GUEST, hypercalls_guest_range },
	[BULKHEAD_CALL_GUEST_DONATE] = { 4, A_GUEST, hypercalls_guest_donate },
	[BULKHEAD_CALL_GUEST_LOAD] = { 4, A_GUEST, hypercalls_guest_load },
	[BULKHEAD_CALL_GUEST_SHARE] = { 4, A_GUEST, hypercalls_guest_share },
	[BULKHEAD_CALL_GUEST_UNSHARE] = { 3, A_GUEST, hypercalls_guest_unshare },
	[BULKHEAD_CALL_GUEST_SEAL] = { 1, A_GUEST, hypercalls_guest_seal },
	[BULKHEAD_CALL_GUEST_MEASURE] = { 2, A_GUEST, hypercalls_guest_measure },
	[BULKHEAD_CALL_GUEST_RECLAIM] = { 2, THE_MACHINE, hypercalls_guest_reclaim },
	[BULKHEAD_CALL_GUEST_DESTROY] = { 1, A_GUEST, hypercalls_guest_destroy },

	[BULKHEAD_CALL_VCPU_CREATE] = { 4, A_GUEST, hypercalls_vcpu_create },
	[BULKHEAD_CALL_VCPU_SET] = { 3, A_GUEST, hypercalls_vcpu_set },
	[BULKHEAD_CALL_VCPU_GET] = { 3, A_GUEST, hypercalls_vcpu_get },
	[BULKHEAD_CALL_VCPU_RUN] = { 2, A_RUNNING, hypercalls_vcpu_run },

	[BULKHEAD_CALL_PLATFORM_CREATE] = { 2, A_GUEST, hypercalls_platform_create },
	[BULKHEAD_CALL_PLATFORM_BLOB] = { 3, A_GUEST, hypercalls_platform_blob },
	[BULKHEAD_CALL_PLATFORM_DEVICE] = { 3, A_GUEST, hypercalls_platform_device },
	[BULKHEAD_CALL_PLATFORM_CONFIG] = { 4, A_RUNNING, hypercalls_platform_config },
	[BULKHEAD_CALL_PLATFORM_RELAY] = { 3, A_GUEST, hypercalls_platform_relay },
	[BULKHEAD_CALL_PLATFORM_LINE] = { 3, A_RUNNING, hypercalls_platform_line },
	[BULKHEAD_CALL_PLATFORM_BACKEND] = { 2, A_RUNNING, hypercalls_platform_backend },
	[BULKHEAD_CALL_PLATFORM_RELEASE] = { 2, A_RUNNING, hypercalls_platform_release },
	[BULKHEAD_CALL_PLATFORM_LOSE] = { 2, A_RUNNING, hypercalls_platform_lose },
};

static const struct hypercall_row *find_row(uint64_t number)
{
	/* The mask keeps a speculative access inside the table whatever the comparison will say. */
	const struct hypercall_row *row = &rows[number & (BULKHEAD_CALL_COUNT - 1)];

	return number < BULKHEAD_CALL_COUNT && row->handler ? row : NULL;
}

static_assert((BULKHEAD_CALL_COUNT & (BULKHEAD_CALL_COUNT - 1)) == 0, "used as a mask");

static enum bulkhead_error check_unused(const struct hypercall_row *row, const struct hypercall *call)
{
	for (uint32_t i = row->argument_count; i < HYPERCALL_ARGUMENTS; i++)
		if (call->arguments[i] != 0)
			return BULKHEAD_INVALID;
	return BULKHEAD_OK;
}

static enum bulkhead_error make(const struct hypercall_row *row, struct request *request)
{
	uint64_t handle = request->arguments[0];
	enum bulkhead_error error = BULKHEAD_NO_GUEST;

	if (row->target == A_RUNNING)
		return row->handler(request);
	request->held = core_lock();
	if (row->target != THE_MACHINE)
		request->guest = guest_find(request->held, handle);
	if (request->guest || row->target == THE_MACHINE || (row->target == A_PAYER && handle == 0))
		error = row->handler(request);
	core_unlock(request->held);
	return error;
}

void hypercall_dispatch(struct hypercall *call)
{
	const struct hypercall_row *row = find_row(call->number);
	struct request request = { .arguments = call->arguments };
	struct bulkhead_call_stats *stats;
	uint64_t start = arch_cycles();
	uint64_t cycles;

	call->value = 0;
	if (!row) {
		call->status = BULKHEAD_UNKNOWN_CALL;
		return;
	}
	call->status = check_unused(row, call);
	if (call->status == BULKHEAD_OK)
		call->status = make(row, &request);
	call->value = request.value;
	cycles = arch_cycles() - start;
	stats = &core.stats[arch_processor()].calls[call->number];
	stats->count++;
	if (cycles > stats->worst_cycles)
		stats->worst_cycles = cycles;
}
