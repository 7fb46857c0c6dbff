/* SPDX-License-Identifier: MIT */
/*
 * The hypercall table and its dispatch.
 */
#include "hypercall.h"

#include "hypercalls.h"

#define ROW(number_, arguments_, name_, handler_)                                                  \
	[number_] = { .number = (number_), .argument_count = (arguments_), .name = (name_),        \
		      .handler = (handler_) }

/* Indexed by number. Rows that are not named have no handler and are refused. */
static const struct hypercall_row rows[BULKHEAD_CALL_COUNT] = {
	ROW(BULKHEAD_CALL_VERSION, 0, "version", hypercalls_version),
	ROW(BULKHEAD_CALL_STATUS, 1, "status", hypercalls_status),
	ROW(BULKHEAD_CALL_STATS, 2, "stats", hypercalls_stats),
	ROW(BULKHEAD_CALL_LOG_READ, 2, "log-read", hypercalls_log_read),

	ROW(BULKHEAD_CALL_GUEST_CREATE, 2, "guest-create", hypercalls_guest_create),
	ROW(BULKHEAD_CALL_GUEST_PAY, 2, "guest-pay", hypercalls_guest_pay),
	ROW(BULKHEAD_CALL_GUEST_REFUND, 1, "guest-refund", hypercalls_guest_refund),
	ROW(BULKHEAD_CALL_GUEST_RANGE, 3, "guest-range", hypercalls_guest_range),
	ROW(BULKHEAD_CALL_GUEST_DONATE, 4, "guest-donate", hypercalls_guest_donate),
	ROW(BULKHEAD_CALL_GUEST_LOAD, 4, "guest-load", hypercalls_guest_load),
	ROW(BULKHEAD_CALL_GUEST_SHARE, 4, "guest-share", hypercalls_guest_share),
	ROW(BULKHEAD_CALL_GUEST_UNSHARE, 3, "guest-unshare", hypercalls_guest_unshare),
	ROW(BULKHEAD_CALL_GUEST_SEAL, 1, "guest-seal", hypercalls_guest_seal),
	ROW(BULKHEAD_CALL_GUEST_MEASURE, 2, "guest-measure", hypercalls_guest_measure),
	ROW(BULKHEAD_CALL_GUEST_RECLAIM, 2, "guest-reclaim", hypercalls_guest_reclaim),
	ROW(BULKHEAD_CALL_GUEST_DESTROY, 1, "guest-destroy", hypercalls_guest_destroy),

	ROW(BULKHEAD_CALL_VCPU_CREATE, 4, "vcpu-create", hypercalls_vcpu_create),
	ROW(BULKHEAD_CALL_VCPU_SET, 3, "vcpu-set", hypercalls_vcpu_set),
	ROW(BULKHEAD_CALL_VCPU_GET, 3, "vcpu-get", hypercalls_vcpu_get),
	ROW(BULKHEAD_CALL_VCPU_RUN, 2, "vcpu-run", hypercalls_vcpu_run),

	ROW(BULKHEAD_CALL_PLATFORM_CREATE, 2, "platform-create", hypercalls_platform_create),
	ROW(BULKHEAD_CALL_PLATFORM_BLOB, 3, "platform-blob", hypercalls_platform_blob),
	ROW(BULKHEAD_CALL_PLATFORM_DEVICE, 3, "platform-device", hypercalls_platform_device),
	ROW(BULKHEAD_CALL_PLATFORM_CONFIG, 4, "platform-config", hypercalls_platform_config),
	ROW(BULKHEAD_CALL_PLATFORM_RELAY, 3, "platform-relay", hypercalls_platform_relay),
	ROW(BULKHEAD_CALL_PLATFORM_LINE, 3, "platform-line", hypercalls_platform_line),
	ROW(BULKHEAD_CALL_PLATFORM_BACKEND, 2, "platform-backend", hypercalls_platform_backend),
	ROW(BULKHEAD_CALL_PLATFORM_RELEASE, 2, "platform-release", hypercalls_platform_release),
	ROW(BULKHEAD_CALL_PLATFORM_LOSE, 2, "platform-lose", hypercalls_platform_lose),
};

static const struct hypercall_row *find_row(uint64_t number)
{
	/* The mask keeps a speculative access inside the table whatever the comparison will say. */
	const struct hypercall_row *row = &rows[number & (BULKHEAD_CALL_COUNT - 1)];

	return number < BULKHEAD_CALL_COUNT && row->handler ? row : NULL;
}

static_assert((BULKHEAD_CALL_COUNT & (BULKHEAD_CALL_COUNT - 1)) == 0, "used as a mask");

const char *hypercall_name(uint64_t number)
{
	const struct hypercall_row *row = find_row(number);

	return row ? row->name : "unknown";
}

static enum bulkhead_error check_unused(const struct hypercall_row *row, const struct hypercall *call)
{
	for (uint32_t i = row->argument_count; i < HYPERCALL_ARGUMENTS; i++)
		if (call->arguments[i] != 0)
			return BULKHEAD_INVALID;
	return BULKHEAD_OK;
}

void hypercall_dispatch(struct hypercall *call)
{
	const struct hypercall_row *row = find_row(call->number);
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
		call->status = row->handler(call->arguments, &call->value);
	cycles = arch_cycles() - start;
	stats = &core.stats[arch_processor()].calls[row->number];
	stats->count++;
	if (cycles > stats->worst_cycles)
		stats->worst_cycles = cycles;
}
