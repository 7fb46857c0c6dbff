/* SPDX-License-Identifier: MIT */
/*
 * See guest.h: acts at CPL 0, and guests made, run and ended by hypercalls.
 */
#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include "guest.h"

#define AREA_BYTES 0x200000ull

static int device;
uint64_t pool_next;
_Thread_local uint32_t on_processor;

int guest_start(void)
{
	device = open(RING0_DEVICE, O_RDWR);
	if (device < 0) {
		perror(RING0_DEVICE);
		return 2;
	}
	pool_next = ring0(RING0_ALLOCATE, 0, RING0_ORDER_MAX, 0);
	return 0;
}

int act(struct ring0 *request)
{
	request->processor = on_processor;
	return ioctl(device, RING0_RUN, request) == 0 && request->fault == RING0_NO_FAULT;
}

uint64_t ring0(uint32_t operation, uint64_t address, uint32_t width, uint64_t value)
{
	struct ring0 request = { .operation = operation, .address = address, .width = width,
				 .value = { value } };

	if (!act(&request)) {
		printf("ring0 operation %u at %llx failed, fault %d\n", operation,
		       (unsigned long long)address, (int)request.fault);
		exit(1);
	}
	return request.value[0];
}

unsigned int call_once(uint64_t number, uint64_t a, uint64_t b, uint64_t c, uint64_t d, uint64_t *value)
{
	struct ring0 request = { .operation = RING0_CALL, .address = number, .value = { a, b, c, d } };

	if (!act(&request)) {
		printf("hypercall %llx failed, fault %d\n", (unsigned long long)number, (int)request.fault);
		exit(1);
	}
	if (value)
		*value = request.value[1];
	return (unsigned int)request.value[0];
}

unsigned int call_value(uint64_t number, uint64_t a, uint64_t b, uint64_t c, uint64_t d, uint64_t *value)
{
	unsigned int status;

	do
		status = call_once(number, a, b, c, d, value);
	while (status == BULKHEAD_AGAIN);
	return status;
}

unsigned int call(uint64_t number, uint64_t a, uint64_t b, uint64_t c, uint64_t d)
{
	return call_value(number, a, b, c, d, NULL);
}

void expect(const char *what, unsigned long long got, unsigned long long wanted)
{
	if (got == wanted)
		return;
	printf("%s: %llu, expected %llu\n", what, got, wanted);
	exit(1);
}

uint64_t page(void)
{
	return contiguous(1);
}

uint64_t contiguous(uint64_t pages)
{
	uint64_t first = pool_next;

	if (first / AREA_BYTES != (first + pages * 4096 - 1) / AREA_BYTES)
		first = (first + AREA_BYTES - 1) & ~(AREA_BYTES - 1);
	pool_next = first + pages * 4096;
	return first;
}

void copy_in(uint64_t to, const void *from, size_t size_bytes)
{
	const uint8_t *bytes = from;

	for (size_t i = 0; i < 4096; i += 8)
		ring0(RING0_WRITE, to + i, 8, 0);
	for (size_t i = 0; i < size_bytes; i++)
		ring0(RING0_WRITE, to + i, 1, bytes[i]);
}

struct bulkhead_vcpu_state real_mode(void)
{
	struct bulkhead_segment data = { 0, 0x93, 0xffff, 0 };
	struct bulkhead_segment table = { 0, 0, 0xffff, 0 };
	struct bulkhead_vcpu_state state = {
		.rip = CODE_AT,
		.rflags = 2,
		.es = data, .ss = data, .ds = data, .fs = data, .gs = data,
		.cs = { 0, 0x9b, 0xffff, 0 },
		.ldtr = { 0, 0x82, 0xffff, 0 },
		.tr = { 0, 0x8b, 0xffff, 0 },
		.gdtr = table, .idtr = table,
		.cr0 = 0x10,
		.cr4 = 0x200, /* SSE */
		.pat = 0x0007040600070406ull,
	};

	state.gpr[4] = 0x2000;
	return state;
}

/* A number of 32 bits in what STATUS says. */
static uint64_t status_field(size_t offset)
{
	uint64_t status = page();

	expect("STATUS", call(BULKHEAD_CALL_STATUS, status, 0, 0, 0), 0);
	return ring0(RING0_READ, status + offset, 4, 0);
}

