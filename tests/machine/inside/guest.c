/* SPDX-License-Identifier: MIT */
/*
 * A tiny guest, made and run by hypercalls alone, as a driver would. usage: guest CASE
 *   protected   loads, seals and runs a guest that keeps a secret; looks for it; destroys the guest
 *   churn       makes, runs and kills guests at different points; nothing may be left
 *   spin        a guest that never exits by itself: interrupts end its runs
 *   platform    a guest with a platform and two processors (platform_guest.S)
 */
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <bulkhead/hypercall.h>
#include <bulkhead/vcpu.h>

#include "guest.h"

#define SECRET 0x5ec2e7a1u

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
	struct guest guest = make_guest(talker, sizeof(talker), GUEST_SEALED, true);

	/* The code went in; it cannot be seen or changed any more. */
	expect("code read back", ring0(RING0_READ, guest.code_page, 4, 0), 0);
	expect("first exit", run(&guest), BULKHEAD_RUN_PORT);
	expect("is read", RUN_FIELD(&guest, is_read), 1);
	expect("port", RUN_FIELD(&guest, port), 0x3f8);
	ring0(RING0_WRITE, guest.run_page + offsetof(struct bulkhead_run, value), 4, 'A');
	/* What else a monitor may write is not believed. */
	ring0(RING0_WRITE, guest.run_page + offsetof(struct bulkhead_run, size_bytes), 1, 200);
	expect("second exit", run(&guest), BULKHEAD_RUN_PORT);
	expect("is read", RUN_FIELD(&guest, is_read), 0);
	expect("answer", RUN_FIELD(&guest, value), 'B');
	expect("third exit", run(&guest), BULKHEAD_RUN_HALT);
	expect("secret in reach while it runs", (unsigned int)finds_secret(&guest), 0);
	/* The search does find what lies in the open. */
	ring0(RING0_WRITE, guest.run_page + 2048, 4, SECRET);
	expect("secret in the run page", (unsigned int)finds_secret(&guest), 1);
	ring0(RING0_WRITE, guest.run_page + 2048, 4, 0);
	expect("registers", call(BULKHEAD_CALL_VCPU_GET, guest.handle, 0, page(), 0), BULKHEAD_BAD_STATE);
	expect("fourth exit", run(&guest), BULKHEAD_RUN_PORT);
	expect("secret still there", RUN_FIELD(&guest, value), 'K');
	expect("fifth exit", run(&guest), BULKHEAD_RUN_HALT);
	destroy(&guest);
	expect("secret in reach afterwards", (unsigned int)finds_secret(&guest), 0);
	expect("handle afterwards", call(BULKHEAD_CALL_VCPU_RUN, guest.handle, 0, 0, 0), BULKHEAD_NO_GUEST);
	for (uint64_t at = guest.first; at < guest.end; at += 4096)
		ring0(RING0_WRITE, at, 4, 1); /* writable again: it is ours */

	guest = make_guest(outlaw, sizeof(outlaw), GUEST_SEALED, true);
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
		guest = make_guest(talker, sizeof(talker), (enum guest_stage)(i % 4), true);
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
	struct guest guest = make_guest(spinner, sizeof(spinner), GUEST_SEALED, true);

	for (int i = 0; i < 20; i++) {
		expect("RUN", call(BULKHEAD_CALL_VCPU_RUN, guest.handle, 0, 0, 0), 0);
		expect("exit", RUN_FIELD(&guest, exit), BULKHEAD_RUN_INTERRUPT);
	}
	destroy(&guest);
	return 0;
}

int main(int argc, char **argv)
{
	if (argc != 2) {
		fprintf(stderr, "usage: guest protected|churn|spin|platform\n");
		return 2;
	}
	if (guest_start())
		return 2;
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
