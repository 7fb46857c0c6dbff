/* SPDX-License-Identifier: MIT */
/*
 * The emulated unit: what Linux programs reaches the real unit's tables checked or not at all, and no
 * write keeps the hypervisor busy for long.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "amd/amdvi_unit.h"
#include "fake_amdvi.h"

/* The service domain's memory: what Linux would allocate for the unit. */
#define LINUX	     0x1000000ull
#define LINUX_BYTES  0x300000ull
#define DEVICE_TABLE LINUX
#define RING	     (LINUX + 0x200000)
#define ANSWER	     (LINUX + 0x202000)
#define ENTRIES	     (LINUX + 0x204000)
#define DEVICE	     0x18u
#define VALID	     1u
#define MOST_TURNS   4000u

static struct iommu iommu;
static struct amdvi_unit unit;
static uint8_t *linux_memory;
static uint32_t accesses; /* by the hypervisor, in one write */
static uint32_t tail, turns;

static bool linux_access(uint64_t address, size_t size)
{
	accesses++;
	return address >= LINUX && size <= LINUX_BYTES && address - LINUX <= LINUX_BYTES - size;
}

static bool linux_read(void *context, uint64_t address, void *buffer, size_t size)
{
	if (!linux_access(address, size))
		return false;
	memcpy(buffer, linux_memory + (address - LINUX), size);
	return true;
}

static bool linux_write(void *context, uint64_t address, const void *buffer, size_t size)
{
	if (!linux_access(address, size))
		return false;
	memcpy(linux_memory + (address - LINUX), buffer, size);
	return true;
}

static const struct amdvi_unit_memory memory = {linux_read, linux_write, NULL};

static void put(uint64_t address, uint64_t value, size_t size)
{
	memcpy(linux_memory + (address - LINUX), &value, size);
}

static uint64_t get(uint64_t address)
{
	uint64_t value;

	memcpy(&value, linux_memory + (address - LINUX), 8);
	return value;
}

/* Executes a write as a processor would: into the shared page, or again and again until it is done. */
static void write_wide(uint32_t offset, uint32_t size, uint64_t value)
{
	enum amdvi_unit_result result;

	turns = 0;
	if (offset < AMDVI_UNIT_SHARED_BYTES) {
		memcpy((uint8_t *)unit.window + offset, &value, size);
		return;
	}
	do {
		accesses = 0;
		result = amdvi_unit_write(&unit, offset, size, value);
		assert_int_not_equal(result, AMDVI_UNIT_FAILED);
		assert_in_range(accesses, 0, 64); /* bounded work, whatever is asked */
		assert_in_range(++turns, 1, MOST_TURNS);
	} while (result == AMDVI_UNIT_AGAIN);
}

static void command(uint64_t first, uint64_t second)
{
	put(RING + tail, first, 8);
	put(RING + tail + 8, second, 8);
	tail = (tail + 16) % (16u << 9);
	write_wide(AMDVI_COMMAND_TAIL, 4, tail);
}

static void sync_device(uint16_t device)
{
	command(AMDVI_INVALIDATE_INTERRUPT << 60 | device, 0);
}

static void set_wish(uint16_t device, uint64_t word)
{
	put(DEVICE_TABLE + device * 32u + 16, word, 8);
}

static void set_entry(uint32_t index, uint32_t entry)
{
	put(ENTRIES + index * 4, entry, 4);
}

static uint32_t entry_of(uint32_t type, uint32_t destination, uint32_t vector)
{
	return VALID | type << 2 | destination << 8 | vector << 16;
}

#define WISH (AMDVI_DTE_INT_VALID | 9ull << 1 | AMDVI_DTE_INT_REMAP | ENTRIES)

