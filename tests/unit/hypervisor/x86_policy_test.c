/* SPDX-License-Identifier: MIT */
/*
 * What the service domain may write: APIC, MSRs, CPUID, ports, event timers, sleep.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include <bulkhead/hypercall.h>

#include "apic_policy.h"
#include "cpuid_policy.h"
#include "memory_fault.h"
#include "msr_policy.h"
#include "port_policy.h"
#include "sleep_type.h"

#define LEVEL_ASSERT (1u << 14 | 1u << 15)

static void ordinary_interrupts_pass(void **state)
{
	(void)state;
	assert_true(apic_command_decode(0xfe, 3u << 24).is_passed);
	assert_true(apic_command_decode(1u << 8 | 0x31, 0).is_passed);
	assert_true(apic_command_decode(3u << 18 | 0xf0, 0).is_passed);
}

static void restarting_messages_never_reach_the_hardware(void **state)
{
	struct apic_command command = apic_command_decode(5u << 8 | LEVEL_ASSERT, 2u << 24);

	(void)state;
	assert_false(command.is_passed);
	assert_true(command.is_init);
	assert_int_equal(command.targets, APIC_ONE);
	assert_int_equal(command.apic_id, 2);
	command = apic_command_decode(6u << 8 | 0x9a, 2u << 24);
	assert_false(command.is_passed);
	assert_false(command.is_init || command.is_nmi);
	assert_int_equal(command.vector, 0x9a);
	assert_int_equal(apic_command_decode(3u << 18 | 5u << 8 | 1u << 14, 0).targets, APIC_OTHERS);
}

static void every_other_delivery_mode_is_dropped(void **state)
{
	static const uint32_t modes[] = { APIC_SMI, 3, APIC_EXTINT };

	(void)state;
	for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++)
		for (uint32_t shorthand = 0; shorthand < 4; shorthand++) {
			struct apic_command command =
				apic_command_decode(modes[i] << 8 | shorthand << 18 | 1u << 14, 1u << 24);

			assert_false(command.is_passed);
			assert_int_equal(command.targets, APIC_NOBODY);
		}
	/* The end of a level-triggered INIT restarts nobody. */
	assert_int_equal(apic_command_decode(5u << 8 | 1u << 15, 1u << 24).targets, APIC_NOBODY);
}

static void logical_destinations_follow_their_format(void **state)
{
	(void)state;
	assert_true(apic_is_addressed(0x06, 0x02u << 24, ~0u));
	assert_false(apic_is_addressed(0x05, 0x02u << 24, ~0u));
	assert_true(apic_is_addressed(0x23, 0x22u << 24, 0x0fffffff));
	assert_false(apic_is_addressed(0x13, 0x22u << 24, 0x0fffffff));
	assert_true(apic_is_addressed(0xff, 0x22u << 24, 0x0fffffff));
}

static void writes_beside_the_registers_are_dropped(void **state)
{
	(void)state;
	for (uint32_t offset = 0x1000; offset < 0x100000; offset += 0x10)
		assert_int_equal(apic_write_verdict(offset, 0x500), APIC_DROP);
	for (uint32_t offset = 0; offset < 0x10; offset++)
		assert_int_equal(apic_write_verdict(offset, 0x500), APIC_DROP);
	assert_int_equal(apic_write_verdict(APIC_ID, 0), APIC_DROP);
	assert_int_equal(apic_write_verdict(APIC_ICR_LOW, 0), APIC_COMMAND);
	assert_int_equal(apic_write_verdict(0xb0, 0), APIC_PASS);
}

static void local_interrupts_cannot_be_init_or_smi(void **state)
{
	(void)state;
	for (uint32_t offset = 0x320; offset <= 0x370; offset += 0x10) {
		assert_int_equal(apic_write_verdict(offset, APIC_INIT << 8), APIC_DROP);
		assert_int_equal(apic_write_verdict(offset, APIC_SMI << 8), APIC_DROP);
		assert_int_equal(apic_write_verdict(offset, APIC_NMI << 8), APIC_PASS);
		assert_int_equal(apic_write_verdict(offset, 0xec), APIC_PASS);
	}
}

