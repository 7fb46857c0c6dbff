/* SPDX-License-Identifier: MIT */
/*
 * A tiny guest, made and run by hypercalls alone, as a driver would. usage: guest CASE
 *   protected   loads, seals and runs a guest that keeps a secret; looks for it; destroys the guest
 *   churn       makes, runs and kills guests at different points; nothing may be left
 *   spin        a guest that never exits by itself: interrupts end its runs
 *   platform    a guest with a platform and two processors (platform_guest.S)
 */
#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <bulkhead/hypercall.h>
#include <bulkhead/vcpu.h>

#include "guest.h"

#define CODE_AT	  0x1000u
#define SECRET	  0x5ec2e7a1u

/*
 * The guest, real mode, loaded at CODE_AT. It makes its secret, writes it to 3000h (a page it was
 * given as zeros), checks that the page was zero, reads a byte from the serial port, and answers it
 * plus one; then it halts, and after the halt says whether the secret is still there.
 */
static const uint8_t talker[] = {
	0x66, 0xa1, 0x00, 0x30,			   /* mov eax, [3000h] */
	0x66, 0x85, 0xc0,			   /* test eax, eax */
	0x75, 0x25,				   /* jnz bad */
	0x66, 0xb8, 0xa0, 0xe7, 0xc2, 0x5e,	   /* mov eax, SECRET - 1 */
	0x66, 0x40,				   /* inc eax */
	0x66, 0xa3, 0x00, 0x30,			   /* mov [3000h], eax */
	0xba, 0xf8, 0x03,			   /* mov dx, 3f8h */
	0xec,					   /* in al, dx */
	0xfe, 0xc0,				   /* inc al */
	0xee,					   /* out dx, al */
	0xf4,					   /* hlt */
	0x66, 0xa1, 0x00, 0x30,			   /* mov eax, [3000h] */
	0x66, 0x3d, 0xa1, 0xe7, 0xc2, 0x5e,	   /* cmp eax, SECRET */
	0x75, 0x05,				   /* jne bad */
	0xb0, 'K',				   /* mov al, 'K' */
	0xee,					   /* out dx, al */
	0xf4,					   /* hlt */
	0xf4,					   /* hlt */
	0xba, 0xf8, 0x03,			   /* bad: mov dx, 3f8h */
	0xb0, 'X',				   /* mov al, 'X' */
	0xee,					   /* out dx, al */
	0xf4,					   /* hlt */
};
static const uint8_t spinner[] = { 0xeb, 0xfe };	/* jmp $ */
static const uint8_t outlaw[] = {			/* reads an address it does not have */
	0xb8, 0x00, 0xf0, 0x8e, 0xd8, 0xa0, 0x00, 0x00, 0xf4
};

static int device;
static uint64_t pool;
uint64_t pool_next; /* physical memory, 4 MiB */

uint64_t ring0(uint32_t operation, uint64_t address, uint32_t width, uint64_t value)
{
	struct ring0 request = { .operation = operation, .address = address, .width = width,
				 .value = { value } };

	if (ioctl(device, RING0_RUN, &request) || request.fault != RING0_NO_FAULT) {
		printf("ring0 operation %u at %llx failed, fault %d\n", operation,
		       (unsigned long long)address, (int)request.fault);
		exit(1);
	}
	return request.value[0];
}

unsigned int call_value(uint64_t number, uint64_t a, uint64_t b, uint64_t c, uint64_t d,
			       uint64_t *value)
{
	struct ring0 request;

	do {
		request = (struct ring0){ .operation = RING0_CALL, .address = number,
					  .value = { a, b, c, d } };
		if (ioctl(device, RING0_RUN, &request) || request.fault != RING0_NO_FAULT) {
			printf("hypercall %llx failed, fault %d\n", (unsigned long long)number,
			       (int)request.fault);
			exit(1);
		}
	} while (request.value[0] == BULKHEAD_AGAIN);
	if (value)
		*value = request.value[1];
	return (unsigned int)request.value[0];
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
	uint64_t next = pool_next;

	pool_next += 4096;
	return next;
}

void copy_in(uint64_t to, const void *from, size_t size_bytes)
{
	const uint8_t *bytes = from;

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
		.pat = 0x0007040600070406ull,
	};

	state.gpr[4] = 0x2000;
	return state;
}

