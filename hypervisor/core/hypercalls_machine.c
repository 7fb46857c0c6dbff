/* SPDX-License-Identifier: MIT */
/*
 * Calls about the machine: version, status, counters, log. Answers go to a page of the caller's own.
 */
#include "guest_platform.h"
#include "hypercalls.h"

enum bulkhead_error hypercalls_version(const uint64_t *arguments, uint64_t *value)
{
	(void)arguments;
	*value = BULKHEAD_ABI_VERSION;
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

enum bulkhead_error hypercalls_status(const uint64_t *arguments, uint64_t *value)
{
	struct core_locked held = core_lock();
	struct bulkhead_status *status = ownership_service_page(held, phys_at(arguments[0]));

	(void)value;
	if (status)
		describe(status);
	core_unlock(held);
	return status ? BULKHEAD_OK : BULKHEAD_NOT_OWNED;
}

enum bulkhead_error hypercalls_stats(const uint64_t *arguments, uint64_t *value)
{
	uint64_t processor = arguments[1];
	struct bulkhead_stats *stats;
	struct core_locked held;

	(void)value;
	if (processor >= arch_processor_count())
		return BULKHEAD_INVALID;
	held = core_lock();
	stats = ownership_service_page(held, phys_at(arguments[0]));
	if (stats) {
		*stats = core.stats[processor];
		stats->processor = (uint32_t)processor;
		stats->exit_count = BULKHEAD_EXIT_COUNT;
		stats->call_count = BULKHEAD_CALL_COUNT;
	}
	core_unlock(held);
	return stats ? BULKHEAD_OK : BULKHEAD_NOT_OWNED;
}

enum bulkhead_error hypercalls_log_read(const uint64_t *arguments, uint64_t *value)
{
	struct core_locked held = core_lock();
	struct bulkhead_log *answer = ownership_service_page(held, phys_at(arguments[0]));

	if (answer)
		*value = log_read(&core.log, arguments[1], answer);
	core_unlock(held);
	return answer ? BULKHEAD_OK : BULKHEAD_NOT_OWNED;
}
