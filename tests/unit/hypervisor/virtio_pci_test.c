/* SPDX-License-Identifier: MIT */
/*
 * PCI configuration space and the virtio transport, driven as a guest's driver drives them: over ports and BARs.
 */
#include "virtio_pci.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define SLOT 3u
#define INTERRUPTS 0xe0000000ull
#define REGISTERS 0x8000000000ull

static struct virtio_device device;
static struct pci_bus bus;
static struct {
	int starts, resets, notified, config_writes, vectors;
} seen;

static void on_start(struct virtio_device *d)
{
	assert_ptr_equal(d, &device);
	seen.starts++;
}

static void on_reset(struct virtio_device *d)
{
	(void)d;
	seen.resets++;
}

static void on_notify(struct virtio_device *d, unsigned int queue)
{
	(void)d;
	seen.notified += 1 + (int)queue * 100;
}

static void on_config(struct virtio_device *d, uint32_t offset, uint32_t size)
{
	(void)d;
	seen.config_writes += (int)(offset + size);
}

static void on_vector(struct virtio_device *d, unsigned int vector)
{
	(void)d;
	(void)vector;
	seen.vectors++;
}

static const struct virtio_owner owner = { on_start, on_reset, on_notify, on_config, on_vector };

static uint32_t config(uint32_t offset, uint32_t size)
{
	pci_port_write(&bus, 0xcf8, 4, 1u << 31 | SLOT << 11 | (offset & 0xfc));
	return pci_port_read(&bus, (uint16_t)(0xcfc + (offset & 3)), size);
}

static void set_config(uint32_t offset, uint32_t size, uint32_t value)
{
	pci_port_write(&bus, 0xcf8, 4, 1u << 31 | SLOT << 11 | (offset & 0xfc));
	pci_port_write(&bus, (uint16_t)(0xcfc + (offset & 3)), size, value);
}

static uint64_t load(uint64_t address, uint32_t size)
{
	unsigned int bar;
	uint32_t offset;
	struct pci_function *function = pci_find_bar(&bus, address, size, &bar, &offset);

	return function ? function->bar_read(function, bar, offset, size) : UINT64_MAX;
}

static void store(uint64_t address, uint32_t size, uint64_t value)
{
	unsigned int bar;
	uint32_t offset;
	struct pci_function *function = pci_find_bar(&bus, address, size, &bar, &offset);

	assert_non_null(function);
	function->bar_write(function, bar, offset, size, value);
}

static int set_up(void **state)
{
	static const struct virtio_identity identity = {
		.type = 2,
		.class_code = 0x018000,
		.features = VIRTIO_F_EVENT_INDEX | 1,
		.queue_count = 2,
		.queue_size_max = 128,
		.config_bytes = 60,
		.config_writable_bytes = 4,
	};

	(void)state;
	memset(&seen, 0, sizeof(seen));
	memset(&bus, 0, sizeof(bus));
	virtio_pci_init(&device, &identity, &owner, NULL);
	bus.functions[SLOT] = &device.pci;
	set_config(0x10, 4, 0);
	set_config(0x14, 4, REGISTERS >> 32);
	set_config(0x18, 4, (uint32_t)INTERRUPTS);
	set_config(0x1c, 4, 0);
	set_config(0x04, 2, 6);
	return 0;
}

static void bars_are_sized_and_placed_by_the_guest(void **state)
{
	unsigned int bar;
	uint32_t offset;

	(void)state;
	assert_int_equal(config(0, 4), 0x10421af4);
	assert_int_equal(config(0x10, 4), 4); /* 64-bit memory */
	set_config(0x10, 4, UINT32_MAX);
	set_config(0x14, 4, UINT32_MAX);
	assert_int_equal(config(0x10, 4), 0xffffc004);
	assert_int_equal(config(0x14, 4), UINT32_MAX);
	assert_ptr_equal(pci_find_bar(&bus, INTERRUPTS + 4092, 4, &bar, &offset), &device.pci);
	assert_int_equal(bar, VIRTIO_BAR_INTERRUPTS);
	assert_int_equal(offset, 4092);
	assert_null(pci_find_bar(&bus, INTERRUPTS + 4093, 4, &bar, &offset));
	assert_null(pci_find_bar(&bus, INTERRUPTS - 1, 4, &bar, &offset));
	set_config(0x04, 2, 4); /* decoding off */
	assert_null(pci_find_bar(&bus, INTERRUPTS, 4, &bar, &offset));
}

