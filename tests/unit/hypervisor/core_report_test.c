/* SPDX-License-Identifier: MIT */
/*
 * What the core says: status, counters, log, and its answer to unknown calls.
 */
#include "core_fixture.h"

static void status_names_machine_and_guests(void **state)
{
	uint64_t handle = make_guest();
	struct bulkhead_status *status = arch_page(phys_at(PAGE(300)));

	(void)state;
	core_add_facts(BULKHEAD_FACT_UEFI);
	assert_int_equal(call_all(BULKHEAD_CALL_GUEST_DONATE, handle, PAGE(0), 0, 3), BULKHEAD_OK);
	assert_int_equal(call(BULKHEAD_CALL_STATUS, PAGE(300), 0, 0, 0), BULKHEAD_OK);
	assert_int_equal(status->abi_version, BULKHEAD_ABI_VERSION);
	assert_string_equal(status->build_id, "test");
	assert_string_equal(status->back_end, "fake");
	assert_int_equal(status->facts, BULKHEAD_FACT_UEFI);
	assert_int_equal(status->processor_count, 2);
	assert_int_equal(status->vcpu_pages, 1 + FAKE_VCPU_PAGES);
	assert_int_equal(status->memory_pages, FAKE_RAM_BYTES / PAGE_BYTES);
	assert_int_equal(status->hypervisor_pages, FAKE_OWN_BYTES / PAGE_BYTES);
	assert_int_equal(status->guest_pages, 3);
	assert_int_equal(status->guests[0].handle, handle);
	assert_int_equal(status->guests[0].state, BULKHEAD_GUEST_LOADING);
	assert_int_equal(status->guests[0].memory_pages, 3);
	assert_int_equal(status->guests[0].vcpu_count, 1);
	assert_int_equal(status->guests[0].table_pages + status->guests[0].spare_pages, 13);
	assert_int_equal(status->guests[1].handle, 0);
	core.build_id = "a build id that is much longer than the field that has to hold it, and more";
	core.back_end = NULL;
	assert_int_equal(call(BULKHEAD_CALL_STATUS, PAGE(300), 0, 0, 0), BULKHEAD_OK);
	assert_int_equal(strlen(status->build_id), sizeof(status->build_id) - 1);
	assert_string_equal(status->back_end, "");
	assert_int_equal(call(BULKHEAD_CALL_STATUS, PAGE(300) + 8, 0, 0, 0), BULKHEAD_NOT_OWNED);
}

static void calls_are_counted_and_timed_for_each_processor(void **state)
{
	struct bulkhead_stats *stats = arch_page(phys_at(PAGE(300)));
	uint64_t value;

	(void)state;
	assert_int_equal(call2(BULKHEAD_CALL_VERSION, 0, 0, &value), BULKHEAD_OK);
	assert_int_equal(value, BULKHEAD_ABI_VERSION);
	fake_processor = 1;
	assert_int_equal(call(BULKHEAD_CALL_VERSION, 0, 0, 0, 0), BULKHEAD_OK);
	core_count_exit(BULKHEAD_EXIT_CPUID);
	assert_int_equal(call(BULKHEAD_CALL_VERSION, 0, 0, 0, 1), BULKHEAD_INVALID);
	assert_int_equal(call(BULKHEAD_CALL_STATS, PAGE(300), 2, 0, 0), BULKHEAD_INVALID);
	assert_int_equal(call(BULKHEAD_CALL_STATS, FAKE_OWN_BASE, 1, 0, 0), BULKHEAD_NOT_OWNED);
	assert_int_equal(call(BULKHEAD_CALL_STATS, PAGE(300), 1, 0, 0), BULKHEAD_OK);
	assert_int_equal(stats->processor, 1);
	assert_int_equal(stats->exits[BULKHEAD_EXIT_CPUID], 1);
	assert_int_equal(stats->calls[BULKHEAD_CALL_VERSION].count, 2);
	assert_int_equal(stats->calls[BULKHEAD_CALL_VERSION].worst_cycles, 7);
	assert_int_equal(call(BULKHEAD_CALL_STATS, PAGE(300), 0, 0, 0), BULKHEAD_OK);
	assert_int_equal(stats->calls[BULKHEAD_CALL_VERSION].count, 1);
	assert_int_equal(stats->exits[BULKHEAD_EXIT_CPUID], 0);
}