static uint8_t write_action(uint32_t msr)
{
	return msr_rule_find(msr)->write;
}

static void virtualization_is_hidden_and_denied(void **state)
{
	(void)state;
	assert_int_equal(msr_rule_find(0xc0010117)->read, MSR_DENY); /* VM_HSAVE_PA */
	assert_int_equal(write_action(0xc0010117), MSR_DENY);
	assert_int_equal(write_action(0xc0010114), MSR_DENY); /* VM_CR */
	assert_int_equal(write_action(0xc0000080), MSR_EXTENDED);
	assert_false(msr_efer_is_valid(0x1d01, 0x1d01, CR0_PG)); /* SVME */
	assert_true(msr_efer_is_valid(0xd01, 0x1d01, CR0_PG));
	assert_false(msr_efer_is_valid(0xc01, 0x1d01, CR0_PG)); /* LME while paging */
	assert_true(msr_efer_merge(0x901, 0x1d01) == 0x1d01);
}

static void memory_cannot_be_moved_or_retyped(void **state)
{
	static const uint32_t same[] = { 0x1b,	     0x200,	 0x20f,	     0x250,	 0x26f,
					 0xc0010010, 0xc0010016, 0xc0010019, 0xc001001a, 0xc001001d,
					 0xc0010058 };
	uint64_t result;

	(void)state;
	for (size_t i = 0; i < sizeof(same) / sizeof(same[0]); i++)
		assert_int_equal(write_action(same[i]), MSR_SAME);
	assert_true(msr_write_value(MSR_SAME, 7, 7, &result));
	assert_false(msr_write_value(MSR_SAME, 7, 6, &result));
	assert_true(msr_write_value(MSR_IGNORE, 0, 0xc06, &result));
	assert_true(result == 0xc06);
	for (uint32_t msr = 0xc0010111; msr <= 0xc0010113; msr++)
		assert_int_equal(write_action(msr), MSR_DENY); /* SMM's base, address, mask */
}

static void unknown_msrs_are_denied(void **state)
{
	static const uint32_t msrs[] = { 2, 0x3a, 0x480, 0x830, 0xc0000104, 0xc000010e, 0xc0011030,
					 0xc001103a, 0xc001011b, 0xc0010118, 0x4b564d00, 0xffffffff };

	(void)state;
	for (size_t i = 0; i < sizeof(msrs) / sizeof(msrs[0]); i++) {
		assert_int_equal(msr_rule_find(msrs[i])->read, MSR_DENY);
		assert_int_equal(msr_rule_find(msrs[i])->write, MSR_DENY);
	}
}

static void the_rules_of_msrs_are_sorted(void **state)
{
	const struct msr_rule *last = NULL;

	(void)state;
	for (uint32_t msr = 0; msr < 0x2000; msr++)
		if (msr_rule_find(msr)->first <= msr && msr_rule_find(msr)->last != ~0u) {
			assert_true(!last || last->first <= msr_rule_find(msr)->first);
			last = msr_rule_find(msr);
		}
	assert_non_null(last);
}

static void counters_count_outside_the_hypervisor_only(void **state)
{
	uint64_t result;

	(void)state;
	assert_int_equal(write_action(0xc0010200), MSR_COUNTER);
	assert_int_equal(write_action(0xc0010000), MSR_COUNTER);
	assert_true(msr_write_value(MSR_COUNTER, 3ull << 40 | 0x530076, 0, &result));
	assert_true(result == (1ull << 40 | 0x530076));
	assert_false(msr_write_value(MSR_DEBUG, 1, 0, &result)); /* last branch records */
	assert_true(msr_write_value(MSR_DEBUG, 2, 0, &result));
	assert_false(msr_write_value(MSR_HARDWARE, 1, 0, &result)); /* SMMLOCK */
	assert_true(msr_write_value(MSR_HARDWARE, 1u << 30, 0, &result));
}