/* Who answered last is asked first: it answers where it lies now. */
static void a_bar_that_has_moved_answers_at_its_new_place_alone(void **state)
{
	static struct virtio_device other;
	unsigned int bar;
	uint32_t offset;

	(void)state;
	assert_ptr_equal(pci_find_bar(&bus, INTERRUPTS, 4, &bar, &offset), &device.pci);
	other = device;
	bus.functions[SLOT + 1] = &other.pci;
	set_config(0x18, 4, (uint32_t)INTERRUPTS + 0x100000);
	assert_ptr_equal(pci_find_bar(&bus, INTERRUPTS + 8, 4, &bar, &offset), &other.pci);
	assert_ptr_equal(pci_find_bar(&bus, INTERRUPTS + 0x100010, 4, &bar, &offset), &device.pci);
	assert_int_equal(bar, VIRTIO_BAR_INTERRUPTS);
	assert_int_equal(offset, 16);
	bus.functions[SLOT + 1] = NULL;
	set_config(0x18, 4, (uint32_t)INTERRUPTS + 0x200000);
	assert_null(pci_find_bar(&bus, INTERRUPTS + 0x100010, 4, &bar, &offset));
}

static void configuration_space_keeps_what_is_read_only(void **state)
{
	(void)state;
	for (uint32_t offset = 0; offset < 256; offset += 4) {
		uint32_t before = config(offset, 4);

		set_config(offset, 4, ~before);
		/* Command, cache line, BARs, interrupt line, the window and MSI-X control may change; no more. */
		if (offset != 4 && offset != 0xc && (offset < 0x10 || offset > 0x24) && offset != 0x3c &&
		    (offset < device.window_capability || offset > device.window_capability + 16u) &&
		    offset != device.msix_capability)
			assert_int_equal(config(offset, 4), before);
	}
	assert_int_equal(pci_config_read(&bus, 4, 0, 4), UINT32_MAX);
	assert_int_equal(pci_config_read(&bus, 99, 0, 4), UINT32_MAX);
	assert_int_equal(pci_config_read(&bus, SLOT, 2, 4), UINT32_MAX);
	assert_int_equal(pci_config_read(&bus, SLOT, 256, 4), UINT32_MAX);
	assert_int_equal(pci_ecam_read(&bus, SLOT << 15, 4), 0x10421af4);
	assert_int_equal(pci_ecam_read(&bus, SLOT << 15 | 1 << 12, 4), UINT32_MAX);
	assert_int_equal(pci_ecam_read(&bus, SLOT << 15 | 256, 4), 0);
	assert_int_equal(pci_ecam_read(&bus, 1 << 20, 4), UINT32_MAX);
	pci_port_write(&bus, 0xcf8, 4, 1u << 31 | 1u << 16 | SLOT << 11); /* bus 1 */
	assert_int_equal(pci_port_read(&bus, 0xcfc, 4), UINT32_MAX);
}

static void capabilities_form_a_list_that_ends(void **state)
{
	unsigned int regions = 0, steps = 0;

	(void)state;
	assert_true(config(6, 2) & 0x10);
	for (uint32_t at = config(0x34, 1); at; at = config(at + 1, 1)) {
		assert_true(++steps < 16);
		if (config(at, 1) == 9 && config(at + 3, 1) < 5) {
			regions |= 1u << config(at + 3, 1);
			assert_int_equal(config(at + 4, 1), VIRTIO_BAR_REGISTERS);
			assert_int_equal(config(at + 12, 4), 4096);
		}
	}
	assert_int_equal(regions, 0x1e);
}

/** As a driver starts a device, 3.1.1. */
static void start_device(uint64_t features)
{
	store(REGISTERS + 0x14, 1, 0);
	store(REGISTERS + 0x14, 1, 1);
	store(REGISTERS + 0x14, 1, 3);
	store(REGISTERS + 0x08, 4, 0);
	store(REGISTERS + 0x0c, 4, (uint32_t)features);
	store(REGISTERS + 0x08, 4, 1);
	store(REGISTERS + 0x0c, 4, features >> 32);
	store(REGISTERS + 0x14, 1, 11);
	store(REGISTERS + 0x16, 2, 1);
	store(REGISTERS + 0x18, 2, 64);
	store(REGISTERS + 0x20, 8, 0x123456789000);
	store(REGISTERS + 0x28, 4, 0x1000);
	store(REGISTERS + 0x2c, 4, 0x2);
	store(REGISTERS + 0x30, 8, 0x3000);
	store(REGISTERS + 0x1a, 2, 2);
	store(REGISTERS + 0x1c, 2, 1);
	store(REGISTERS + 0x14, 1, 15);
}

