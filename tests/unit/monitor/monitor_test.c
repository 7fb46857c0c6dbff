/* SPDX-License-Identifier: MIT */
/*
 * The monitor's parts that need no KVM: configuration, serial port, ACPI tables, RAM.
 */
#include "acpi_tables.h"
#include "config.h"
#include "connector.h"
#include "handover.h"
#include "machine.h"
#include "relay_device.h"

#include <platform.h>

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

static void a_good_configuration_is_read(void **state)
{
	struct config config;
	char error[256];

	(void)state;
	assert_true(config_parse(&config,
				 "# a guest\n name = work \nmemory=512M\nprocessors = 2\nkernel = /vmlinuz\n"
				 "command-line = a=b c\ndisk=/one\n\ndisk = /two",
				 "f", error, sizeof(error)));
	assert_string_equal(config.name, "work");
	assert_true(config.memory_bytes == 512ull << 20);
	assert_int_equal(config.processors, 2);
	assert_string_equal(config.command_line, "a=b c");
	assert_int_equal(config.disk_count, 2);
	assert_string_equal(config.disks[1].socket, "/two");
	config_free(&config);
	assert_true(config_parse(&config, "name=a\nkernel=b\nmemory=2G", "f", error, sizeof(error)));
	assert_int_equal(config.processors, 1);
	config_free(&config);
}

static void each_device_has_a_place_of_its_own_that_the_hypervisor_takes(void **state)
{
	struct relay_device_place places[CONFIG_DEVICES_MAX];
	struct config config;
	char error[256];

	(void)state;
	assert_true(config_parse(&config,
				 "name=a\nkernel=b\nmemory=2G\ndisk=/0\ndisk=/1\nnetwork=/2\nmac=52:54:00:12:34:56\n"
				 "entropy=/3\nvirtio-console=/4\nguest-agent=/5",
				 "f", error, sizeof(error)));
	assert_int_equal(relay_device_list(&config, places), 6);
	for (unsigned int i = 0; i < 6; i++) {
		const char socket[] = { '/', (char)('0' + i), 0 };

		assert_string_equal(places[i].socket, socket);
		assert_true(platform_description_is_valid(relay_device_describe(places[i].kind)));
		assert_true(i == 0 || places[i].slot > places[i - 1].slot);
	}
	config_free(&config);
}

static void a_guest_reads_of_its_card_and_its_port_what_no_backend_says(void **state)
{
	static const uint8_t one_port[8] = { 0, 0, 0, 0, 1, 0, 0, 0 };
	const struct config config = { .mac = { 2, 0, 0, 0, 0, 7 } };
	uint8_t space[BULKHEAD_DEVICE_CONFIG_BYTES] = { 0 };

	(void)state;
	assert_int_equal(relay_device_describe(RELAY_DEVICE_AGENT)->config_bytes, sizeof(one_port));
	relay_device_fill(RELAY_DEVICE_AGENT, &config, space);
	assert_memory_equal(space, one_port, sizeof(one_port));
	memset(space, 0, sizeof(space));
	relay_device_fill(RELAY_DEVICE_NETWORK, &config, space);
	assert_memory_equal(space, config.mac, sizeof(config.mac));
}