/* Programs the unit in the order of Linux's driver, base registers in two halves as it writes them. */
static int linux_started(void **state)
{
	struct iommu_memory own = {0};
	struct acpi_ivrs ivrs = {
		.unit_count = 1,
		.units = {{.base = FAKE_BASE}},
	};

	fake_reset();
	free(linux_memory);
	linux_memory = calloc(1, LINUX_BYTES);
	memset(&iommu, 0, sizeof(iommu));
	assert_int_equal(amdvi_find(&iommu, &ivrs), IOMMU_OK);
	own = (struct iommu_memory){fake.memory, FAKE_MEMORY, iommu_memory_bytes(&iommu)};
	assert_int_equal(iommu_start(&iommu, &fake_access, &own, FAKE_MEMORY + 0x700000, 4), IOMMU_OK);
	amdvi_unit_init(&unit, &iommu, 0, &memory);
	tail = 0;
	write_wide(AMDVI_CONTROL, 8, 0);
	write_wide(AMDVI_DEVICE_TABLE, 4, (uint32_t)DEVICE_TABLE | 0x1ff);
	write_wide(AMDVI_DEVICE_TABLE + 4, 4, DEVICE_TABLE >> 32);
	write_wide(AMDVI_COMMAND_BASE, 4, (uint32_t)RING);
	write_wide(AMDVI_COMMAND_BASE + 4, 4, 9u << 24);
	write_wide(AMDVI_COMMAND_HEAD, 4, 0);
	write_wide(AMDVI_COMMAND_TAIL, 4, 0);
	write_wide(AMDVI_CONTROL, 8, AMDVI_CONTROL_COMMANDS);
	write_wide(AMDVI_CONTROL, 8, AMDVI_CONTROL_COMMANDS | AMDVI_CONTROL_ENABLE);
	command(AMDVI_INVALIDATE_ALL << 60, 0);
	return 0;
}

static int fixed(uint16_t device, uint32_t index)
{
	uint8_t destination;

	return fake_interrupt(device, index >> 8, index, &destination);
}

static void an_entry_linux_made_delivers_to_where_it_says(void **state)
{
	uint8_t destination;

	set_entry(5, entry_of(0, 1, 0x41));
	set_entry(300, entry_of(1, 3, 0x52));
	set_wish(DEVICE, WISH);
	assert_int_equal(fixed(DEVICE, 5), FAKE_BLOCKED);
	sync_device(DEVICE);
	assert_int_equal(fake_interrupt(DEVICE, 0, 5, &destination), 0x41);
	assert_int_equal(destination, 1);
	assert_int_equal(fake_interrupt(DEVICE, 1, 300, &destination), 0x52);
	assert_int_equal(destination, 3);
	assert_int_equal(fixed(DEVICE, 6), FAKE_BLOCKED);
	assert_int_equal(fixed(DEVICE + 8, 5), FAKE_BLOCKED);
	assert_null(fake.complaint);
}

static void a_changed_entry_holds_after_its_invalidation(void **state)
{
	set_entry(5, entry_of(0, 1, 0x41));
	set_wish(DEVICE, WISH);
	sync_device(DEVICE);
	assert_int_equal(fixed(DEVICE, 5), 0x41);
	set_entry(5, entry_of(0, 1, 0x77));
	assert_int_equal(fixed(DEVICE, 5), 0x41);
	sync_device(DEVICE);
	assert_int_equal(fixed(DEVICE, 5), 0x77);
	set_entry(5, 0);
	sync_device(DEVICE);
	assert_int_equal(fixed(DEVICE, 5), FAKE_BLOCKED);
}

static void init_smi_nmi_and_exint_entries_are_never_copied(void **state)
{
	for (uint32_t type = 2; type < 8; type++)
		set_entry(type, entry_of(type, 1, 0x41));
	set_entry(9, entry_of(0, 1, 15)); /* no local APIC takes a vector below 16 */
	set_entry(10, entry_of(0, 1, 0x41) & ~VALID);
	set_wish(DEVICE, WISH | AMDVI_DTE_INT_PASS);
	sync_device(DEVICE);
	for (uint32_t index = 0; index < 16; index++)
		assert_int_equal(fixed(DEVICE, index), FAKE_BLOCKED);
	for (uint32_t mode = 2; mode < 8; mode++)
		assert_int_equal(fake_interrupt(DEVICE, mode, 5, &(uint8_t){0}), FAKE_BLOCKED);
	assert_null(fake.complaint);
}

