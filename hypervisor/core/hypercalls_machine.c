/* SPDX-License-Identifier: MIT */
/*
 * Calls about the machine: version, status, counters, log. Answers go to a page of the caller's own.
 */
#include "guest_platform.h"
#include "hypercalls.h"

enum bulkhead_error hypercalls_version(struct request *request)
{
	request->value = BULKHEAD_ABI_VERSION;
	return BULKHEAD_OK;
}

/* Cuts a text to a field and ends it with 0. */
static void copy_text(char *field, size_t size_bytes, const char *text)
{
	size_t i = 0;

	for (; text && text[i] && i < size_bytes - 1; i++)
		field[i] = text[i];
	field[i] = 0;
}

static void describe_guest(const struct guest *guest, struct bulkhead_guest_status *status)
{
	/* A free slot is all zero. */
	*status = (struct bulkhead_guest_status){ 0 };
	status->handle = guest->handle;
	status->state = guest->state;
	status->is_protected = guest->is_protected;
	status->vcpu_count = guest->vcpu_count;
	status->memory_pages = guest->memory_pages;
	status->table_pages = guest->space.table_count;
	status->spare_pages = address_space_spare(&guest->space);
}

static void describe(struct bulkhead_status *status)
{
	const uint64_t *count = core.frames.count;

	status->abi_version = BULKHEAD_ABI_VERSION;
	status->size_bytes = sizeof(*status);
	copy_text(status->build_id, sizeof(status->build_id), core.build_id);
	copy_text(status->back_end, sizeof(status->back_end), core.back_end);
	status->facts = core.facts;
	status->processor_count = arch_processor_count();
	status->vcpu_pages = 1 + arch_vcpu_pages();
	status->tsc_khz = core.tsc_khz;
	status->platform_pages = GUEST_PLATFORM_PAGES;
	status->memory_pages = core.frames.page_count;
	status->hypervisor_pages = count[FRAME_HYPERVISOR];
	status->guest_pages = count[FRAME_GUEST] + count[FRAME_LENT];
	status->table_pages = core.service.table_count;
	status->spare_pages = address_space_spare(&core.service);
	for (size_t i = 0; i < BULKHEAD_MAX_GUESTS; i++)
		describe_guest(&core.guests[i], &status->guests[i]);
}

enum bulkhead_error hypercalls_status(struct request *request)
{
	struct bulkhead_status *status = ownership_service_page(request->held, phys_at(request->arguments[0]));

	if (!status)
		return BULKHEAD_NOT_OWNED;
	describe(status);
	return BULKHEAD_OK;
}

enum bulkhead_error hypercalls_stats(struct request *request)
{
	struct bulkhead_stats *stats = ownership_service_page(request->held, phys_at(request->arguments[0]));
	uint64_t processor = request->arguments[1];

	if (processor >= arch_processor_count())
		return BULKHEAD_INVALID;
	if (!stats)
		return BULKHEAD_NOT_OWNED;
	*stats = core.stats[processor];
	stats->processor = (uint32_t)processor;
	stats->exit_count = BULKHEAD_EXIT_COUNT;
	stats->call_count = BULKHEAD_CALL_COUNT;
	return BULKHEAD_OK;
}

enum bulkhead_error hypercalls_log_read(struct request *request)
{
	struct bulkhead_log *answer = ownership_service_page(request->held, phys_at(request->arguments[0]));

	if (!answer)
		return BULKHEAD_NOT_OWNED;
	arch_log_events();
	request->value = log_read(&core.log, request->arguments[1], answer);
	return BULKHEAD_OK;
}