static void unknown_calls_are_refused(void **state)
{
	(void)state;
	for (uint64_t number = 0; number < 2 * BULKHEAD_CALL_COUNT; number++)
		assert_int_equal(call(number, 0, 0, 0, 0) == BULKHEAD_UNKNOWN_CALL, !call_is_known(number));
	assert_int_equal(call(1ull << 40, 0, 0, 0, 0), BULKHEAD_UNKNOWN_CALL);
}

static void log_keeps_what_was_asked_for_and_says_what_it_lost(void **state)
{
	struct bulkhead_log *answer = arch_page(phys_at(PAGE(300)));
	const char *expected = "<error> test: a 1 b 1f c 18446744073709551615 d abc e 100% f z\n";
	char endless[600] = { 0 };
	uint64_t next;

	(void)state;
	log_line(&core.log, LOG_INFO, "test", "too fine");
	assert_int_equal(core.log.written, 0);
	log_line(&core.log, LOG_ERROR, "test", "a %u b %x c %lu d %lx e 100%% f %s", 1u, 0x1fu,
		 ~0ul, 0xabcul, "z");
	assert_string_equal(fake_console, expected);
	assert_int_equal(call2(BULKHEAD_CALL_LOG_READ, PAGE(300), 0, &next), BULKHEAD_OK);
	assert_int_equal(next, strlen(expected));
	assert_int_equal(answer->size_bytes, next);
	assert_int_equal(answer->first, 0);
	assert_memory_equal(answer->text, expected, next);
	/* What the machine's units have to say comes into it first. */
	assert_int_equal(fake_counters.event_readings, 1);
	assert_int_equal(call2(BULKHEAD_CALL_LOG_READ, PAGE(300), next + 500, &next), BULKHEAD_OK);
	assert_int_equal(answer->size_bytes, 0);
	assert_int_equal(next, strlen(expected));
	log_set_level(&core.log, LOG_INFO);
	memset(endless, 'x', sizeof(endless) - 1);
	for (int i = 0; i < 400; i++)
		log_line(&core.log, LOG_INFO, "test",
			 "a long line, longer than a line may be: %s", endless);
	assert_int_equal(core.log.written, strlen(expected) + 400 * 256);
	assert_int_equal(call2(BULKHEAD_CALL_LOG_READ, PAGE(300), 0, &next), BULKHEAD_OK);
	assert_int_equal(answer->first, core.log.written - LOG_RING_BYTES);
	assert_int_equal(answer->size_bytes, BULKHEAD_LOG_TEXT_BYTES);
	assert_int_equal(next, answer->first + BULKHEAD_LOG_TEXT_BYTES);
	assert_int_equal(call2(BULKHEAD_CALL_LOG_READ, FAKE_OWN_BASE, 0, &next), BULKHEAD_NOT_OWNED);
	{
		const char *volatile odd = "ends in %";

		/* Not a literal, or the compiler would refuse what is to be survived. */
		_Pragma("GCC diagnostic push") _Pragma("GCC diagnostic ignored \"-Wformat-nonliteral\"")
		_Pragma("GCC diagnostic ignored \"-Wformat-security\"")
		log_line(&core.log, LOG_INFO, "test", odd);
		_Pragma("GCC diagnostic pop")
	}
	assert_int_equal(call2(BULKHEAD_CALL_LOG_READ, PAGE(300), core.log.written - 3, &next),
			 BULKHEAD_OK);
	assert_memory_equal(answer->text, " %\n", 3);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		TEST(status_names_machine_and_guests),
		TEST(calls_are_counted_and_timed_for_each_processor),
		TEST(unknown_calls_are_refused),
		TEST(log_keeps_what_was_asked_for_and_says_what_it_lost),
	};

	return cmocka_run_group_tests_name("core-report", tests, NULL, NULL);
}