static void wide_entries_mean_the_same(void **state)
{
	uint8_t destination;

	write_wide(AMDVI_CONTROL, 8,
		   AMDVI_CONTROL_COMMANDS | AMDVI_CONTROL_ENABLE | AMDVI_CONTROL_WIDE_ENTRIES);
	put(ENTRIES + 5 * 16, VALID | 1 << 6 | 3 << 8, 8);
	put(ENTRIES + 5 * 16 + 8, 0x41, 8);
	for (uint32_t type = 2; type < 8; type++) {
		put(ENTRIES + (8 + type) * 16, VALID | type << 2, 8);
		put(ENTRIES + (8 + type) * 16 + 8, 0x41, 8);
	}
	put(ENTRIES + 20 * 16, VALID | 1 << 7, 8); /* guest mode */
	put(ENTRIES + 20 * 16 + 8, 0x41, 8);
	put(ENTRIES + 21 * 16, VALID | 1 << 16, 8); /* destination 256 */
	put(ENTRIES + 21 * 16 + 8, 0x41, 8);
	put(ENTRIES + 22 * 16, VALID, 8);
	put(ENTRIES + 22 * 16 + 8, 0x41 | 1ull << 56, 8);
	put(ENTRIES + 23 * 16, VALID, 8);
	put(ENTRIES + 23 * 16 + 8, 15, 8);
	set_wish(DEVICE, WISH);
	sync_device(DEVICE);
	assert_int_equal(fake_interrupt(DEVICE, 0, 5, &destination), 0x41);
	assert_int_equal(destination, 3);
	for (uint32_t index = 6; index < 64; index++)
		assert_int_equal(fixed(DEVICE, index), FAKE_BLOCKED);
}

static void reserved_bits_of_an_entry_are_dropped(void **state)
{
	assert_int_equal(amdvi_unit_check_entry(0xff410182u | VALID), 0x00410181u & 0x00ffff7du);
	assert_int_equal(amdvi_unit_check_entry(entry_of(0, 0xff, 0xff)), entry_of(0, 0xff, 0xff));
}

static void a_device_that_wants_no_remapping_is_blocked(void **state)
{
	static const uint64_t wishes[] = {
		0,				       /* pass everything */
		WISH & ~AMDVI_DTE_INT_CONTROL,	       /* abort */
		(WISH & ~AMDVI_DTE_INT_CONTROL) | 1ull << 60, /* forward unmapped */
		WISH | 3ull << 60,		       /* reserved */
		WISH & ~AMDVI_DTE_INT_VALID,
	};

	set_entry(5, entry_of(0, 1, 0x41));
	for (size_t i = 0; i < sizeof(wishes) / sizeof(wishes[0]); i++) {
		set_wish(DEVICE, WISH);
		sync_device(DEVICE);
		assert_int_equal(fixed(DEVICE, 5), 0x41);
		set_wish(DEVICE, wishes[i]);
		command(AMDVI_INVALIDATE_DEVICE << 60 | DEVICE, 0);
		assert_int_equal(fixed(DEVICE, 5), FAKE_BLOCKED);
	}
}

static void address_translation_is_not_linuxs_to_set(void **state)
{
	const uint64_t *real = iommu.device_table + DEVICE * AMDVI_DEVICE_WORDS;
	uint64_t before[2] = {real[0], real[1]};

	put(DEVICE_TABLE + DEVICE * 32u, 0x6000000000000003ull, 8); /* pass everything */
	put(DEVICE_TABLE + DEVICE * 32u + 8, 7, 8);
	set_wish(DEVICE, WISH);
	sync_device(DEVICE);
	assert_memory_equal(real, before, sizeof(before));
	assert_int_equal(unit.translating_devices, 0);
	put(DEVICE_TABLE + DEVICE * 32u, 0x6000000000000603ull, 8);
	sync_device(DEVICE);
	assert_memory_equal(real, before, sizeof(before));
	assert_true(unit.translating_devices > 0);
}

