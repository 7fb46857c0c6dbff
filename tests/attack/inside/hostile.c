/* SPDX-License-Identifier: MIT */
/*
 * hostile ATTACK [unprotected]: attacks guests, or lets them attack, from the service domain's kernel and as the monitor
 * that runs them. The last line says "succeeded" or "stopped"; anything else is no result.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <bulkhead/platform.h>

#include "hostile.h"

#define SECRET_COMPLEMENT (~((uint64_t)SECRET_HIGH << 32 | SECRET_LOW))

/* The rest of four bytes of which a guest has said some. */
static uint32_t hear_on(struct guest *guest, unsigned int said, uint32_t value)
{
	for (unsigned int i = said; i < 4; i++) {
		expect("exit", run(guest), BULKHEAD_RUN_PORT);
		expect("is read", RUN_FIELD(guest, is_read), 0);
		value |= (uint32_t)(RUN_FIELD(guest, value) & 0xff) << (8 * i);
	}
	return value;
}

uint32_t hear(struct guest *guest)
{
	return hear_on(guest, 0, 0);
}

/* What an unprotected guest leaves in memory would be found by the next attack. */
static void wipe(const struct guest *guest)
{
	for (uint64_t at = guest->first; !guest->is_protected && at < guest->end; at += 8)
		ring0(RING0_WRITE, at, 8, 0);
}

static void end(const struct guest *guest)
{
	destroy(guest);
	wipe(guest);
}

static bool memory_holds_secret(void)
{
	return ring0(RING0_FIND, 0, 0, SECRET_COMPLEMENT) != UINT64_MAX;
}

/* All of RAM, while the guest lives and after it was killed. */
static bool attack_secret(bool is_protected)
{
	struct guest guest = MAKE(keeper, GUEST_SEALED, is_protected);
	bool is_found;

	expect("the secret before it is made", memory_holds_secret(), false);
	expect("exit", run(&guest), BULKHEAD_RUN_HALT);
	is_found = memory_holds_secret();
	destroy(&guest);
	is_found |= memory_holds_secret();
	wipe(&guest);
	return is_found;
}

/* For attacks by devices: prints where the guest's memory lies and the handle, and leaves the guest alone. */
static int hold_secret(bool is_protected)
{
	struct guest guest = MAKE(keeper, GUEST_SEALED, is_protected);

	expect("exit", run(&guest), BULKHEAD_RUN_HALT);
	printf("%llx %llx %llx %llx\n", (unsigned long long)guest.handle, (unsigned long long)guest.filled_page,
	       (unsigned long long)guest.first, (unsigned long long)guest.end);
	return 0;
}

/* A live page is swapped for one of zeros. */
static bool attack_page_swap(bool is_protected)
{
	struct guest guest = MAKE(keeper, GUEST_SEALED, is_protected);
	unsigned int status;
	bool is_lost;

	expect("exit", run(&guest), BULKHEAD_RUN_HALT);
	status = call(BULKHEAD_CALL_GUEST_DONATE, guest.handle, page(), SECRET_AT, 1);
	expect("exit", run(&guest), BULKHEAD_RUN_PORT);
	is_lost = RUN_FIELD(&guest, value) != 'K';
	end(&guest);
	return status == BULKHEAD_OK || is_lost;
}

/* A handle whose guest has ended reaches the next guest in its place. */
static bool attack_handle_reuse(bool is_protected)
{
	struct guest old = MAKE(keeper, GUEST_CREATED, is_protected), next;
	uint64_t handle = old.handle;
	bool is_reached;

	end(&old);
	next = MAKE(keeper, GUEST_HAS_VCPU, is_protected);
	expect("same slot", next.handle % BULKHEAD_MAX_GUESTS, handle % BULKHEAD_MAX_GUESTS);
	is_reached = call(BULKHEAD_CALL_GUEST_SEAL, handle, 0, 0, 0) == BULKHEAD_OK;
	end(&next);
	return is_reached;
}

