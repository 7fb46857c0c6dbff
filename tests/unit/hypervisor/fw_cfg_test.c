/* SPDX-License-Identifier: MIT */
/*
 * The firmware configuration device: what a guest reads by port and by transfer, and what a broken blob or a hostile
 * transfer comes to.
 */
#include "fake_memory.h"
#include "fw_cfg.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#define BASE   0x100000u
#define BLOB   65536u
#define DMA_AT 0x180000u
#define TO     0x190000u

static uint8_t bytes[1 << 20];
static struct memory guest = { bytes, BASE, sizeof(bytes), 0 };
static struct fw_cfg device;

static void put(uint64_t at, const void *from, size_t size)
{
	memcpy(bytes + (at - BASE), from, size);
}

/* Item 20h: "hello"; item 21h: 40,000 bytes that count. */
static int blob(void **state)
{
	static const struct fw_cfg_header header = { FW_CFG_MAGIC, 2 };
	static const struct fw_cfg_entry entries[] = { { 0x20, 0, 64, 5 }, { 0x21, 0, 128, 40000 } };

	(void)state;
	memset(bytes, 0, sizeof(bytes));
	put(BASE, &header, sizeof(header));
	put(BASE + sizeof(header), entries, sizeof(entries));
	put(BASE + 64, "hello", 5);
	for (unsigned int i = 0; i < 40000; i++)
		bytes[128 + i] = (uint8_t)(i * 7);
	fw_cfg_init(&device, &guest, BASE, BLOB);
	return 0;
}

static void expect_text(uint16_t key, const char *text, size_t size)
{
	assert_true(fw_cfg_port_write(&device, FW_CFG_PORT_SELECT, 2, key));
	for (size_t i = 0; i < size; i++)
		assert_int_equal(fw_cfg_port_read(&device, FW_CFG_PORT_DATA, 1), (uint8_t)text[i]);
}

/* Writes a control structure and starts it. */
static bool start(uint32_t control, uint32_t size, uint64_t address)
{
	struct {
		uint32_t control, size;
		uint64_t address;
	} dma = { __builtin_bswap32(control), __builtin_bswap32(size), __builtin_bswap64(address) };

	put(DMA_AT, &dma, sizeof(dma));
	assert_true(fw_cfg_port_write(&device, FW_CFG_PORT_DMA, 4, 0));
	return fw_cfg_port_write(&device, FW_CFG_PORT_DMA + 4, 4, __builtin_bswap32(DMA_AT));
}

static uint32_t control_now(void)
{
	uint32_t control;

	memcpy(&control, bytes + (DMA_AT - BASE), sizeof(control));
	return __builtin_bswap32(control);
}

static void items_are_read_byte_by_byte(void **state)
{
	(void)state;
	expect_text(0, "QEMU", 4);
	expect_text(1, "\3\0\0\0", 4);
	expect_text(0x20, "hello\0\0", 7);
	expect_text(0x99, "\0\0", 2);
	assert_int_equal(fw_cfg_port_read(&device, FW_CFG_PORT_DMA, 4), 0x554d4551);
	assert_int_equal(fw_cfg_port_read(&device, FW_CFG_PORT_DMA + 4, 4), 0x47464320);
	assert_int_equal(fw_cfg_port_read(&device, FW_CFG_PORT_SELECT, 2), 0);
}

static void ports_are_the_devices_only_if_there_is_one(void **state)
{
	struct fw_cfg none;

	(void)state;
	fw_cfg_init(&none, &guest, 0, 0);
	assert_false(fw_cfg_has_port(&none, FW_CFG_PORT_DATA, 1));
	assert_true(fw_cfg_has_port(&device, FW_CFG_PORT_DATA, 1));
	assert_true(fw_cfg_has_port(&device, FW_CFG_PORT_SELECT, 2));
	assert_true(fw_cfg_has_port(&device, FW_CFG_PORT_DMA + 4, 4));
	assert_false(fw_cfg_has_port(&device, FW_CFG_PORT_SELECT, 4));
	assert_false(fw_cfg_has_port(&device, FW_CFG_PORT_DMA + 6, 4));
	assert_false(fw_cfg_has_port(&device, 0x512, 1));
}

static void a_transfer_fills_memory_in_steps(void **state)
{
	unsigned int steps = 1;

	(void)state;
	if (!start(0x21u << 16 | 8 | 2, 40010, TO))
		while (!fw_cfg_port_write(&device, FW_CFG_PORT_DMA + 4, 4, __builtin_bswap32(DMA_AT)))
			steps++;
	assert_int_equal(steps, 2);
	assert_int_equal(control_now(), 0);
	assert_memory_equal(bytes + (TO - BASE), bytes + 128, 40000);
	assert_int_equal(bytes[TO - BASE + 40000], 0);
}

static void a_transfer_may_select_skip_and_then_read(void **state)
{
	(void)state;
	assert_true(start(0x20u << 16 | 8, 0, 0));
	assert_true(start(4, 2, 0));
	assert_true(start(2, 3, TO));
	assert_int_equal(control_now(), 0);
	assert_memory_equal(bytes + (TO - BASE), "llo", 3);
	assert_true(start(4, 0xffffffff, 0));
	assert_int_equal(fw_cfg_port_read(&device, FW_CFG_PORT_DATA, 1), 0);
}

static void a_hostile_transfer_only_fails(void **state)
{
	(void)state;
	assert_true(start(0x20u << 16 | 8 | 16, 5, TO)); /* writing */
	assert_int_equal(control_now(), 1);
	assert_true(start(0x20u << 16 | 8 | 2, 5, 0xfffffffffffffff0ull));
	assert_int_equal(control_now(), 1);
	assert_true(fw_cfg_port_write(&device, FW_CFG_PORT_DMA + 4, 4, 0)); /* no memory there */
	assert_false(start(2, 0xffffffff, TO)); /* four GiB: in steps, the guest's interrupts come in between */
	while (!fw_cfg_port_write(&device, FW_CFG_PORT_DMA + 4, 4, __builtin_bswap32(DMA_AT)))
		;
	assert_int_equal(control_now(), 1); /* memory ended */
	assert_false(device.is_dma_running);
}

static void a_broken_blob_has_no_items(void **state)
{
	struct fw_cfg_entry entry = { 0x20, 0, BLOB - 2, 5 };

	(void)state;
	put(BASE + sizeof(struct fw_cfg_header), &entry, sizeof(entry));
	expect_text(0x20, "\0\0\0", 3);
	entry.offset = 0xffffffff;
	put(BASE + sizeof(struct fw_cfg_header), &entry, sizeof(entry));
	expect_text(0x20, "\0\0\0", 3);
	bytes[4] = 65; /* too many entries */
	expect_text(0x21, "\0\0\0", 3);
	bytes[4] = 2;
	bytes[0] = 0; /* no magic */
	expect_text(0x21, "\0\0\0", 3);
	fw_cfg_init(&device, &guest, BASE, 12);
	expect_text(0x21, "\0\0\0", 3);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(items_are_read_byte_by_byte, blob),
		cmocka_unit_test_setup(ports_are_the_devices_only_if_there_is_one, blob),
		cmocka_unit_test_setup(a_transfer_fills_memory_in_steps, blob),
		cmocka_unit_test_setup(a_transfer_may_select_skip_and_then_read, blob),
		cmocka_unit_test_setup(a_hostile_transfer_only_fails, blob),
		cmocka_unit_test_setup(a_broken_blob_has_no_items, blob),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