static void a_completion_wait_answers_after_all_before_it(void **state)
{
	set_entry(5, entry_of(0, 1, 0x41));
	set_wish(DEVICE, WISH);
	put(RING + tail, AMDVI_INVALIDATE_INTERRUPT << 60 | DEVICE, 8);
	put(RING + tail + 8, 0, 8);
	tail += 16;
	command(AMDVI_COMPLETION_WAIT << 60 | ANSWER | 1, 0x1234);
	assert_true(turns > 1); /* a whole table is more than one write may copy */
	assert_int_equal(get(ANSWER), 0x1234);
	assert_int_equal(fixed(DEVICE, 5), 0x41);
}

static void commands_reach_only_the_service_domains_memory(void **state)
{
	uint64_t control = unit.window[AMDVI_CONTROL / 8], first = iommu.device_table[0];

	command(AMDVI_COMPLETION_WAIT << 60 | FAKE_MEMORY | 1, 0x1234);
	assert_int_equal(unit.window[AMDVI_CONTROL / 8], control & ~AMDVI_CONTROL_COMMANDS);
	assert_true(iommu.device_table[0] == first && first != 0x1234);
	/* The ring itself out of bounds: it stops, and nothing is read. */
	write_wide(AMDVI_COMMAND_BASE, 8, FAKE_MEMORY | 9ull << 56);
	write_wide(AMDVI_CONTROL, 8, AMDVI_CONTROL_COMMANDS | AMDVI_CONTROL_ENABLE);
	write_wide(AMDVI_COMMAND_TAIL, 4, tail + 16);
	assert_int_equal(unit.window[AMDVI_CONTROL / 8] & AMDVI_CONTROL_COMMANDS, 0);
}

static void tables_outside_the_service_domains_memory_count_as_empty(void **state)
{
	set_wish(DEVICE, (WISH & ~AMDVI_DTE_INT_ROOT) | FAKE_MEMORY);
	sync_device(DEVICE);
	assert_int_equal(fixed(DEVICE, 5), FAKE_BLOCKED);
	write_wide(AMDVI_DEVICE_TABLE, 8, FAKE_MEMORY | 0x1ff);
	sync_device(DEVICE);
	assert_int_equal(fixed(DEVICE, 5), FAKE_BLOCKED);
	write_wide(AMDVI_DEVICE_TABLE, 8, DEVICE_TABLE); /* 4 KiB: device 80h and up are outside */
	set_wish(DEVICE, WISH);
	set_wish(0x80, WISH);
	set_entry(5, entry_of(0, 1, 0x41));
	sync_device(DEVICE);
	sync_device(0x80);
	assert_int_equal(fixed(DEVICE, 5), 0x41);
	assert_int_equal(fixed(0x80, 5), FAKE_BLOCKED);
}

static void a_short_table_ends_where_it_says(void **state)
{
	for (uint32_t i = 0; i < 64; i++)
		set_entry(i, entry_of(0, 1, 0x41));
	set_wish(DEVICE, (WISH & ~(15ull << 1)) | 3ull << 1);
	sync_device(DEVICE);
	assert_int_equal(fixed(DEVICE, 7), 0x41);
	assert_int_equal(fixed(DEVICE, 8), FAKE_BLOCKED);
}

static void tables_run_out_without_harm_and_come_back(void **state)
{
	set_entry(5, entry_of(0, 1, 0x41));
	for (uint32_t i = 0; i <= IOMMU_REMAP_TABLES; i++) {
		set_wish((uint16_t)(0x100 + i), WISH);
		sync_device((uint16_t)(0x100 + i));
		assert_int_equal(fixed((uint16_t)(0x100 + i), 5),
				 i < IOMMU_REMAP_TABLES ? 0x41 : FAKE_BLOCKED);
	}
	set_wish(0x100, 0);
	sync_device(0x100);
	sync_device(0x100 + IOMMU_REMAP_TABLES);
	assert_int_equal(fixed(0x100 + IOMMU_REMAP_TABLES, 5), 0x41);
	assert_int_equal(fixed(0x100, 5), FAKE_BLOCKED);
}