static void cpuid_hides_what_is_ours(void **state)
{
	const struct cpuid all = { ~0u, ~0u, ~0u, ~0u };

	(void)state;
	assert_int_equal(cpuid_policy_apply(0x80000001, 0, 0, all).ecx & 1u << 2, 0);
	assert_int_equal(cpuid_policy_apply(0x80000001, 0, 0, all).ecx & 1u << 10, 0); /* IBS */
	assert_int_equal(cpuid_policy_apply(0x8000000a, 0, 0, all).edx, 0);
	assert_int_equal(cpuid_policy_apply(1, 0, 0, all).ecx & 1u << 5, 0); /* VMX */
	assert_int_equal(cpuid_policy_apply(0x8fffffff, 0, 0, all).eax, 0);
	assert_int_equal(cpuid_policy_apply(0x21, 0, 0, all).eax, 0);
}

static void cpuid_mirrors_the_askers_cr4(void **state)
{
	const struct cpuid none = { 0 }, all = { ~0u, ~0u, ~0u, ~0u };

	(void)state;
	assert_int_equal(cpuid_policy_apply(1, 0, CR4_OSXSAVE, none).ecx, 1u << 27);
	assert_int_equal(cpuid_policy_apply(1, 0, 0, all).ecx & 1u << 27, 0);
	assert_int_equal(cpuid_policy_apply(7, 0, CR4_PKE, none).ecx, 1u << 4);
	assert_int_equal(cpuid_policy_apply(7, 0, 0, all).ecx & 1u << 4, 0);
}

static void the_hypervisor_has_a_leaf_of_its_own(void **state)
{
	struct cpuid answer = cpuid_policy_apply(BULKHEAD_CPUID_BASE, 0, 0, (struct cpuid){ 0 });

	(void)state;
	assert_int_equal(answer.eax, BULKHEAD_CPUID_LAST);
	assert_int_equal(answer.ebx, BULKHEAD_CPUID_EBX);
	assert_int_equal(cpuid_policy_apply(BULKHEAD_CPUID_LAST, 0, 0, (struct cpuid){ 0 }).eax,
			 BULKHEAD_ABI_VERSION);
}

static void dangerous_ports_do_not_pass(void **state)
{
	static const uint16_t ports[] = { 0x00, 0x0f, 0x7e, 0x81, 0x8f, 0x92, 0xb2, 0xc0, 0xdf,
					  0x510, 0x514, 0x51b, 0x630, 0xa00, 0xcc0, 0xcd6, 0xcd8,
					  0xcf8, 0xcf9, 0xcfc, 0x60, 0x64 };

	(void)state;
	port_policy_set(&(struct port_layout){ 0 });
	for (size_t i = 0; i < sizeof(ports) / sizeof(ports[0]); i++)
		assert_false(port_policy_passes(ports[i]));
	assert_true(port_policy_passes(0x3f8));
	assert_true(port_policy_passes(0x80));
	assert_true(port_policy_passes(0xc000));
}

static void power_ports_follow_acpi(void **state)
{
	const struct port_layout layout = { .pm1a_event = 0x600, .pm1a_control = 0x604,
					    .pm_timer = 0x608, .gpe0 = 0x620, .gpe0_bytes = 16,
					    .smi_command = 0xb2 };

	(void)state;
	port_policy_set(&layout);
	assert_true(port_policy_passes(0x600));
	assert_int_equal(port_policy_rule(0x604), PORT_PM_CONTROL);
	assert_int_equal(port_policy_rule(0x605), PORT_PM_CONTROL);
	assert_true(port_policy_passes(0x608));
	assert_true(port_policy_passes(0x62f));
	assert_int_equal(port_policy_rule(0x630), PORT_DENY); /* SMI enable */
	assert_int_equal(port_policy_rule(0xb2), PORT_SMI_COMMAND);
	port_policy_set(&(struct port_layout){ .pm1a_control = 0x1804 });
	assert_int_equal(port_policy_rule(0x1805), PORT_PM_CONTROL);
	port_policy_set(&(struct port_layout){ 0 });
}

