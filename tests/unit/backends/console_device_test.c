/*
 * The console device: what a guest sends reaches who is connected, now or later; what is typed reaches the guest; nobody
 * stops anybody.
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

#define PATH "console-device-test.sock"

static struct console_device device;

static int start(void **state)
{
	static bool is_made;

	(void)state;
	/* Its thread lives as long as the process: one device for all tests. */
	if (is_made)
		return 0;
	is_made = true;
	(void)unlink(PATH);
	return console_device_make(&device, PATH, NULL) || console_device_start(&device) ? -1 : 0;
}

static int connect_person(void)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = PATH};
	int person = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_int_equal(connect(person, (struct sockaddr *)&address, sizeof(address)), 0);
	return person;
}

static uint32_t guest_sends(const void *text, size_t bytes)
{
	static uint8_t scratch[CONSOLE_REQUEST_BYTES];
	static struct vhost_request request;

	request = (struct vhost_request){.queue = 1, .out_count = 1, .out_bytes = bytes};
	request.segments[0] = (struct iovec){(void *)text, bytes};
	request.out = request.segments;
	return device.kind.serve(&device, &request, scratch);
}

static uint32_t guest_receives(void *buffer, size_t bytes)
{
	static uint8_t scratch[CONSOLE_REQUEST_BYTES];
	static struct vhost_request request;
	struct pollfd source = {.fd = device.kind.source(&device, 0), .events = POLLIN};

	request = (struct vhost_request){.in_count = 1, .in_bytes = bytes};
	request.segments[0] = (struct iovec){buffer, bytes};
	request.in = request.segments;
	assert_int_equal(poll(&source, 1, -1), 1);
	return device.kind.serve(&device, &request, scratch);
}

static void expect(int person, const char *text)
{
	char got[256] = "";

	assert_int_equal(recv(person, got, strlen(text), MSG_WAITALL), strlen(text));
	assert_string_equal(got, text);
}

static void output_waits_for_who_comes_and_goes_on(void **state)
{
	int person;

	(void)state;
	assert_int_equal(guest_sends("before ", 7), 0);
	person = connect_person();
	expect(person, "before ");
	guest_sends("after", 5);
	expect(person, "after");
	close(person);
}

static void the_next_to_connect_takes_over(void **state)
{
	int first = connect_person(), second;
	struct pollfd end = {.events = POLLRDHUP};
	char byte;

	(void)state;
	expect(first, "before after");
	second = connect_person();
	expect(second, "before after");
	assert_int_equal(recv(first, &byte, 1, 0), 0);
	/* Replaced, not hung up on: that is how it knows. */
	end.fd = first;
	assert_int_equal(poll(&end, 1, 0), 1);
	assert_int_equal(end.revents, POLLRDHUP);
	close(first);
	close(second);
}

static void keys_reach_the_guest_as_far_as_it_has_room(void **state)
{
	int person = connect_person();
	char buffer[8] = "";

	(void)state;
	assert_int_equal(write(person, "keys!", 5), 5);
	assert_int_equal(guest_receives(buffer, 3), 3);
	assert_int_equal(guest_receives(buffer + 3, 4), 2);
	assert_string_equal(buffer, "keys!");
	assert_int_equal(device.kind.source(&device, 1), -1);
	close(person);
}

static void much_output_stops_nobody(void **state)
{
	static uint8_t much[3 * CONSOLE_KEPT_BYTES];
	int person = connect_person();
	struct vhost_request empty = {0};

	(void)state;
	/* Nobody reads: the guest goes on all the same, far beyond what a socket holds. */
	for (int i = 0; i < 64; i++)
		assert_int_equal(guest_sends(much, sizeof(much)), 0);
	close(person);
	assert_int_equal(device.kind.serve(&device, &empty, much), 0);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(output_waits_for_who_comes_and_goes_on, start),
		cmocka_unit_test_setup(the_next_to_connect_takes_over, start),
		cmocka_unit_test_setup(keys_reach_the_guest_as_far_as_it_has_room, start),
		cmocka_unit_test_setup(much_output_stops_nobody, start),
	};

	return cmocka_run_group_tests_name("console-device", tests, NULL, NULL);
}
