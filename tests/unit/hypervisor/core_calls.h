/* SPDX-License-Identifier: MIT */
/*
 * Hypercalls and memory accesses as a service domain makes them, for tests of the core.
 */
#ifndef CORE_CALLS_H
#define CORE_CALLS_H

#include "fake_arch.h"
#include "hypercall.h"
#include "ownership.h"

/** Whether a number is one of the interface's (bulkhead/hypercall.h). */
static inline bool call_is_known(uint64_t number)
{
	return number <= BULKHEAD_CALL_LOG_READ ||
	       (number >= BULKHEAD_CALL_GUEST_CREATE && number <= BULKHEAD_CALL_GUEST_DESTROY) ||
	       (number >= BULKHEAD_CALL_VCPU_CREATE && number <= BULKHEAD_CALL_VCPU_RUN) ||
	       (number >= BULKHEAD_CALL_PLATFORM_CREATE && number <= BULKHEAD_CALL_PLATFORM_LOSE);
}

/** Makes a hypercall; further arguments 0. value may be NULL. */
static inline enum bulkhead_error call_value(uint64_t number, uint64_t a, uint64_t b, uint64_t c,
					     uint64_t d, uint64_t *value)
{
	struct hypercall hypercall = { .number = number, .arguments = { a, b, c, d } };

	hypercall_dispatch(&hypercall);
	if (value)
		*value = hypercall.value;
	return hypercall.status;
}

static inline enum bulkhead_error call(uint64_t number, uint64_t a, uint64_t b, uint64_t c,
				       uint64_t d)
{
	return call_value(number, a, b, c, d, NULL);
}

static inline enum bulkhead_error call2(uint64_t number, uint64_t a, uint64_t b, uint64_t *value)
{
	return call_value(number, a, b, 0, 0, value);
}

/** Repeats a call until it has finished. */
static inline enum bulkhead_error call_all(uint64_t number, uint64_t a, uint64_t b, uint64_t c,
					   uint64_t d)
{
	enum bulkhead_error error;

	do
		error = call(number, a, b, c, d);
	while (error == BULKHEAD_AGAIN);
	return error;
}

/** What a viewer reads at an address of a space; 0 where it may not. */
static inline uint64_t calls_read(enum viewer viewer, const struct address_space *space,
				  struct input_address at)
{
	struct view view = fake_view(viewer, space, at);

	return view.can_read ? fake_peek(view.page) : 0;
}

/** Writes if the viewer may; returns whether it could. */
static inline bool calls_write(enum viewer viewer, const struct address_space *space,
			       struct input_address at, uint64_t value)
{
	struct view view = fake_view(viewer, space, at);

	if (view.can_write)
		fake_poke(view.page, value);
	return view.can_write;
}

static inline uint64_t calls_service_read(enum viewer viewer, struct phys page)
{
	return calls_read(viewer, &core.service, input_of_service(page));
}

static inline bool calls_service_write(enum viewer viewer, struct phys page, uint64_t value)
{
	return calls_write(viewer, &core.service, input_of_service(page), value);
}

#endif