static void a_driver_starts_and_resets_the_device(void **state)
{
	(void)state;
	start_device(VIRTIO_F_VERSION_1 | VIRTIO_F_EVENT_INDEX | 0xff00);
	assert_int_equal(load(REGISTERS + 0x14, 1), 15);
	assert_int_equal(seen.starts, 1);
	/* Only what was offered is accepted. */
	assert_true(device.features_accepted == (VIRTIO_F_VERSION_1 | VIRTIO_F_EVENT_INDEX));
	assert_true(device.queues[1].descriptors == 0x123456789000);
	assert_true(device.queues[1].available == 0x200001000);
	assert_int_equal(device.queues[1].size, 64);
	/* An enabled queue does not move. */
	store(REGISTERS + 0x20, 8, 0xbad000);
	assert_true(load(REGISTERS + 0x20, 8) == 0x123456789000);
	store(REGISTERS + 0x3000 + 4, 2, 1);
	assert_int_equal(seen.notified, 101);
	store(REGISTERS + 0x3000, 2, 0); /* a queue that is off */
	store(REGISTERS + 0x3000 + 4 * 200, 2, 0);
	assert_int_equal(seen.notified, 101);
	store(REGISTERS + 0x14, 1, 0);
	assert_int_equal(seen.resets, 2);
	assert_int_equal(load(REGISTERS + 0x14, 1), 0);
	assert_false(device.queues[1].enabled);
	store(REGISTERS + 0x3000 + 4, 2, 1);
	assert_int_equal(seen.notified, 101);
}

static void drivers_that_skip_steps_do_not_start_it(void **state)
{
	(void)state;
	start_device(0); /* no VERSION_1 */
	assert_int_equal(load(REGISTERS + 0x14, 1), 3);
	assert_int_equal(seen.starts, 0);
	start_device(VIRTIO_F_VERSION_1);
	virtio_pci_needs_reset(&device);
	assert_false(virtio_pci_is_running(&device));
	store(REGISTERS + 0x14, 1, 0xff);
	assert_true(load(REGISTERS + 0x14, 1) & VIRTIO_STATUS_NEEDS_RESET);
	store(REGISTERS + 0x14, 1, 0);
	store(REGISTERS + 0x14, 1, 0xff); /* cannot set NEEDS_RESET itself */
	assert_false(load(REGISTERS + 0x14, 1) & VIRTIO_STATUS_NEEDS_RESET);
	/* Odd sizes and selectors out of range change nothing and read as nothing. */
	store(REGISTERS + 0x14, 1, 0);
	store(REGISTERS + 0x16, 2, 0);
	store(REGISTERS + 0x18, 2, 100);
	assert_int_equal(load(REGISTERS + 0x18, 2), 128);
	store(REGISTERS + 0x18, 2, 256);
	assert_int_equal(load(REGISTERS + 0x18, 2), 128);
	store(REGISTERS + 0x1a, 2, 3);
	assert_int_equal(load(REGISTERS + 0x1a, 2), VIRTIO_NO_VECTOR);
	store(REGISTERS + 0x16, 2, 7);
	assert_int_equal(load(REGISTERS + 0x18, 2), 0);
	store(REGISTERS + 0x00, 4, 5);
	assert_int_equal(load(REGISTERS + 0x04, 4), 0);
}

static void interrupts_go_where_the_driver_said_or_wait(void **state)
{
	struct virtio_message message;

	(void)state;
	start_device(VIRTIO_F_VERSION_1);
	store(INTERRUPTS + 2 * 16, 8, 0xfee01000);
	store(INTERRUPTS + 2 * 16 + 8, 8, 0x4041); /* data, and unmasked */
	assert_int_equal(seen.vectors, 3); /* once when the queue chose it */
	/* MSI-X is off as a whole: waits. */
	assert_false(virtio_pci_interrupt(&device, 1, &message));
	assert_false(virtio_pci_take_pending(&device, &message));
	assert_int_equal(load(INTERRUPTS + 2048, 4), 4);
	set_config(device.msix_capability + 2, 2, 0x8000);
	assert_int_equal(seen.vectors, 6);
	assert_true(virtio_pci_take_pending(&device, &message));
	assert_true(message.address == 0xfee01000 && message.data == 0x4041);
	assert_false(virtio_pci_take_pending(&device, &message));
	assert_true(virtio_pci_interrupt(&device, 1, &message));
	store(INTERRUPTS + 2 * 16 + 12, 4, 1); /* masked */
	assert_false(virtio_pci_interrupt(&device, 1, &message));
	assert_int_equal(load(REGISTERS + 0x1000, 1), 1);
	assert_int_equal(load(REGISTERS + 0x1000, 1), 0);
	/* No vector for configuration changes: only the status tells. */
	assert_false(virtio_pci_interrupt(&device, -1, &message));
	assert_int_equal(load(REGISTERS + 0x1000, 1), 2);
	/* Entries beyond the table are not there. */
	store(INTERRUPTS + 3 * 16, 8, UINT64_MAX);
	assert_int_equal(load(INTERRUPTS + 3 * 16, 8), 0);
}

