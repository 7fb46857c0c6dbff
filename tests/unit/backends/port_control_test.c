/*
 * What a guest is told about the one port, in which order, and that nothing it says makes that another.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "port_control.h"

#include <string.h>

#include <linux/virtio_console.h>

#define NAME "org.example.port"

static void says(struct port_control *control, uint32_t id, uint16_t event, uint16_t value)
{
	const struct virtio_console_control message = {.id = id, .event = event, .value = value};
	uint8_t bytes[PORT_HEADER_BYTES];

	memcpy(bytes, &message, sizeof(bytes));
	port_control_hear(control, bytes);
}

static void expect(struct port_control *control, uint16_t event, uint16_t value, const char *text)
{
	struct virtio_console_control message;
	uint8_t bytes[PORT_MESSAGE_MAX];

	assert_true(port_control_owes(control));
	assert_int_equal(port_control_next(control, bytes), sizeof(message) + strlen(text));
	memcpy(&message, bytes, sizeof(message));
	assert_int_equal(message.id, 0);
	assert_int_equal(message.event, event);
	assert_int_equal(message.value, value);
	assert_memory_equal(bytes + sizeof(message), text, strlen(text));
}

static void expect_nothing(struct port_control *control)
{
	assert_false(port_control_owes(control));
}

/** A guest whose driver has the port and has heard its name. */
static struct port_control with_driver(void)
{
	struct port_control control;

	port_control_make(&control, NAME);
	says(&control, VIRTIO_CONSOLE_BAD_ID, VIRTIO_CONSOLE_DEVICE_READY, 1);
	expect(&control, VIRTIO_CONSOLE_PORT_ADD, 1, "");
	says(&control, 0, VIRTIO_CONSOLE_PORT_READY, 1);
	expect(&control, VIRTIO_CONSOLE_PORT_NAME, 1, NAME);
	expect_nothing(&control);
	return control;
}

static void a_driver_is_told_of_the_port_then_of_its_name(void **state)
{
	struct port_control control;
	uint8_t message[PORT_MESSAGE_MAX];

	(void)state;
	port_control_make(&control, NAME);
	expect_nothing(&control);
	assert_int_equal(port_control_next(&control, message), 0);
	control = with_driver();
	assert_false(control.guest_is_open);
}

static void it_hears_who_comes_and_who_goes(void **state)
{
	struct port_control control = with_driver();

	(void)state;
	port_control_connect(&control);
	expect(&control, VIRTIO_CONSOLE_PORT_OPEN, 1, "");
	expect_nothing(&control);
	port_control_leave(&control);
	expect(&control, VIRTIO_CONSOLE_PORT_OPEN, 0, "");
	expect_nothing(&control);
}

static void it_hears_of_another_after_the_first_has_gone(void **state)
{
	struct port_control control = with_driver();

	(void)state;
	port_control_connect(&control);
	expect(&control, VIRTIO_CONSOLE_PORT_OPEN, 1, "");
	for (int i = 0; i < 1000; i++) {
		port_control_leave(&control);
		port_control_connect(&control);
	}
	expect(&control, VIRTIO_CONSOLE_PORT_OPEN, 0, "");
	expect(&control, VIRTIO_CONSOLE_PORT_OPEN, 1, "");
	expect_nothing(&control);
}

static void it_hears_nothing_of_who_came_and_went_meanwhile(void **state)
{
	struct port_control control = with_driver();
	uint8_t message[PORT_MESSAGE_MAX];

	(void)state;
	port_control_connect(&control);
	port_control_leave(&control);
	expect_nothing(&control);
	/* Its buffer may be taken already: then it hears what it knows. */
	assert_int_equal(port_control_next(&control, message), PORT_HEADER_BYTES);
	assert_int_equal(message[4], VIRTIO_CONSOLE_PORT_OPEN);
	assert_int_equal(message[6], 0);
}