/* Everything up to a stage: 0 created, 1 memory, 2 vCPU, 3 sealed. */
static struct guest make(const uint8_t *code, size_t size_bytes, int stage)
{
	struct bulkhead_vcpu_state state = real_mode();
	struct guest guest = { .first = pool_next };
	uint64_t status_page = page(), vcpu_pages, pages;

	expect("STATUS", call(BULKHEAD_CALL_STATUS, status_page, 0, 0, 0), 0);
	vcpu_pages = ring0(RING0_READ, status_page + offsetof(struct bulkhead_status, vcpu_pages), 4, 0);
	expect("CREATE", call_value(BULKHEAD_CALL_GUEST_CREATE, page(), BULKHEAD_GUEST_PROTECTED, 0, 0,
				    &guest.handle), 0);
	for (int i = 0; i < 3; i++)
		expect("PAY", call(BULKHEAD_CALL_GUEST_PAY, guest.handle, page(), 0, 0), 0);
	guest.code_page = page();
	guest.run_page = page();
	pages = pool_next;
	pool_next += vcpu_pages * 4096;
	guest.end = pool_next;
	if (stage < 1)
		return guest;
	expect("RANGE", call(BULKHEAD_CALL_GUEST_RANGE, guest.handle, 0, 16, 0), 0);
	for (size_t i = 0; i < 4096; i += 8)
		ring0(RING0_WRITE, guest.code_page + i, 8, 0);
	copy_in(guest.code_page, code, size_bytes);
	expect("LOAD", call(BULKHEAD_CALL_GUEST_LOAD, guest.handle, guest.code_page, CODE_AT, 1), 0);
	if (stage < 2)
		return guest;
	expect("VCPU_CREATE", call(BULKHEAD_CALL_VCPU_CREATE, guest.handle, 0, pages, guest.run_page), 0);
	for (size_t i = 0; i < 4096; i += 8)
		ring0(RING0_WRITE, status_page + i, 8, 0);
	copy_in(status_page, &state, sizeof(state));
	expect("VCPU_SET", call(BULKHEAD_CALL_VCPU_SET, guest.handle, 0, status_page, 0), 0);
	if (stage < 3)
		return guest;
	expect("SEAL", call(BULKHEAD_CALL_GUEST_SEAL, guest.handle, 0, 0, 0), 0);
	return guest;
}

static uint64_t run_field(const struct guest *guest, size_t offset, uint32_t width)
{
	return ring0(RING0_READ, guest->run_page + offset, width, 0);
}
#define RUN(guest, field)                                                                          \
	run_field(guest, offsetof(struct bulkhead_run, field),                                     \
		  sizeof(((struct bulkhead_run *)0)->field))

/* Runs until something other than an interrupt ends it; fills the page it asks for, once. */
static unsigned int run(struct guest *guest)
{
	for (;;) {
		unsigned int exit_reason;

		expect("RUN", call(BULKHEAD_CALL_VCPU_RUN, guest->handle, 0, 0, 0), 0);
		exit_reason = (unsigned int)RUN(guest, exit);
		if (exit_reason == BULKHEAD_RUN_INTERRUPT)
			continue;
		if (exit_reason != BULKHEAD_RUN_MEMORY)
			return exit_reason;
		guest->end = pool_next + 4096;
		expect("DONATE", call(BULKHEAD_CALL_GUEST_DONATE, guest->handle, page(),
				      RUN(guest, address), 1), 0);
	}
}

void destroy(const struct guest *guest)
{
	expect("DESTROY", call(BULKHEAD_CALL_GUEST_DESTROY, guest->handle, 0, 0, 0), 0);
}

/* The secret, anywhere in memory that this guest was made of? */
static int finds_secret(const struct guest *guest)
{
	for (uint64_t at = guest->first; at < guest->end; at += 4)
		if (ring0(RING0_READ, at, 4, 0) == SECRET)
			return 1;
	return 0;
}