static void a_wrong_configuration_is_named_by_line(void **state)
{
	static const struct {
		const char *text, *message;
	} wrong[] = {
		{ "name=a\nmemory=513M", "f:2: memory must be" },
		{ "memory=32M", "f:1: memory must be" },
		{ "memory=512", "f:1: memory must be" },
		{ "memory=512MM", "f:1: memory must be" },
		{ "memory=x", "f:1: memory must be" },
		{ "memory=99999999999999999999G", "f:1: memory must be" },
		{ "memory=99999999999G", "f:1: memory must be" },
		{ "memory=512M\nmemory=512M", "f:2: memory is given twice" },
		{ "processors=0", "f:1: processors must be" },
		{ "processors=17", "f:1: processors must be" },
		{ "processors=1\nprocessors=1", "f:2: processors is given twice" },
		{ "name=a\nname=b", "f:2: name is given twice" },
		{ "nmae=a", "f:1: nmae is not a key" },
		{ "name", "f:1: name is no" },
		{ "name=", "f:1: name has no value" },
		{ "disk=a\ndisk=a\ndisk=a\ndisk=a\ndisk=a\ndisk=a\ndisk=a\ndisk=a\ndisk=a", "f:9: disk is given more" },
		{ "name=a\nkernel=b\nmemory=2G\nnetwork=n", "f: network and mac are given together" },
		{ "name=a\nkernel=b\nmemory=2G\nentropy=e\ndisk=a\ndisk=a\ndisk=a\ndisk=a\ndisk=a\ndisk=a\ndisk=a\ndisk=a",
		  "f: more than 8 devices; take a disk out" },
		{ "balloon=maybe", "f:1: balloon must be yes or no" },
		{ "name=a\nkernel=b\nmemory=2G\nballoon=yes\nprotected=no", "f: only a protected guest has a balloon" },
		{ "", "f: name is missing" },
		{ "name=a\nkernel=b", "f: memory is missing" },
		{ "name=a\nmemory=512M", "f: kernel is missing, and firmware" },
		{ "name=a\nmemory=512M\nkernel=b\nfirmware=c", "f: kernel and firmware are both" },
		{ "name=a\nmemory=512M\nfirmware=c\ninitrd=b", "f: initrd and command-line go with kernel" },
		{ "name=a\nmemory=512M\nfirmware=c\ncommand-line=b", "f: initrd and command-line go with kernel" },
		{ "name=a\nmemory=512M\nkernel=b\nmac=52:54:00:12:34:56", "f: network and mac" },
		{ "name=a\nmemory=512M\nkernel=b\ndescriptor=d", "f: descriptor and descriptor-key" },
	};
	struct config config;
	char error[256];

	(void)state;
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		assert_false(config_parse(&config, wrong[i].text, "f", error, sizeof(error)));
		assert_memory_equal(error, wrong[i].message, strlen(wrong[i].message));
		config_free(&config);
	}
	assert_false(config_load(&config, "/nonexistent/guest.conf", error, sizeof(error)));
	assert_string_equal(error, "/nonexistent/guest.conf: No such file or directory");
	assert_false(config_load(&config, "/dev/zero", error, sizeof(error)));
	assert_non_null(strstr(error, "longer than"));
}

static struct {
	char output[64];
	size_t output_count;
	bool line;
} seen;

static void on_output(void *context, uint8_t character)
{
	(void)context;
	seen.output[seen.output_count++ % sizeof(seen.output)] = (char)character;
}

static void on_line(void *context, bool level)
{
	(void)context;
	seen.line = level;
}

static void a_serial_driver_can_send_receive_and_wait(void **state)
{
	struct serial serial = { .output = on_output, .set_line = on_line };
	uint8_t much[SERIAL_INPUT_BYTES + 10] = { 0 };

	(void)state;
	memset(&seen, 0, sizeof(seen));
	serial_reset(&serial);
	serial_write(&serial, 3, 0x83);
	serial_write(&serial, 0, 1);
	serial_write(&serial, 1, 0);
	assert_int_equal(serial_read(&serial, 0), 1);
	assert_int_equal(serial_read(&serial, 1), 0);
	serial_write(&serial, 3, 3);
	assert_int_equal(serial_read(&serial, 3), 3);
	serial_write(&serial, 7, 0x5a);
	assert_int_equal(serial_read(&serial, 7), 0x5a);
	/* Loop-back: RTS and OUT2 come back as CTS and carrier, data as input. */
	serial_write(&serial, 4, 0x1a);
	assert_int_equal(serial_read(&serial, 6), 0x90);
	serial_write(&serial, 0, 'L');
	assert_int_equal(seen.output_count, 0);
	assert_int_equal(serial_read(&serial, 0), 'L');
	serial_write(&serial, 4, 0x0b);
	assert_int_equal(serial_read(&serial, 6), 0xb0);
	serial_write(&serial, 0, 'x');
	assert_int_equal(seen.output[0], 'x');
	/* Interrupts: transmitter first, acknowledged by reading; input as long as there is some. */
	serial_write(&serial, 1, 3);
	assert_true(seen.line);
	assert_int_equal(serial_read(&serial, 2), 0xc2);
	assert_false(seen.line);
	assert_int_equal(serial_read(&serial, 2), 0xc1);
	assert_int_equal(serial_input(&serial, (const uint8_t *)"ab", 2), 2);
	assert_true(seen.line);
	assert_int_equal(serial_read(&serial, 2), 0xc4);
	assert_int_equal(serial_read(&serial, 5), 0x61);
	assert_int_equal(serial_read(&serial, 0), 'a');
	assert_int_equal(serial_read(&serial, 0), 'b');
	assert_false(seen.line);
	assert_int_equal(serial_read(&serial, 5), 0x60);
	/* Without OUT2 nothing is raised, as on a PC. */
	serial_write(&serial, 4, 0);
	assert_int_equal(serial_input(&serial, much, sizeof(much)), SERIAL_INPUT_BYTES);
	assert_false(seen.line);
}