/* Registers of a sealed guest, read and set. */
static bool attack_registers(bool is_protected)
{
	struct guest guest = MAKE(keeper, GUEST_SEALED, is_protected);
	uint64_t state = page();
	bool is_open;

	expect("exit", run(&guest), BULKHEAD_RUN_HALT);
	is_open = call(BULKHEAD_CALL_VCPU_GET, guest.handle, 0, state, 0) == BULKHEAD_OK &&
		  call(BULKHEAD_CALL_VCPU_SET, guest.handle, 0, state, 0) == BULKHEAD_OK;
	end(&guest);
	return is_open;
}

void digest_of(const struct guest *guest, uint8_t *digest)
{
	uint64_t answer = page();

	expect("MEASURE", call(BULKHEAD_CALL_GUEST_MEASURE, guest->handle, answer, 0, 0), 0);
	for (unsigned int i = 0; i < DIGEST_BYTES; i++)
		digest[i] = (uint8_t)ring0(RING0_READ, answer + offsetof(struct bulkhead_measurement, digest) + i, 1, 0);
}

/* One byte of a guest's code is flipped before it is loaded; its measurement is to be the same. */
static bool attack_flipped_byte(bool is_protected)
{
	struct guest guest = MAKE(keeper, GUEST_SEALED, is_protected);
	size_t size_bytes = (size_t)(keeper_end - keeper);
	uint8_t code[256], honest[DIGEST_BYTES], flipped[DIGEST_BYTES];

	digest_of(&guest, honest);
	end(&guest);
	memcpy(code, keeper, size_bytes);
	code[size_bytes - 1] ^= 1;
	guest = make_guest(code, size_bytes, GUEST_SEALED, is_protected);
	digest_of(&guest, flipped);
	end(&guest);
	return memcmp(honest, flipped, DIGEST_BYTES) == 0;
}

/* A run whose caller has a mark in vector registers, so that the guest might find it there. Returns how many bytes of its
 * first word the guest has said: one, unless an interrupt came before. */
static unsigned int run_with_mark(const struct guest *guest)
{
	struct ring0 request = { .operation = RING0_CALL, .address = BULKHEAD_CALL_VCPU_RUN,
				 .value = { guest->handle } };

	__asm__ volatile("movd %0, %%xmm0\n\tmovd %0, %%xmm7\n\t"
			 "vinsertf128 $1, %%xmm0, %%ymm0, %%ymm0\n\tvinsertf128 $1, %%xmm7, %%ymm7, %%ymm7"
			 : : "r"(MARK) : "xmm0", "xmm7");
	expect("an act", (unsigned int)act(&request), 1);
	expect("RUN", request.value[0], BULKHEAD_OK);
	return RUN_FIELD(guest, exit) == BULKHEAD_RUN_PORT;
}

/* Whether one of the words that a guest says next is not zero. */
static bool says_anything(struct guest *guest, unsigned int looks)
{
	unsigned int said = run_with_mark(guest);
	bool is_found = false;

	for (unsigned int i = 0; i < looks; i++) {
		uint32_t first = said ? (uint32_t)RUN_FIELD(guest, value) & 0xff : 0;
		uint32_t value = hear_on(guest, said, first);

		said = 0;
		if (value)
			printf("register %u holds %x\n", i, value);
		is_found |= value != 0;
	}
	return is_found;
}

/* Whether the second guest finds what the first, or the service domain, left. */
static bool finds_stale(struct guest first, struct guest second, bool says_first, unsigned int looks)
{
	bool is_found;

	expect("exit", run(&first), BULKHEAD_RUN_HALT);
	if (says_first)
		(void)hear(&second);
	is_found = says_anything(&second, looks);
	end(&first);
	end(&second);
	return is_found;
}

/* What one guest, or the service domain, left in registers that VMRUN does not exchange, another one finds. */
static bool attack_stale_registers(bool is_protected)
{
	return finds_stale(MAKE(leaver, GUEST_SEALED, is_protected), MAKE(looker, GUEST_SEALED, is_protected), false, LOOKS);
}

/* The same of the upper halves of YMM registers, which only a guest that has AVX on can look at. */
static bool attack_stale_vectors(bool is_protected)
{
	return finds_stale(MAKE(vector_leaver, GUEST_SEALED, is_protected), MAKE(vector_looker, GUEST_SEALED, is_protected),
			   true, VECTOR_LOOKS);
}

