/* SPDX-License-Identifier: MIT */
/*
 * What a guest's processor is allowed to be.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include "guest_policy.h"

static const struct cpuid everything = { ~0u, ~0u, ~0u, ~0u };

static const struct guest_kind plain = { .index = 0, .vcpu_count = 1 };
static const struct guest_kind plain3 = { .index = 3, .vcpu_count = 4 };
static const struct guest_kind platform = { .index = 1, .vcpu_count = 2, .has_platform = true };

static void a_platform_adds_its_interrupts_and_clock(void **state)
{
	struct cpuid one = guest_policy_cpuid(1, &platform, everything);
	struct cpuid kvm = guest_policy_cpuid(0x40000000, &platform, everything);

	(void)state;
	assert_true(one.ecx & 1u << 21);
	assert_true(one.ecx & 1u << 24);
	assert_true(one.edx & 1u << 9);
	assert_true(one.edx & 1u << 28);
	assert_int_equal(one.ebx >> 16, 0x102);
	assert_false(one.ecx & 1u << 27); /* OSXSAVE: it has not switched it on */
	assert_memory_equal(&kvm.ebx, "KVMKVMKVM\0\0\0", 12);
	assert_int_equal(guest_policy_cpuid(0x40000001, &platform, everything).eax, 0x100000a);
	assert_int_equal(guest_policy_cpuid(0x40000001, &plain, everything).eax, 0);
	assert_int_equal(guest_policy_cpuid(0x80000008, &platform, everything).ecx, 0x4001);
	assert_false(guest_policy_cpuid(1, &plain, everything).edx & 1u << 28);
}

static void only_registers_without_effect_are_read_everywhere(void **state)
{
	uint64_t value;

	(void)state;
	assert_true(guest_policy_msr(0xc0010015, &value));
	assert_int_equal(value, 1u << 24);
	assert_false(guest_policy_msr(0xc0000080, &value));
	assert_false(guest_policy_msr(0xc0010117, &value));
	assert_false(guest_policy_msr(0xc0010114, &value));
	assert_false(guest_policy_msr(0x277, &value));
	assert_false(guest_policy_msr(0x48, &value));
}

static void cpuid_offers_what_is_isolated_and_nothing_else(void **state)
{
	struct cpuid one = guest_policy_cpuid(1, &plain3, everything);
	struct cpuid seven = guest_policy_cpuid(7, &plain, everything);
	struct cpuid extended = guest_policy_cpuid(0x80000001, &plain, everything);
	struct cpuid none = guest_policy_cpuid(1, &plain, (struct cpuid){ 0 });

	(void)state;
	assert_int_equal(one.ebx >> 24, 3);
	assert_true(one.ecx & 1u << 31); /* a hypervisor */
	assert_false(one.ecx & 1u << 5); /* VMX */
	assert_false(one.ecx & 1u << 3); /* MONITOR */
	assert_false(one.ecx & 1u << 21); /* x2APIC */
	assert_false(one.ecx & 1u << 27); /* OSXSAVE */
	assert_false(one.edx & (1u << 9 | 1u << 12)); /* APIC, MTRR */
	assert_true(one.edx & 1u << 25); /* SSE */
	assert_int_equal(none.ecx, 1u << 31);
	assert_int_equal(none.edx, 0);
	assert_false(seven.ebx & 1u << 16); /* AVX-512 */
	assert_false(extended.ecx & 1u << 2); /* SVM */
	assert_false(extended.edx & 1u << 27); /* RDTSCP: its register is not the guest's own */
	assert_true(extended.edx & 1u << 29);
	assert_int_equal(guest_policy_cpuid(0, &plain, everything).eax, 0xd);
	assert_int_equal(guest_policy_cpuid(0x80000000, &plain, everything).eax, 0x80000008);
	assert_int_equal(guest_policy_cpuid(0x80000008, &plain, everything).eax, 0x3028);
	assert_int_equal(guest_policy_cpuid(0x8000001f, &plain, everything).eax, 0);
	assert_int_equal(guest_policy_cpuid(0x40480000, &plain, everything).ebx, 0);
}

static void extended_state_is_x87_sse_and_avx(void **state)
{
	const struct guest_kind on = { .vcpu_count = 1, .has_xsave_on = true };
	const struct guest_kind first = { .vcpu_count = 1, .subleaf = 1 }, second = { .vcpu_count = 1, .subleaf = 2 };
	const struct guest_kind keys = { .vcpu_count = 1, .subleaf = 9 };
	const struct cpuid no_avx = { 3, 576, 2696, 0 };
	struct cpuid parts = guest_policy_cpuid(0xd, &plain, everything);

	(void)state;
	assert_int_equal(guest_policy_cpuid(1, &plain, everything).ecx & (1u << 26 | 1u << 28), 1u << 26 | 1u << 28);
	assert_int_equal(guest_policy_cpuid(1, &plain, (struct cpuid){ 0 }).ecx & (1u << 26 | 1u << 28), 0);
	assert_true(guest_policy_cpuid(1, &on, everything).ecx & 1u << 27);
	assert_int_equal(parts.eax, 7);
	assert_int_equal(parts.ecx, 832);
	assert_int_equal(parts.edx, 0);
	parts = guest_policy_cpuid(0xd, &plain, no_avx);
	assert_int_equal(parts.eax, 3);
	assert_int_equal(parts.ebx, 576);
	assert_int_equal(parts.ecx, 576);
	assert_int_equal(guest_policy_cpuid(0xd, &first, everything).eax, 5); /* no supervisor's state */
	assert_int_equal(guest_policy_cpuid(0xd, &second, (struct cpuid){ 256, 576, 0, 0 }).ebx, 576);
	assert_int_equal(guest_policy_cpuid(0xd, &keys, everything).eax, 0);
	assert_int_equal(guest_policy_cpuid(7, &first, everything).ebx, 0);
}