static uint8_t sum(const uint8_t *bytes, size_t size)
{
	uint8_t total = 0;

	while (size--)
		total = (uint8_t)(total + *bytes++);
	return total;
}

static uint64_t number(const uint8_t *bytes, unsigned int size)
{
	uint64_t value = 0;

	while (size--)
		value = value << 8 | bytes[size];
	return value;
}

static void acpi_tables_point_at_each_other_and_sum_to_zero(void **state)
{
	const uint64_t address = 0xe0000;
	uint8_t bytes[8192];
	const uint8_t *xsdt, *table;
	unsigned int found = 0;
	size_t used = acpi_tables_write(bytes, sizeof(bytes), address, 3, NULL);

	(void)state;
	assert_true(used > 0 && used < sizeof(bytes));
	assert_memory_equal(bytes, "RSD PTR ", 8);
	assert_int_equal(sum(bytes, 20), 0);
	assert_int_equal(sum(bytes, 36), 0);
	xsdt = bytes + (number(bytes + 24, 8) - address);
	assert_memory_equal(xsdt, "XSDT", 4);
	assert_int_equal(number(xsdt + 4, 4), 36 + 3 * 8);
	for (unsigned int i = 0; i < 3; i++) {
		table = bytes + (number(xsdt + 36 + 8 * i, 8) - address);
		assert_int_equal(sum(table, number(table + 4, 4)), 0);
		if (!memcmp(table, "FACP", 4)) {
			found |= 1;
			assert_int_equal(number(table + 4, 4), 276); /* 5.2.9, revision 6 */
			assert_memory_equal(bytes + (number(table + 140, 8) - address), "DSDT", 4);
			assert_memory_equal(bytes + (number(table + 132, 8) - address), "FACS", 4);
			assert_int_equal(number(table + 132, 8) % 64, 0);
			assert_int_equal(number(table + 116 + 4, 8), MACHINE_RESET_PORT);
		} else if (!memcmp(table, "APIC", 4)) {
			found |= 2;
			assert_int_equal(number(table + 4, 4), 44 + 3 * 8 + 12 + 2 * 10);
		} else if (!memcmp(table, "MCFG", 4)) {
			found |= 4;
			assert_int_equal(number(table + 44, 8), MACHINE_ECAM);
		}
	}
	assert_int_equal(found, 7);
	assert_int_equal(acpi_tables_write(bytes, used - 1, address, 3, NULL), 0);
	assert_int_equal(acpi_tables_write(bytes, 100, address, 3, NULL), 0);
}