static void who_waited_for_the_guest_is_announced_once_its_driver_is_there(void **state)
{
	struct port_control control;

	(void)state;
	port_control_make(&control, NAME);
	port_control_connect(&control);
	expect_nothing(&control);
	says(&control, 0, VIRTIO_CONSOLE_DEVICE_READY, 1);
	expect(&control, VIRTIO_CONSOLE_PORT_ADD, 1, "");
	says(&control, 0, VIRTIO_CONSOLE_PORT_READY, 1);
	expect(&control, VIRTIO_CONSOLE_PORT_NAME, 1, NAME);
	expect(&control, VIRTIO_CONSOLE_PORT_OPEN, 1, "");
	expect_nothing(&control);
}

static void a_driver_that_starts_again_begins_anew(void **state)
{
	struct port_control control = with_driver();

	(void)state;
	says(&control, 0, VIRTIO_CONSOLE_PORT_OPEN, 1);
	assert_true(control.guest_is_open);
	port_control_connect(&control);
	expect(&control, VIRTIO_CONSOLE_PORT_OPEN, 1, "");
	says(&control, VIRTIO_CONSOLE_BAD_ID, VIRTIO_CONSOLE_DEVICE_READY, 1);
	assert_false(control.guest_is_open);
	expect(&control, VIRTIO_CONSOLE_PORT_ADD, 1, "");
	expect_nothing(&control); /* not even that somebody is there: it has no port yet */
	says(&control, 0, VIRTIO_CONSOLE_PORT_READY, 1);
	expect(&control, VIRTIO_CONSOLE_PORT_NAME, 1, NAME);
	expect(&control, VIRTIO_CONSOLE_PORT_OPEN, 1, "");
}

static void a_driver_that_fails_is_told_nothing(void **state)
{
	struct port_control control = with_driver();

	(void)state;
	port_control_connect(&control);
	says(&control, 0, VIRTIO_CONSOLE_PORT_READY, 0);
	expect_nothing(&control);
	control = with_driver();
	port_control_connect(&control);
	says(&control, VIRTIO_CONSOLE_BAD_ID, VIRTIO_CONSOLE_DEVICE_READY, 0);
	expect_nothing(&control);
}

static void messages_without_sense_change_nothing(void **state)
{
	static const struct {
		uint32_t id;
		uint16_t event, value;
	} senseless[] = {{1, VIRTIO_CONSOLE_PORT_READY, 1},	      {VIRTIO_CONSOLE_BAD_ID, VIRTIO_CONSOLE_PORT_OPEN, 1},
			 {0, VIRTIO_CONSOLE_PORT_OPEN, 2},	      {0, VIRTIO_CONSOLE_DEVICE_READY, 0xffff},
			 {0, VIRTIO_CONSOLE_PORT_ADD, 1},	      {0, VIRTIO_CONSOLE_PORT_REMOVE, 1},
			 {0, VIRTIO_CONSOLE_PORT_NAME, 1},	      {0, VIRTIO_CONSOLE_CONSOLE_PORT, 1},
			 {0, VIRTIO_CONSOLE_RESIZE, 1},		      {0, 0xffff, 1}};
	const struct port_control before = with_driver();
	struct port_control control = before;

	(void)state;
	for (size_t i = 0; i < sizeof(senseless) / sizeof(senseless[0]); i++) {
		says(&control, senseless[i].id, senseless[i].event, senseless[i].value);
		assert_memory_equal(&control, &before, sizeof(control));
	}
	/* Nor can a guest open a port that its driver has not got. */
	port_control_make(&control, NAME);
	says(&control, 0, VIRTIO_CONSOLE_PORT_OPEN, 1);
	assert_false(control.guest_is_open);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_driver_is_told_of_the_port_then_of_its_name),
		cmocka_unit_test(it_hears_who_comes_and_who_goes),
		cmocka_unit_test(it_hears_of_another_after_the_first_has_gone),
		cmocka_unit_test(it_hears_nothing_of_who_came_and_went_meanwhile),
		cmocka_unit_test(who_waited_for_the_guest_is_announced_once_its_driver_is_there),
		cmocka_unit_test(a_driver_that_starts_again_begins_anew),
		cmocka_unit_test(a_driver_that_fails_is_told_nothing),
		cmocka_unit_test(messages_without_sense_change_nothing),
	};

	return cmocka_run_group_tests_name("port-control", tests, NULL, NULL);
}
