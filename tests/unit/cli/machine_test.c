/*
 * What `bulkhead status`, `stats` and `capabilities` make of given answers and facts.
 */
#include "capabilities.h"
#include "machine.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

/* The framework wants a table of commands; these tests call the functions beneath it. */
const struct cli_group cli_groups[] = {{0}};

static bool has_key(const json_t *points, const char *key)
{
	size_t index;
	json_t *entry;

	json_array_foreach(points, index, entry)
		if (strcmp(json_string_value(json_object_get(entry, "key")), key) == 0)
			return true;
	return false;
}

static struct bulkhead_status some_status(uint64_t facts)
{
	struct bulkhead_status status = {.facts = facts, .processor_count = 2, .memory_pages = 1000};

	strcpy(status.build_id, "build");
	strcpy(status.back_end, "svm");
	return status;
}

static void status_names_uncontained_dma_as_not_protected(void **state)
{
	struct bulkhead_status status = some_status(BULKHEAD_FACT_UEFI);
	json_t *report = status_describe(&status);

	assert_non_null(report);
	assert_true(has_key(json_object_get(report, "unprotected"), "dma_contained"));
	assert_false(has_key(json_object_get(report, "protected"), "dma_contained"));
	json_decref(report);
}

static void status_does_not_tell_to_enable_an_iommu_that_is_on(void **state)
{
	struct bulkhead_status status = some_status(BULKHEAD_FACT_DMA_CONTAINED);
	json_t *report = status_describe(&status), *entry;
	size_t index;
	int seen = 0;

	json_array_foreach(json_object_get(report, "unprotected"), index, entry) {
		const char *remedy = json_string_value(json_object_get(entry, "remedy"));

		if (strcmp(json_string_value(json_object_get(entry, "key")), "interrupts_checked") != 0)
			continue;
		assert_null(strstr(remedy, "enable the IOMMU"));
		seen++;
	}
	assert_int_equal(seen, 1);
	json_decref(report);
}

static void status_never_claims_that_guests_disks_are_protected(void **state)
{
	struct bulkhead_status status = some_status(~0ull);
	json_t *report = status_describe(&status);

	assert_true(has_key(json_object_get(report, "unprotected"), "devices_content"));
	assert_true(has_key(json_object_get(report, "protected"), "dma_contained"));
	assert_true(has_key(json_object_get(report, "unprotected"), "policy"));
	assert_int_equal(json_array_size(json_object_get(report, "unprotected")), 2);
	json_decref(report);
}

static void status_lists_used_guest_slots_only(void **state)
{
	struct bulkhead_status status = some_status(0);
	json_t *report, *guest;

	status.guests[7] = (struct bulkhead_guest_status){
		.handle = 0x107, .state = BULKHEAD_GUEST_SEALED, .is_protected = 1, .vcpu_count = 2, .memory_pages = 256};
	report = status_describe(&status);
	assert_int_equal(json_array_size(json_object_get(report, "guests")), 1);
	guest = json_array_get(json_object_get(report, "guests"), 0);
	assert_string_equal(json_string_value(json_object_get(guest, "state")), "ready");
	assert_int_equal(json_integer_value(json_object_get(guest, "memory_bytes")), 1 << 20);
	json_decref(report);
}

static void status_refuses_text_that_is_not_utf8(void **state)
{
	struct bulkhead_status status = some_status(0);

	status.build_id[0] = (char)0xff;
	assert_null(status_describe(&status));
}

static void stats_name_every_exit_reason_and_call(void **state)
{
	struct bulkhead_stats stats[2] = {0};
	json_t *report;

	stats[1].exits[BULKHEAD_EXIT_APIC] = 5;
	stats[0].calls[BULKHEAD_CALL_VCPU_RUN] = (struct bulkhead_call_stats){3, 100};
	stats[1].calls[BULKHEAD_CALL_VCPU_RUN] = (struct bulkhead_call_stats){4, 900};
	report = stats_describe(stats, 2);
	assert_int_equal(json_object_size(json_object_get(report, "exits")), BULKHEAD_EXIT_COUNT);
	assert_int_equal(json_integer_value(json_array_get(
				 json_object_get(json_object_get(report, "exits"), "apic"), 1)), 5);
	for (size_t i = 0; i < json_array_size(json_object_get(report, "calls")); i++) {
		json_t *call = json_array_get(json_object_get(report, "calls"), i);

		if (strcmp(json_string_value(json_object_get(call, "call")), "vcpu_run") != 0)
			continue;
		assert_int_equal(json_integer_value(json_object_get(call, "count")), 7);
		assert_int_equal(json_integer_value(json_object_get(call, "worst_cycles")), 900);
	}
	json_decref(report);
}

static void stats_of_an_interval_are_differences(void **state)
{
	struct bulkhead_stats before = {.flushes = 1}, after = {.flushes = 4};

	before.exits[BULKHEAD_EXIT_MSR] = 10;
	after.exits[BULKHEAD_EXIT_MSR] = 25;
	stats_subtract(&after, &before, 1);
	assert_int_equal(after.exits[BULKHEAD_EXIT_MSR], 15);
	assert_int_equal(after.flushes, 3);
}

static struct facts good_facts(void)
{
	return (struct facts){.has_svm = true, .has_npt = true, .svm_locked = FACTS_NO, .memory_bytes = 16ull << 30,
			      .iommu = "amd", .uefi = true, .secure_boot = FACTS_YES, .tpm_major = 2};
}