static void a_watchdog_waits_as_long_as_it_was_told(void **state)
{
	struct watchdog watchdog = { 0 };

	(void)state;
	assert_true(watchdog_left(&watchdog, 5) == WATCHDOG_NEVER);
	watchdog_feed(&watchdog, 0xfd, 1000); /* only the lower half counts: 4 s */
	assert_true(watchdog_left(&watchdog, 1000) == 4000000001ull);
	assert_true(watchdog_left(&watchdog, 1000 + 4000000000ull) == 1);
	assert_true(watchdog_left(&watchdog, 1000 + 4000000001ull) == 0);
	assert_true(watchdog_left(&watchdog, 1ull << 60) == 0);
	watchdog_forgive(&watchdog, 1ull << 60);
	assert_true(watchdog_left(&watchdog, 1ull << 60) == 4000000001ull);
	watchdog_feed(&watchdog, 0, 7);
	assert_true(watchdog_left(&watchdog, 7) == 30000000001ull);
	watchdog_feed(&watchdog, 15, 7);
	assert_true(watchdog_left(&watchdog, 8) == 0);
	watchdog_stop(&watchdog);
	assert_true(watchdog_left(&watchdog, 1ull << 60) == WATCHDOG_NEVER);
}

static void the_power_button_stays_pressed_until_it_is_acknowledged(void **state)
{
	struct machine machine = { .vm_fd = -1, .look = -1 };

	(void)state;
	assert_int_equal((uint16_t)machine_port_read(&machine, MACHINE_PM_EVENT, 2), 0);
	machine_port_write(&machine, MACHINE_PM_EVENT + 2, 2, 0x100);
	assert_int_equal(machine_port_read(&machine, MACHINE_PM_EVENT + 2, 2), 0x100);
	machine_press_power(&machine);
	assert_int_equal((uint16_t)machine_port_read(&machine, MACHINE_PM_EVENT, 2), 0x100);
	machine_port_write(&machine, MACHINE_PM_EVENT, 2, 1);
	assert_int_equal((uint16_t)machine_port_read(&machine, MACHINE_PM_EVENT, 2), 0x100);
	machine_port_write(&machine, MACHINE_PM_EVENT, 2, 0x100);
	assert_int_equal((uint16_t)machine_port_read(&machine, MACHINE_PM_EVENT, 2), 0);
	/* The watchdog's ports. */
	machine_port_write(&machine, WATCHDOG_FEED_PORT, 1, 0);
	assert_true(watchdog_left(&machine.watchdog, machine_now()) <= 30000000001ull);
	machine_port_write(&machine, WATCHDOG_STOP_PORT, 1, 0);
	assert_true(watchdog_left(&machine.watchdog, machine_now()) == WATCHDOG_NEVER);
}

static void *serve_connections(void *argument)
{
	static const char *const paths[] = { "/nonexistent/socket", "connector-test.sock" };

	connector_serve(*(int *)argument, paths, 2);
	return NULL;
}

static void the_supervisor_connects_to_what_the_configuration_names(void **state)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX, .sun_path = "connector-test.sock" };
	int sockets[2], listener = socket(AF_UNIX, SOCK_STREAM, 0), fd, accepted;
	pthread_t thread;
	char byte;

	(void)state;
	(void)unlink(address.sun_path);
	assert_int_equal(bind(listener, (struct sockaddr *)&address, sizeof(address)), 0);
	assert_int_equal(listen(listener, 1), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, sockets), 0);
	assert_int_equal(pthread_create(&thread, NULL, serve_connections, &sockets[0]), 0);
	assert_int_equal(connector_ask(sockets[1], 0), -ENOENT);
	assert_int_equal(connector_ask(sockets[1], 2), -EINVAL);
	assert_int_equal(connector_ask(sockets[1], UINT32_MAX), -EINVAL);
	fd = connector_ask(sockets[1], 1);
	assert_true(fd >= 0);
	accepted = accept(listener, NULL, NULL);
	assert_int_equal(write(accepted, "x", 1), 1);
	assert_int_equal(read(fd, &byte, 1), 1);
	assert_int_equal(byte, 'x');
	close(sockets[1]);
	pthread_join(thread, NULL);
	close(sockets[0]);
	close(accepted);
	close(fd);
	close(listener);
	(void)unlink(address.sun_path);
	assert_int_equal(connector_ask(-1, 0), -EPIPE);
}