static void invalidate_all_finds_every_device(void **state)
{
	set_entry(5, entry_of(0, 1, 0x41));
	set_wish(0, WISH);
	set_wish(DEVICE, WISH);
	set_wish(0x3fff, WISH);
	command(AMDVI_INVALIDATE_ALL << 60, 0);
	assert_int_equal(fixed(0, 5), 0x41);
	assert_int_equal(fixed(DEVICE, 5), 0x41);
	assert_int_equal(fixed(0x3fff, 5), 0x41);
	set_wish(DEVICE, 0);
	command(AMDVI_INVALIDATE_ALL << 60, 0);
	assert_int_equal(fixed(DEVICE, 5), FAKE_BLOCKED);
	assert_int_equal(fixed(0x3fff, 5), 0x41);
}

static void only_the_offered_features_show_and_odd_writes_do_nothing(void **state)
{
	uint8_t before[AMDVI_WINDOW_BYTES];

	assert_int_equal(unit.window[AMDVI_FEATURES / 8],
			 AMDVI_FEATURE_INVALIDATE_ALL | AMDVI_FEATURE_WIDE_ENTRIES);
	memcpy(before, unit.window, sizeof(before));
	write_wide(AMDVI_STATUS, 8, UINT64_MAX);
	write_wide(AMDVI_COMMAND_TAIL, 1, 16);
	write_wide(AMDVI_COMMAND_TAIL, 2, 16);
	write_wide(AMDVI_COMMAND_TAIL + 2, 4, UINT32_MAX);
	write_wide(AMDVI_COMMAND_TAIL + 4, 4, UINT32_MAX);
	write_wide(0x3ff8, 8, UINT64_MAX);
	write_wide(AMDVI_WINDOW_BYTES, 8, UINT64_MAX);
	assert_memory_equal(before, unit.window, sizeof(before));
}

static void nonsense_in_the_shared_page_stops_the_ring_at_most(void **state)
{
	memset(unit.window, 0xff, AMDVI_UNIT_SHARED_BYTES);
	write_wide(AMDVI_COMMAND_TAIL, 4, tail + 16);
	write_wide(AMDVI_COMMAND_TAIL, 8, UINT64_MAX);
	assert_int_equal(fixed(DEVICE, 5), FAKE_BLOCKED);
	assert_null(fake.complaint);
}

static void a_dead_real_unit_is_not_hidden(void **state)
{
	enum amdvi_unit_result result;

	set_wish(DEVICE, WISH);
	put(RING + tail, AMDVI_INVALIDATE_INTERRUPT << 60 | DEVICE, 8);
	fake.is_dead = true;
	do
		result = amdvi_unit_write(&unit, AMDVI_COMMAND_TAIL, 4, tail + 16);
	while (result == AMDVI_UNIT_AGAIN);
	assert_int_equal(result, AMDVI_UNIT_FAILED);
}

#define TEST(name) cmocka_unit_test_setup(name, linux_started)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(an_entry_linux_made_delivers_to_where_it_says),
		TEST(a_changed_entry_holds_after_its_invalidation),
		TEST(init_smi_nmi_and_exint_entries_are_never_copied),
		TEST(wide_entries_mean_the_same),
		TEST(reserved_bits_of_an_entry_are_dropped),
		TEST(a_device_that_wants_no_remapping_is_blocked),
		TEST(address_translation_is_not_linuxs_to_set),
		TEST(a_completion_wait_answers_after_all_before_it),
		TEST(commands_reach_only_the_service_domains_memory),
		TEST(tables_outside_the_service_domains_memory_count_as_empty),
		TEST(a_short_table_ends_where_it_says),
		TEST(tables_run_out_without_harm_and_come_back),
		TEST(invalidate_all_finds_every_device),
		TEST(only_the_offered_features_show_and_odd_writes_do_nothing),
		TEST(nonsense_in_the_shared_page_stops_the_ring_at_most),
		TEST(a_dead_real_unit_is_not_hidden),
	};
	int failed = cmocka_run_group_tests(tests, NULL, NULL);

	free(linux_memory);
	free(fake.memory);
	return failed;
}