static void configuration_is_read_and_partly_written(void **state)
{
	uint8_t bytes[60];

	(void)state;
	for (unsigned int i = 0; i < sizeof(bytes); i++)
		bytes[i] = (uint8_t)(i + 1);
	virtio_pci_set_config(&device, bytes);
	assert_int_equal(load(REGISTERS + 0x15, 1), 1);
	assert_true(load(REGISTERS + 0x2000, 8) == 0x0807060504030201);
	assert_int_equal(load(REGISTERS + 0x2000 + 58, 4), 0x3c3b);
	assert_int_equal(load(REGISTERS + 0x2000 + 4090, 4), 0);
	store(REGISTERS + 0x2000 + 2, 2, 0xbeef);
	assert_int_equal(seen.config_writes, 4);
	assert_int_equal(load(REGISTERS + 0x2000, 4), 0xbeef0201);
	store(REGISTERS + 0x2000 + 2, 4, 0); /* reaches beyond what may be written */
	assert_int_equal(load(REGISTERS + 0x2000, 4), 0xbeef0201);
}

static void firmware_reaches_the_regions_through_the_window(void **state)
{
	uint8_t window = device.window_capability;

	(void)state;
	set_config(window + 4, 1, VIRTIO_BAR_REGISTERS);
	set_config(window + 8, 4, 0x14);
	set_config(window + 12, 4, 1);
	set_config(window + 16, 4, 1);
	assert_int_equal(device.status, 1);
	assert_int_equal(config(window + 16, 4) & 0xff, 1);
	set_config(window + 8, 4, 0x4000); /* beyond the BAR */
	set_config(window + 16, 4, 3);
	set_config(window + 8, 4, 0x14);
	set_config(window + 12, 4, 3); /* no width */
	set_config(window + 16, 4, 3);
	set_config(window + 4, 1, VIRTIO_BAR_INTERRUPTS); /* another BAR */
	set_config(window + 16, 4, 3);
	assert_int_equal(device.status, 1);
}

/** Whatever a driver does at random, the transport keeps its invariants (and, by the sanitizers, its memory). */
static void random_accesses_keep_invariants(void **state)
{
	struct virtio_message message;

	(void)state;
	srand(1);
	for (int i = 0; i < 200000; i++) {
		uint32_t size = 1u << rand() % 4, offset = (uint32_t)rand() % 0x4000 & ~(size - 1);
		uint64_t base = rand() % 4 ? REGISTERS : INTERRUPTS, value = (uint64_t)rand() << rand() % 40;

		if (base == INTERRUPTS)
			offset %= 4096;
		else if (rand() % 2)
			offset %= 0x40;
		if (rand() % 2)
			store(base + offset, size, value);
		else
			load(base + offset, size);
		if (rand() % 64 == 0)
			virtio_pci_interrupt(&device, rand() % 3 - 1, &message);
		virtio_pci_take_pending(&device, &message);
		assert_false(device.features_accepted & ~device.features_offered);
		for (unsigned int q = 0; q < 2; q++) {
			uint16_t vector = device.queues[q].vector, queue_size = device.queues[q].size;

			assert_true(vector == VIRTIO_NO_VECTOR || vector <= 2);
			assert_true(queue_size && queue_size <= 128 && !(queue_size & (queue_size - 1)));
		}
		if (device.status & VIRTIO_STATUS_DRIVER_OK)
			assert_true(device.status & VIRTIO_STATUS_FEATURES_OK);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(bars_are_sized_and_placed_by_the_guest, set_up),
		cmocka_unit_test_setup(a_bar_that_has_moved_answers_at_its_new_place_alone, set_up),
		cmocka_unit_test_setup(configuration_space_keeps_what_is_read_only, set_up),
		cmocka_unit_test_setup(capabilities_form_a_list_that_ends, set_up),
		cmocka_unit_test_setup(a_driver_starts_and_resets_the_device, set_up),
		cmocka_unit_test_setup(drivers_that_skip_steps_do_not_start_it, set_up),
		cmocka_unit_test_setup(interrupts_go_where_the_driver_said_or_wait, set_up),
		cmocka_unit_test_setup(configuration_is_read_and_partly_written, set_up),
		cmocka_unit_test_setup(firmware_reaches_the_regions_through_the_window, set_up),
		cmocka_unit_test_setup(random_accesses_keep_invariants, set_up),
	};

	return cmocka_run_group_tests_name("virtio-pci", tests, NULL, NULL);
}