static void extended_state_is_switched_on_as_the_processor_allows(void **state)
{
	(void)state;
	assert_true(guest_policy_xcr0(1, 7));
	assert_true(guest_policy_xcr0(3, 7));
	assert_true(guest_policy_xcr0(7, 7));
	assert_true(guest_policy_xcr0(7, ~0u));
	assert_false(guest_policy_xcr0(0, 7));
	assert_false(guest_policy_xcr0(2, 7));
	assert_false(guest_policy_xcr0(5, 7)); /* AVX without SSE */
	assert_false(guest_policy_xcr0(7, 3)); /* no AVX here */
	assert_false(guest_policy_xcr0(7 | 1u << 9, ~0u)); /* protection keys */
	assert_false(guest_policy_xcr0(1ull << 63 | 7, ~0u));
}

static void only_named_ports_reach_the_monitor(void **state)
{
	(void)state;
	assert_true(guest_policy_port(0x3f8, 1));
	assert_true(guest_policy_port(0x3ff, 1));
	assert_false(guest_policy_port(0x3ff, 2));
	assert_false(guest_policy_port(0x400, 1));
	assert_false(guest_policy_port(0x3f7, 2));
	assert_false(guest_policy_port(0x600, 2));
	assert_true(guest_policy_port(0x604, 2));
	assert_false(guest_policy_port(0x604, 4));
	assert_true(guest_policy_port(0x441, 1));
	assert_true(guest_policy_port(0x443, 1));
	assert_false(guest_policy_port(0x442, 2));
	assert_false(guest_policy_port(0xffff, 4));
	assert_false(guest_policy_port(0xcf8, 4));
}

static struct bulkhead_vcpu_state long_mode(void)
{
	return (struct bulkhead_vcpu_state){
		.rflags = 2,
		.cr0 = 0x80000011,
		.cr3 = 0x1000,
		.cr4 = 0x20,
		.efer = 0xd00,
		.pat = 0x0007040600070406ull,
	};
}

static void start_states_are_accepted_only_if_consistent(void **state)
{
	static const struct {
		size_t offset;
		uint64_t value;
	} refused[] = {
		{ offsetof(struct bulkhead_vcpu_state, efer), 0x1d00 },	 /* SVME */
		{ offsetof(struct bulkhead_vcpu_state, efer), 0x900 },	 /* paging, LME, no LMA */
		{ offsetof(struct bulkhead_vcpu_state, efer), 0xc00 },	 /* LMA without LME */
		{ offsetof(struct bulkhead_vcpu_state, cr0), 0x80000010 }, /* paging, real mode */
		{ offsetof(struct bulkhead_vcpu_state, cr0), 0xa0000011 }, /* NW without CD */
		{ offsetof(struct bulkhead_vcpu_state, cr0), 1ull << 32 | 0x80000011 },
		{ offsetof(struct bulkhead_vcpu_state, cr4), 0 },	 /* long mode without PAE */
		{ offsetof(struct bulkhead_vcpu_state, cr4), 0x40020 },	 /* OSXSAVE */
		{ offsetof(struct bulkhead_vcpu_state, cr4), 0x2020 },	 /* VMXE */
		{ offsetof(struct bulkhead_vcpu_state, cr3), 1ull << 52 },
		{ offsetof(struct bulkhead_vcpu_state, rflags), 0 },
		{ offsetof(struct bulkhead_vcpu_state, rflags), 1ull << 32 | 2 },
		{ offsetof(struct bulkhead_vcpu_state, pat), 2 },
		{ offsetof(struct bulkhead_vcpu_state, pat), 0x0800 },
		{ offsetof(struct bulkhead_vcpu_state, gdtr) + 4, 0x10000 },
		{ offsetof(struct bulkhead_vcpu_state, idtr) + 4, 0x10000 },
	};
	struct bulkhead_vcpu_state good = long_mode();

	(void)state;
	assert_true(guest_policy_state(&good));
	good.efer = 0;
	good.cr0 = 0x10;
	assert_true(guest_policy_state(&good));
	for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
		struct bulkhead_vcpu_state bad = long_mode();

		*(uint64_t *)((uint8_t *)&bad + (refused[i].offset & ~7ull)) =
			refused[i].offset & 4 ? refused[i].value << 32 : refused[i].value;
		assert_false(guest_policy_state(&bad));
	}
}

static void efer_keeps_long_mode_while_paging(void **state)
{
	(void)state;
	assert_true(guest_policy_efer(0x100, 0, 0x11));
	assert_false(guest_policy_efer(0x100, 0, 0x80000011));
	assert_true(guest_policy_efer(0x901, 0x1500, 0x80000011));
	assert_false(guest_policy_efer(0x1000, 0, 0x11));
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_platform_adds_its_interrupts_and_clock),
		cmocka_unit_test(only_registers_without_effect_are_read_everywhere),
		cmocka_unit_test(cpuid_offers_what_is_isolated_and_nothing_else),
		cmocka_unit_test(extended_state_is_x87_sse_and_avx),
		cmocka_unit_test(extended_state_is_switched_on_as_the_processor_allows),
		cmocka_unit_test(only_named_ports_reach_the_monitor),
		cmocka_unit_test(start_states_are_accepted_only_if_consistent),
		cmocka_unit_test(efer_keeps_long_mode_while_paging),
	};

	return cmocka_run_group_tests_name("guest-policy", tests, NULL, NULL);
}