static void overflowed_counter_is_told_from_a_running_one(void **state)
{
	const uint64_t on = 1ull << 22 | 1ull << 20, below_zero = 0xffffffff0000, past_zero = 3;

	(void)state;
	assert_true(msr_counter_has_overflowed(on | 0x76, past_zero));
	assert_false(msr_counter_has_overflowed(on | 0x76, below_zero));
	assert_false(msr_counter_has_overflowed(1ull << 22, past_zero));
	assert_false(msr_counter_has_overflowed(1ull << 20, past_zero));
	assert_false(msr_counter_has_overflowed(0, 0));
}

static void event_timers_send_no_messages(void **state)
{
	uint64_t value = 1ull << 14 | 4;

	(void)state;
	assert_true(hpet_write_filter(0x100, 8, &value));
	assert_true(value == 4);
	assert_true(hpet_write_filter(0x108, 4, &value));
	for (uint32_t offset = 0x110; offset < 0x120; offset += 4)
		assert_false(hpet_write_filter(offset, 4, &value));
	assert_false(hpet_write_filter(0x101, 1, &value));
	assert_false(hpet_write_filter(0x104 + 2, 4, &value));
	assert_true(hpet_write_filter(0x10, 8, &value));
}

static void power_off_is_found_in_aml(void **state)
{
	const uint8_t zero[] = { 8, '_', 'S', '5', '_', 0x12, 6, 4, 0, 0, 0, 0, 0 };
	const uint8_t five[] = { 8, '_', 'S', '5', '_', 0x12, 8, 4, 0x0a, 5, 0x0a, 5, 0, 0 };
	const uint8_t big[] = { '_', 'S', '5', '_', 0x12, 0x48, 1, 4, 0x0a, 7, 0, 0, 0 };

	(void)state;
	assert_int_equal(sleep_type_of_off(zero, sizeof(zero)), 0);
	assert_int_equal(sleep_type_of_off(five, sizeof(five)), 5);
	assert_int_equal(sleep_type_of_off(big, sizeof(big)), 7);
	for (size_t size = 0; size < 9; size++)
		assert_int_equal(sleep_type_of_off(five, size), -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ordinary_interrupts_pass),
		cmocka_unit_test(restarting_messages_never_reach_the_hardware),
		cmocka_unit_test(every_other_delivery_mode_is_dropped),
		cmocka_unit_test(logical_destinations_follow_their_format),
		cmocka_unit_test(writes_beside_the_registers_are_dropped),
		cmocka_unit_test(local_interrupts_cannot_be_init_or_smi),
		cmocka_unit_test(virtualization_is_hidden_and_denied),
		cmocka_unit_test(memory_cannot_be_moved_or_retyped),
		cmocka_unit_test(unknown_msrs_are_denied),
		cmocka_unit_test(the_rules_of_msrs_are_sorted),
		cmocka_unit_test(counters_count_outside_the_hypervisor_only),
		cmocka_unit_test(overflowed_counter_is_told_from_a_running_one),
		cmocka_unit_test(cpuid_hides_what_is_ours),
		cmocka_unit_test(cpuid_mirrors_the_askers_cr4),
		cmocka_unit_test(the_hypervisor_has_a_leaf_of_its_own),
		cmocka_unit_test(dangerous_ports_do_not_pass),
		cmocka_unit_test(power_ports_follow_acpi),
		cmocka_unit_test(event_timers_send_no_messages),
		cmocka_unit_test(power_off_is_found_in_aml),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