/* A guest's processors send each other whatever a local APIC can send. That it comes to its end is what can be seen here;
 * what reached the machine's own processors, others look at. */
static bool attack_storm(bool is_protected)
{
	const struct platform_code code = { stormer, stormer_end, stormed, stormed_end };

	(void)is_protected;
	expect("the end", strcmp(platform_run(&code), "."), 0);
	return false;
}

/* A page table that lies where a device's registers do: the walk's access must not be carried out as the instruction's. */
static bool attack_table_in_device(bool is_protected)
{
	const struct platform_code code = { walker, walker_end, stormed, stormed_end };

	(void)is_protected;
	return strcmp(platform_run(&code), ".") == 0;
}

/* A guest with a platform, and a device if one is wanted: its measurement. */
static void measure_device(bool is_protected, bool has_device, uint8_t *digest)
{
	static const struct bulkhead_device_description entropy = { .type = 4, .queue_count = 1, .queue_size_max = 8 };
	struct guest guest = MAKE(keeper, GUEST_CREATED, is_protected);

	give_platform(&guest);
	if (has_device)
		add_device(&guest, 5, &entropy);
	digest_of(&guest, digest);
	end(&guest);
}

/* A device that the guest's descriptor does not know is added; its measurement is to be the same. */
static bool attack_extra_device(bool is_protected)
{
	uint8_t honest[DIGEST_BYTES], other[DIGEST_BYTES];

	measure_device(is_protected, false, honest);
	measure_device(is_protected, true, other);
	return memcmp(honest, other, DIGEST_BYTES) == 0;
}

/* Interrupts that no device of the guest's has asked for: every input that its monitor was not given. */
static bool attack_interrupt(bool is_protected)
{
	struct guest guest = MAKE(listener, GUEST_CREATED, is_protected);
	bool is_heard;

	give_platform(&guest);
	finish_guest(&guest, listener, (size_t)(listener_end - listener), GUEST_SEALED);
	expect("exit", run(&guest), BULKHEAD_RUN_PORT);
	expect("asks", RUN_FIELD(&guest, value) & 0xff, '?');
	for (uint64_t input = 0; input < LISTEN_INPUTS; input++)
		if (!(LISTEN_MONITORS & 1u << input))
			call(BULKHEAD_CALL_PLATFORM_LINE, guest.handle, input, 1, 0);
	expect("exit", run(&guest), BULKHEAD_RUN_PORT);
	is_heard = (RUN_FIELD(&guest, value) & 0xff) != '.';
	end(&guest);
	return is_heard;
}

static const struct {
	const char *name;
	bool (*act)(bool is_protected);
} attacks[] = {
	{ "secret", attack_secret },
	{ "page-swap", attack_page_swap },
	{ "handle-reuse", attack_handle_reuse },
	{ "registers", attack_registers },
	{ "flipped-byte", attack_flipped_byte },
	{ "stale-registers", attack_stale_registers },
	{ "storm", attack_storm },
	{ "table-in-device", attack_table_in_device },
	{ "stale-vectors", attack_stale_vectors },
	{ "stay", attack_stay },
	{ "split-locks", attack_split_locks },
	{ "flood", attack_flood },
	{ "extra-device", attack_extra_device },
	{ "interrupt", attack_interrupt },
	{ "run-page-race", attack_run_page_race },
	{ "vcpu-twice", attack_vcpu_twice },
	{ "double-donation", attack_double_donation },
	{ "load-race", attack_load_race },
};

int main(int argc, char **argv)
{
	bool is_protected = argc < 3 || strcmp(argv[2], "unprotected") != 0;

	setvbuf(stdout, NULL, _IOLBF, 0);
	if (guest_start())
		return 2;
	if (argc > 1 && strcmp(argv[1], "hold-secret") == 0)
		return hold_secret(is_protected);
	for (size_t i = 0; argc > 1 && i < sizeof(attacks) / sizeof(attacks[0]); i++)
		if (strcmp(argv[1], attacks[i].name) == 0) {
			puts(attacks[i].act(is_protected) ? "succeeded" : "stopped");
			return 0;
		}
	fprintf(stderr, "hostile: no attack '%s'\n", argc > 1 ? argv[1] : "");
	return 2;
}
