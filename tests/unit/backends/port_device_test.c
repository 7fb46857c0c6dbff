/*
 * The port's device: two programs speak through it, each is told of the other, and neither stops the other or has to be
 * there.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "console_device.h"

#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <linux/virtio_console.h>

#define PATH "port-device-test.sock"
#define NAME "org.example.port"

static struct console_device device;

static uint32_t guest_sends(unsigned int queue, const void *bytes, size_t size)
{
	static uint8_t scratch[CONSOLE_REQUEST_BYTES];
	static struct vhost_request request;

	request = (struct vhost_request){.queue = queue, .out_count = 1, .out_bytes = size};
	request.segments[0] = (struct iovec){(void *)bytes, size};
	request.out = request.segments;
	return device.kind.serve(&device, &request, scratch);
}

static bool is_readable(unsigned int queue, int patience)
{
	struct pollfd source = {.fd = device.kind.source(&device, queue), .events = POLLIN};

	assert_true(source.fd >= 0);
	return poll(&source, 1, patience) == 1;
}

static uint32_t guest_receives(unsigned int queue, void *buffer, size_t size)
{
	static uint8_t scratch[CONSOLE_REQUEST_BYTES];
	static struct vhost_request request;

	assert_true(is_readable(queue, -1));
	request = (struct vhost_request){.queue = queue, .in_count = 1, .in_bytes = size};
	request.segments[0] = (struct iovec){buffer, size};
	request.in = request.segments;
	return device.kind.serve(&device, &request, scratch);
}

static void guest_says(uint16_t event, uint16_t value)
{
	const struct virtio_console_control message = {.event = event, .value = value};

	assert_int_equal(guest_sends(3, &message, sizeof(message)), 0);
}

static void guest_hears(uint16_t event, uint16_t value)
{
	struct virtio_console_control message[8];

	assert_true(guest_receives(2, message, sizeof(message)) >= sizeof(message[0]));
	assert_int_equal(message[0].id, 0);
	assert_int_equal(message[0].event, event);
	assert_int_equal(message[0].value, value);
}

static int start(void **state)
{
	static bool is_made;

	(void)state;
	/* Its thread lives as long as the process: one device for all tests, whose guest starts anew in each. */
	if (!is_made) {
		(void)unlink(PATH);
		if (console_device_make(&device, PATH, NAME) || console_device_start(&device))
			return -1;
	}
	is_made = true;
	guest_says(VIRTIO_CONSOLE_DEVICE_READY, 1);
	guest_hears(VIRTIO_CONSOLE_PORT_ADD, 1);
	guest_says(VIRTIO_CONSOLE_PORT_READY, 1);
	guest_hears(VIRTIO_CONSOLE_PORT_NAME, 1);
	guest_says(VIRTIO_CONSOLE_PORT_OPEN, 1);
	return 0;
}

static int connect_program(void)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = PATH};
	int program = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_int_equal(connect(program, (struct sockaddr *)&address, sizeof(address)), 0);
	return program;
}

static void leave(int program)
{
	close(program);
	guest_hears(VIRTIO_CONSOLE_PORT_OPEN, 0);
	assert_false(is_readable(2, 0));
}

static void two_programs_speak_with_each_other(void **state)
{
	char buffer[8] = "";
	int program;

	(void)state;
	program = connect_program();
	guest_hears(VIRTIO_CONSOLE_PORT_OPEN, 1);
	assert_int_equal(write(program, "ask", 3), 3);
	assert_int_equal(guest_receives(0, buffer, sizeof(buffer)), 3);
	assert_memory_equal(buffer, "ask", 3);
	guest_sends(1, "answer", 6);
	assert_int_equal(recv(program, buffer, 6, MSG_WAITALL), 6);
	assert_memory_equal(buffer, "answer", 6);
	leave(program);
}