static void the_guest_is_shown_and_its_disks_are_waited_for(void **state)
{
	int sockets[2], guest = open("/dev/null", O_RDONLY | O_CLOEXEC), file;
	uint32_t answer = 0, shown = 1;
	char control[CMSG_SPACE(sizeof(int))];
	struct iovec part = { .iov_base = &shown, .iov_len = sizeof(shown) };
	struct msghdr header = { .msg_iov = &part, .msg_iovlen = 1, .msg_control = control,
				 .msg_controllen = sizeof(control) };

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, sockets), 0);
	/* The answer is there already: what is shown then must be the guest all the same. */
	assert_int_equal(send(sockets[0], &answer, sizeof(answer), 0), sizeof(answer));
	assert_int_equal(handover_show(sockets[1], guest), 0);
	assert_int_equal(recvmsg(sockets[0], &header, 0), sizeof(shown));
	assert_int_equal(shown, 0);
	assert_non_null(CMSG_FIRSTHDR(&header));
	memcpy(&file, CMSG_DATA(CMSG_FIRSTHDR(&header)), sizeof(file));
	close(file);
	answer = 1;
	assert_int_equal(send(sockets[0], &answer, sizeof(answer), 0), sizeof(answer));
	assert_int_equal(handover_show(sockets[1], -1), -ECANCELED);
	close(sockets[0]);
	assert_int_equal(handover_show(sockets[1], guest), -ECANCELED);
	close(sockets[1]);
	close(guest);
}

static void ram_has_a_hole_below_4_gib(void **state)
{
	struct memory ram;
	uint32_t value = 0x12345678, back = 0;

	(void)state;
	assert_int_equal(ram_create(&ram, 8 << 20, 6 << 20, 64 << 10), 0);
	assert_non_null(ram_at(&ram, (6 << 20) - 1, 1));
	assert_null(ram_at(&ram, (6 << 20) - 1, 2));
	assert_null(ram_at(&ram, RAM_HIGH_START - 1, 2));
	assert_non_null(ram_at(&ram, RAM_HIGH_START + (2 << 20) - 4, 4));
	assert_null(ram_at(&ram, RAM_HIGH_START + (2 << 20) - 3, 4));
	assert_null(ram_at(&ram, UINT64_MAX, 2));
	assert_ptr_equal(ram_at(&ram, RAM_HIGH_START - 1, 1), ram.bytes + ram.size_bytes - 1);
	assert_non_null(ram_at(&ram, RAM_HIGH_START - (64 << 10), 64 << 10));
	assert_null(ram_at(&ram, RAM_HIGH_START - (64 << 10) - 1, 1));
	assert_true(memory_write(&ram, RAM_HIGH_START, &value, 4));
	assert_true(memory_copy(&ram, 64, &ram, RAM_HIGH_START, 4));
	assert_true(memory_read(&ram, 64, &back, 4));
	assert_int_equal(back, value);
	assert_false(memory_copy(&ram, 6 << 20, &ram, 0, 4));
	ram_destroy(&ram);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_good_configuration_is_read),
		cmocka_unit_test(a_wrong_configuration_is_named_by_line),
		cmocka_unit_test(each_device_has_a_place_of_its_own_that_the_hypervisor_takes),
		cmocka_unit_test(a_guest_reads_of_its_card_and_its_port_what_no_backend_says),
		cmocka_unit_test(a_serial_driver_can_send_receive_and_wait),
		cmocka_unit_test(acpi_tables_point_at_each_other_and_sum_to_zero),
		cmocka_unit_test(a_watchdog_waits_as_long_as_it_was_told),
		cmocka_unit_test(the_power_button_stays_pressed_until_it_is_acknowledged),
		cmocka_unit_test(the_supervisor_connects_to_what_the_configuration_names),
		cmocka_unit_test(the_guest_is_shown_and_its_disks_are_waited_for),
		cmocka_unit_test(ram_has_a_hole_below_4_gib),
	};

	return cmocka_run_group_tests_name("monitor", tests, NULL, NULL);
}