/** Asserts that judging @facts gives @verdict for @key, and a remedy unless it is good. */
static void assert_verdict(const struct facts *facts, const char *key, const char *verdict, bool suffices)
{
	json_t *verdicts = capabilities_judge(facts);
	size_t index;
	json_t *entry;
	bool found = false;

	json_array_foreach(verdicts, index, entry) {
		if (strcmp(json_string_value(json_object_get(entry, "key")), key) != 0)
			continue;
		found = true;
		assert_string_equal(json_string_value(json_object_get(entry, "verdict")), verdict);
		assert_int_equal(json_object_get(entry, "remedy") != NULL, strcmp(verdict, "good") != 0);
	}
	assert_true(found);
	assert_int_equal(capabilities_suffice(verdicts), suffices);
	json_decref(verdicts);
}

static void a_complete_machine_can_run_bulkhead(void **state)
{
	struct facts facts = good_facts();
	json_t *verdicts = capabilities_judge(&facts);
	size_t index;
	json_t *entry;

	json_array_foreach(verdicts, index, entry)
		assert_string_equal(json_string_value(json_object_get(entry, "verdict")), "good");
	json_decref(verdicts);
}

static void what_is_missing_is_named(void **state)
{
	struct facts facts;

	facts = good_facts(), facts.has_svm = false;
	assert_verdict(&facts, "processor", "missing", false);
	facts = good_facts(), facts.has_npt = false;
	assert_verdict(&facts, "nested_paging", "missing", false);
	facts = good_facts(), facts.svm_locked = FACTS_YES;
	assert_verdict(&facts, "svm_unlocked", "missing", false);
	facts = good_facts(), facts.memory_bytes = 512ull << 20;
	assert_verdict(&facts, "memory", "missing", false);
}

static void what_only_weakens_does_not_forbid(void **state)
{
	struct facts facts;

	facts = good_facts(), facts.iommu[0] = 0;
	assert_verdict(&facts, "iommu", "weak", true);
	facts = good_facts(), strcpy(facts.iommu, "intel");
	assert_verdict(&facts, "iommu", "weak", true);
	facts = good_facts(), facts.tpm_major = 0;
	assert_verdict(&facts, "tpm", "weak", true);
	facts = good_facts(), facts.secure_boot = FACTS_UNKNOWN;
	assert_verdict(&facts, "secure_boot", "unknown", true);
	facts = good_facts(), facts.uefi = false;
	assert_verdict(&facts, "firmware", "weak", true);
	facts = good_facts(), facts.svm_locked = FACTS_UNKNOWN;
	assert_verdict(&facts, "svm_unlocked", "unknown", true);
}

static void put(const char *root, const char *path, const void *data, size_t size)
{
	char full[512];
	FILE *file;

	snprintf(full, sizeof(full), "%s%s", root, path);
	for (char *slash = full + strlen(root) + 1; (slash = strchr(slash, '/')); slash++) {
		*slash = 0;
		mkdir(full, 0755);
		*slash = '/';
	}
	file = fopen(full, "wb");
	assert_non_null(file);
	assert_int_equal(fwrite(data, 1, size, file), size);
	fclose(file);
}

static void facts_come_from_the_files_linux_offers(void **state)
{
	char root[] = "/tmp/bulkhead-facts-XXXXXX", command[64];
	const char meminfo[] = "MemTotal:        8000000 kB\nMemFree: 1 kB\n";
	struct facts facts;

	assert_non_null(mkdtemp(root));
	put(root, "/proc/meminfo", meminfo, strlen(meminfo));
	put(root, "/sys/firmware/acpi/tables/IVRS", "IVRS", 4);
	put(root, "/sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c", "\6\0\0\0\1", 5);
	put(root, "/sys/class/tpm/tpm0/tpm_version_major", "2\n", 2);
	put(root, "/sys/class/dmi/id/product_name", "Lap\033top\nsecond line", 19);
	facts_collect(&facts, root);
	assert_int_equal(facts.memory_bytes, 8000000ull * 1024);
	assert_string_equal(facts.iommu, "amd");
	assert_int_equal(facts.secure_boot, FACTS_YES);
	assert_int_equal(facts.tpm_major, 2);
	assert_true(facts.uefi);
	assert_string_equal(facts.product, "Lap?top");
	assert_false(facts.iommu_in_use);
	snprintf(command, sizeof(command), "rm -r %s", root);
	assert_int_equal(system(command), 0);
}

static void an_empty_machine_gives_unknown_answers(void **state)
{
	struct facts facts;
	json_t *described;

	facts_collect(&facts, "/nonexistent");
	assert_int_equal(facts.memory_bytes, 0);
	assert_int_equal(facts.svm_locked, FACTS_UNKNOWN);
	assert_false(facts.uefi);
	described = facts_describe(&facts);
	assert_true(json_is_null(json_object_get(described, "svm_locked_by_firmware")));
	json_decref(described);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(status_names_uncontained_dma_as_not_protected),
		cmocka_unit_test(status_does_not_tell_to_enable_an_iommu_that_is_on),
		cmocka_unit_test(status_never_claims_that_guests_disks_are_protected),
		cmocka_unit_test(status_lists_used_guest_slots_only),
		cmocka_unit_test(status_refuses_text_that_is_not_utf8),
		cmocka_unit_test(stats_name_every_exit_reason_and_call),
		cmocka_unit_test(stats_of_an_interval_are_differences),
		cmocka_unit_test(a_complete_machine_can_run_bulkhead),
		cmocka_unit_test(what_is_missing_is_named),
		cmocka_unit_test(what_only_weakens_does_not_forbid),
		cmocka_unit_test(facts_come_from_the_files_linux_offers),
		cmocka_unit_test(an_empty_machine_gives_unknown_answers),
	};

	return cmocka_run_group_tests_name("cli_machine", tests, NULL, NULL);
}