void give(struct guest *guest, uint64_t content, uint64_t at)
{
	guest->end = pool_next;
	if (guest->is_protected)
		expect("LOAD", call(BULKHEAD_CALL_GUEST_LOAD, guest->handle, content, at, 1), 0);
	else
		expect("SHARE", call(BULKHEAD_CALL_GUEST_SHARE, guest->handle, content, at, 1), 0);
}

static void add_vcpu(struct guest *guest)
{
	struct bulkhead_vcpu_state state = real_mode();
	uint64_t state_page = page();

	guest->run_page = page();
	guest->vcpu_pages = contiguous(status_field(offsetof(struct bulkhead_status, vcpu_pages)));
	guest->end = pool_next;
	expect("VCPU_CREATE", call(BULKHEAD_CALL_VCPU_CREATE, guest->handle, 0, guest->vcpu_pages, guest->run_page), 0);
	copy_in(state_page, &state, sizeof(state));
	expect("VCPU_SET", call(BULKHEAD_CALL_VCPU_SET, guest->handle, 0, state_page, 0), 0);
}

void seal(const struct guest *guest)
{
	expect("SEAL", call(BULKHEAD_CALL_GUEST_SEAL, guest->handle, 0, 0, 0), 0);
}

struct guest make_guest(const uint8_t *code, size_t size_bytes, enum guest_stage stage, bool is_protected)
{
	struct guest guest = { .first = pool_next, .is_protected = is_protected };

	expect("CREATE", call_value(BULKHEAD_CALL_GUEST_CREATE, page(), is_protected ? BULKHEAD_GUEST_PROTECTED : 0, 0,
				    0, &guest.handle), 0);
	for (int i = 0; i < 3; i++)
		expect("PAY", call(BULKHEAD_CALL_GUEST_PAY, guest.handle, page(), 0, 0), 0);
	guest.end = pool_next;
	finish_guest(&guest, code, size_bytes, stage);
	return guest;
}

void finish_guest(struct guest *guest, const uint8_t *code, size_t size_bytes, enum guest_stage stage)
{
	if (stage < GUEST_LOADED)
		return;
	expect("RANGE", call(BULKHEAD_CALL_GUEST_RANGE, guest->handle, 0, GUEST_PAGES, 0), 0);
	guest->code_page = page();
	copy_in(guest->code_page, code, size_bytes);
	give(guest, guest->code_page, CODE_AT);
	if (stage < GUEST_HAS_VCPU)
		return;
	add_vcpu(guest);
	if (stage == GUEST_SEALED)
		seal(guest);
}

void give_platform(struct guest *guest)
{
	uint64_t pages = status_field(offsetof(struct bulkhead_status, platform_pages));

	expect("PLATFORM", call(BULKHEAD_CALL_PLATFORM_CREATE, guest->handle, contiguous(pages), 0, 0), 0);
	guest->end = pool_next;
}

void add_device(const struct guest *guest, uint64_t slot, const struct bulkhead_device_description *description)
{
	uint64_t content = page();

	copy_in(content, description, sizeof(*description));
	expect("DEVICE", call(BULKHEAD_CALL_PLATFORM_DEVICE, guest->handle, slot, content, 0), 0);
}

uint64_t run_field(const struct guest *guest, size_t offset, uint32_t width)
{
	return ring0(RING0_READ, guest->run_page + offset, width, 0);
}

void give_zeros(struct guest *guest, uint64_t at)
{
	guest->filled_page = page();
	guest->end = pool_next;
	expect("filling a page", call(guest->is_protected ? BULKHEAD_CALL_GUEST_DONATE : BULKHEAD_CALL_GUEST_SHARE,
				      guest->handle, guest->filled_page, at, 1), 0);
}

unsigned int run(struct guest *guest)
{
	for (;;) {
		unsigned int reason;

		expect("RUN", call(BULKHEAD_CALL_VCPU_RUN, guest->handle, 0, 0, 0), 0);
		reason = (unsigned int)RUN_FIELD(guest, exit);
		if (reason == BULKHEAD_RUN_INTERRUPT)
			continue;
		if (reason != BULKHEAD_RUN_MEMORY)
			return reason;
		give_zeros(guest, RUN_FIELD(guest, address));
	}
}

void destroy(const struct guest *guest)
{
	expect("DESTROY", call(BULKHEAD_CALL_GUEST_DESTROY, guest->handle, 0, 0, 0), 0);
}