static int protected_case(void)
{
	struct guest guest = make(talker, sizeof(talker), 3);

	/* The code went in; it cannot be seen or changed any more. */
	expect("code read back", ring0(RING0_READ, guest.code_page, 4, 0), 0);
	expect("first exit", run(&guest), BULKHEAD_RUN_PORT);
	expect("is read", RUN(&guest, is_read), 1);
	expect("port", RUN(&guest, port), 0x3f8);
	ring0(RING0_WRITE, guest.run_page + offsetof(struct bulkhead_run, value), 4, 'A');
	/* What else a monitor may write is not believed. */
	ring0(RING0_WRITE, guest.run_page + offsetof(struct bulkhead_run, size_bytes), 1, 200);
	expect("second exit", run(&guest), BULKHEAD_RUN_PORT);
	expect("is read", RUN(&guest, is_read), 0);
	expect("answer", RUN(&guest, value), 'B');
	expect("third exit", run(&guest), BULKHEAD_RUN_HALT);
	expect("secret in reach while it runs", (unsigned int)finds_secret(&guest), 0);
	/* The search does find what lies in the open. */
	ring0(RING0_WRITE, guest.run_page + 2048, 4, SECRET);
	expect("secret in the run page", (unsigned int)finds_secret(&guest), 1);
	ring0(RING0_WRITE, guest.run_page + 2048, 4, 0);
	expect("registers", call(BULKHEAD_CALL_VCPU_GET, guest.handle, 0, page(), 0), BULKHEAD_BAD_STATE);
	expect("fourth exit", run(&guest), BULKHEAD_RUN_PORT);
	expect("secret still there", RUN(&guest, value), 'K');
	expect("fifth exit", run(&guest), BULKHEAD_RUN_HALT);
	destroy(&guest);
	expect("secret in reach afterwards", (unsigned int)finds_secret(&guest), 0);
	expect("handle afterwards", call(BULKHEAD_CALL_VCPU_RUN, guest.handle, 0, 0, 0), BULKHEAD_NO_GUEST);
	for (uint64_t at = guest.first; at < guest.end; at += 4096)
		ring0(RING0_WRITE, at, 4, 1); /* writable again: it is ours */

	guest = make(outlaw, sizeof(outlaw), 3);
	expect("undeclared address", run(&guest), BULKHEAD_RUN_FAULT);
	expect("over for good", run(&guest), BULKHEAD_RUN_FAULT);
	destroy(&guest);
	return 0;
}

static int churn_case(void)
{
	uint64_t before, after, status_page = page(), start = pool_next;

	call(BULKHEAD_CALL_STATUS, status_page, 0, 0, 0);
	before = ring0(RING0_READ, status_page + offsetof(struct bulkhead_status, table_pages), 8, 0) +
		 ring0(RING0_READ, status_page + offsetof(struct bulkhead_status, spare_pages), 8, 0);
	for (int i = 0; i < 200; i++) {
		struct guest guest;

		pool_next = start;
		guest = make(talker, sizeof(talker), i % 4);
		for (int runs = 0; i % 4 == 3 && runs < i / 4 % 4; runs++)
			run(&guest);
		destroy(&guest);
	}
	call(BULKHEAD_CALL_STATUS, status_page, 0, 0, 0);
	after = ring0(RING0_READ, status_page + offsetof(struct bulkhead_status, table_pages), 8, 0) +
		ring0(RING0_READ, status_page + offsetof(struct bulkhead_status, spare_pages), 8, 0);
	expect("tables afterwards", after, before);
	expect("guest pages afterwards",
	       ring0(RING0_READ, status_page + offsetof(struct bulkhead_status, guest_pages), 8, 0), 0);
	for (uint64_t at = start; at < pool_next; at += 4096)
		ring0(RING0_WRITE, at, 4, 1);
	return 0;
}

static int spin_case(void)
{
	struct guest guest = make(spinner, sizeof(spinner), 3);

	for (int i = 0; i < 20; i++) {
		expect("RUN", call(BULKHEAD_CALL_VCPU_RUN, guest.handle, 0, 0, 0), 0);
		expect("exit", RUN(&guest, exit), BULKHEAD_RUN_INTERRUPT);
	}
	destroy(&guest);
	return 0;
}

int main(int argc, char **argv)
{
	device = open(RING0_DEVICE, O_RDWR);
	if (device < 0 || argc != 2) {
		fprintf(stderr, device < 0 ? "guest: no " RING0_DEVICE "\n" :
					     "usage: guest protected|churn|spin|platform\n");
		return 2;
	}
	pool = pool_next = ring0(RING0_ALLOCATE, 0, RING0_ORDER_MAX, 0);
	if (strcmp(argv[1], "protected") == 0)
		return protected_case();
	if (strcmp(argv[1], "churn") == 0)
		return churn_case();
	if (strcmp(argv[1], "spin") == 0)
		return spin_case();
	if (strcmp(argv[1], "platform") == 0)
		return platform_case();
	return 2;
}
