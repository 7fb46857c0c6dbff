/* SPDX-License-Identifier: MIT */
/*
 * What firmware reads of the chipset to find out where things are, and that it cannot move them.
 */
#include "chipset.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static struct chipset chipset;
static struct pci_bus bus;

static int set_up(void **state)
{
	(void)state;
	memset(&chipset, 0, sizeof(chipset));
	memset(&bus, 0, sizeof(bus));
	chipset_init(&chipset, &bus);
	return 0;
}

static void bridges_name_the_fixed_addresses(void **state)
{
	(void)state;
	assert_int_equal(pci_config_read(&bus, 0, 0, 4), 0x29c08086);
	assert_int_equal(pci_config_read(&bus, 0, 0x60, 4), MACHINE_ECAM | 1);
	assert_int_equal(pci_config_read(&bus, 0, 0x64, 4), 0);
	assert_int_equal(pci_config_read(&bus, 31, 0x0a, 2), 0x0601);
	assert_int_equal(pci_config_read(&bus, 31, 0x40, 4), MACHINE_PM_EVENT | 1);
	assert_int_equal(pci_config_read(&bus, 31, 0x44, 1), 0x80);
	for (uint32_t offset = 0x40; offset < 0x100; offset += 4)
		for (unsigned int slot = 0; slot <= 31; slot += 31) {
			uint32_t before = pci_config_read(&bus, slot, offset, 4);

			pci_config_write(&bus, slot, offset, 4, ~before);
			assert_int_equal(pci_config_read(&bus, slot, offset, 4), before);
		}
}

static uint32_t clock_register(uint8_t index)
{
	uint32_t value = 0xffffffff;

	/* The index is for somebody else too. */
	assert_false(chipset_port_write(&chipset, MACHINE_CLOCK_INDEX, 1, index));
	return chipset_port_read(&chipset, MACHINE_CLOCK_DATA, 1, &value) ? value : UINT32_MAX;
}

static void memory_is_told_here_and_time_elsewhere(void **state)
{
	(void)state;
	chipset.ram_low_bytes = 512ull << 20;
	assert_int_equal(clock_register(0x34) | clock_register(0x35) << 8, (512 - 16) * 16);
	assert_int_equal(clock_register(0xb5), 0x1f); /* the upper bit masks NMIs */
	chipset.ram_low_bytes = MACHINE_RAM_LOW_END;
	assert_int_equal(clock_register(0x34) | clock_register(0x35) << 8, (0xb00 - 16) * 16);
	chipset.ram_low_bytes = 8ull << 20;
	assert_int_equal(clock_register(0x34) | clock_register(0x35), 0);
	for (uint8_t index = 0; index < 0x80; index++)
		assert_int_equal(clock_register(index), index <= 0x0d || index == 0x32 ? UINT32_MAX : 0);
}

static void the_power_button_stays_pressed_until_it_is_acknowledged(void **state)
{
	uint32_t value;

	(void)state;
	chipset_press_power(&chipset);
	assert_false(chipset_power_line(&chipset)); /* not enabled */
	assert_true(chipset_port_write(&chipset, MACHINE_PM_EVENT + 2, 2, 0x100));
	assert_true(chipset_power_line(&chipset));
	assert_true(chipset_port_read(&chipset, MACHINE_PM_EVENT, 4, &value));
	assert_int_equal(value, 0x01000100);
	assert_true(chipset_port_write(&chipset, MACHINE_PM_EVENT, 2, 0xfeff));
	assert_true(chipset_power_line(&chipset));
	assert_true(chipset_port_write(&chipset, MACHINE_PM_EVENT, 2, 0x100));
	assert_false(chipset_power_line(&chipset));
	assert_true(chipset_port_read(&chipset, MACHINE_PM_EVENT, 2, &value));
	assert_int_equal(value & 0xffff, 0);
}

static void events_are_enabled_and_happen_only_when_somebody_acts(void **state)
{
	uint32_t value;

	(void)state;
	assert_true(chipset_port_write(&chipset, MACHINE_PM_EVENT + 2, 2, 0x0521));
	assert_true(chipset_port_write(&chipset, MACHINE_PM_EVENT, 2, 0xffff));
	assert_true(chipset_port_read(&chipset, MACHINE_PM_EVENT, 2, &value));
	assert_int_equal(value & 0xffff, 0);
	assert_true(chipset_port_read(&chipset, MACHINE_PM_EVENT + 2, 2, &value));
	assert_int_equal(value, 0x0521);
	assert_true(chipset_port_read(&chipset, MACHINE_PM_EVENT, 4, &value));
	assert_int_equal(value, 0x05210000);
	assert_true(chipset_port_read(&chipset, MACHINE_PM_EVENT + 3, 1, &value));
	assert_int_equal(value, 0x05);
}

static void other_ports_are_not_the_chipsets(void **state)
{
	uint32_t value;

	(void)state;
	assert_false(chipset_port_read(&chipset, MACHINE_PM_CONTROL, 2, &value));
	assert_false(chipset_port_read(&chipset, MACHINE_PM_EVENT + 2, 4, &value));
	assert_false(chipset_port_read(&chipset, MACHINE_PM_EVENT - 1, 2, &value));
	assert_false(chipset_port_write(&chipset, MACHINE_PM_CONTROL, 2, 0));
	assert_false(chipset_port_write(&chipset, 0xffff, 4, 0));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(bridges_name_the_fixed_addresses, set_up),
		cmocka_unit_test_setup(memory_is_told_here_and_time_elsewhere, set_up),
		cmocka_unit_test_setup(the_power_button_stays_pressed_until_it_is_acknowledged, set_up),
		cmocka_unit_test_setup(events_are_enabled_and_happen_only_when_somebody_acts, set_up),
		cmocka_unit_test_setup(other_ports_are_not_the_chipsets, set_up),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