static void what_was_said_to_nobody_is_gone(void **state)
{
	char buffer[16] = "";
	int program;

	(void)state;
	guest_sends(1, "to nobody", 9);
	program = connect_program();
	guest_hears(VIRTIO_CONSOLE_PORT_OPEN, 1);
	guest_says(VIRTIO_CONSOLE_PORT_OPEN, 0);
	assert_int_equal(write(program, "nobody listens", 14), 14);
	/* Whoever leaves was heard to the end. */
	leave(program);
	assert_false(is_readable(0, 0));
	guest_says(VIRTIO_CONSOLE_PORT_OPEN, 1);
	program = connect_program();
	guest_hears(VIRTIO_CONSOLE_PORT_OPEN, 1);
	guest_sends(1, "now", 3);
	assert_int_equal(write(program, "now", 3), 3);
	assert_int_equal(recv(program, buffer, sizeof(buffer), 0), 3);
	assert_int_equal(guest_receives(0, buffer, sizeof(buffer)), 3);
	assert_memory_equal(buffer, "now", 3);
	leave(program);
}

static void who_connects_to_a_closed_port_is_hung_up_on(void **state)
{
	int program;
	char byte;

	(void)state;
	guest_says(VIRTIO_CONSOLE_PORT_OPEN, 0);
	program = connect_program();
	assert_int_equal(recv(program, &byte, 1, 0), 0);
	close(program);
	assert_false(is_readable(2, 0));
}

static void the_next_to_connect_takes_over_and_the_guest_is_told(void **state)
{
	int first = connect_program(), second;
	char byte;

	(void)state;
	guest_hears(VIRTIO_CONSOLE_PORT_OPEN, 1);
	second = connect_program();
	guest_hears(VIRTIO_CONSOLE_PORT_OPEN, 0);
	guest_hears(VIRTIO_CONSOLE_PORT_OPEN, 1);
	assert_int_equal(recv(first, &byte, 1, 0), 0);
	close(first);
	leave(second);
}

static void who_does_not_read_stops_nobody(void **state)
{
	static uint8_t much[1 << 16];
	int program;

	(void)state;
	program = connect_program();
	guest_hears(VIRTIO_CONSOLE_PORT_OPEN, 1);
	/* Each writes far more than any buffer holds, and nobody reads. */
	for (int i = 0; i < 64; i++)
		assert_int_equal(guest_sends(1, much, sizeof(much)), 0);
	for (int i = 0; i < 64; i++)
		assert_int_equal(send(program, much, sizeof(much), 0), sizeof(much));
	leave(program);
}

static void a_guest_that_asks_without_end_gets_an_answer_to_each_buffer_and_no_more(void **state)
{
	static const uint8_t half[PORT_HEADER_BYTES / 2];
	uint8_t message[PORT_MESSAGE_MAX];

	(void)state;
	for (int i = 0; i < 100000; i++)
		guest_says(VIRTIO_CONSOLE_DEVICE_READY, 1);
	guest_hears(VIRTIO_CONSOLE_PORT_ADD, 1);
	assert_false(is_readable(2, 0));
	/* Half a message is none; a buffer too small for one stays empty. */
	guest_sends(3, half, sizeof(half));
	assert_false(is_readable(2, 0));
	guest_says(VIRTIO_CONSOLE_PORT_READY, 1);
	assert_int_equal(guest_receives(2, message, sizeof(half)), 0);
	assert_false(is_readable(2, 0));
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(two_programs_speak_with_each_other, start),
		cmocka_unit_test_setup(what_was_said_to_nobody_is_gone, start),
		cmocka_unit_test_setup(who_connects_to_a_closed_port_is_hung_up_on, start),
		cmocka_unit_test_setup(the_next_to_connect_takes_over_and_the_guest_is_told, start),
		cmocka_unit_test_setup(who_does_not_read_stops_nobody, start),
		cmocka_unit_test_setup(a_guest_that_asks_without_end_gets_an_answer_to_each_buffer_and_no_more, start),
	};

	return cmocka_run_group_tests_name("port-device", tests, NULL, NULL);
}
