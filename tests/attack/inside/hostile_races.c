/* SPDX-License-Identifier: MIT */
/*
 * Attacks by two processors at once: on the run page, on a vCPU, on pages that change hands. What one processor does is
 * repeated until the other is through, so no moment has to be met; nothing depends on how long anything takes.
 */
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>

#include "hostile.h"

#define ROUNDS 200
#define RUNS   500

/* The accomplice on processor 1. */
struct accomplice {
	pthread_t thread;
	void (*step)(struct accomplice *accomplice);
	const struct guest *guest;
	uint64_t address;
	uint64_t steps;
	uint32_t seen; /* what a step found, for the other side */
	int is_over;
};

static void stay_on(uint32_t processor)
{
	cpu_set_t processors;

	CPU_ZERO(&processors);
	CPU_SET(processor, &processors);
	expect("sched_setaffinity", (unsigned int)sched_setaffinity(0, sizeof(processors), &processors), 0);
	on_processor = processor;
}

static void *be_accomplice(void *argument)
{
	struct accomplice *accomplice = argument;

	stay_on(1);
	while (!__atomic_load_n(&accomplice->is_over, __ATOMIC_SEQ_CST)) {
		accomplice->step(accomplice);
		__atomic_add_fetch(&accomplice->steps, 1, __ATOMIC_SEQ_CST);
	}
	return NULL;
}

static void start(struct accomplice *accomplice)
{
	stay_on(0);
	expect("a thread", (unsigned int)pthread_create(&accomplice->thread, NULL, be_accomplice, accomplice), 0);
	/* It is at work before anything is attacked. */
	while (__atomic_load_n(&accomplice->steps, __ATOMIC_SEQ_CST) == 0)
		sched_yield();
}

static void stop(struct accomplice *accomplice)
{
	__atomic_store_n(&accomplice->is_over, 1, __ATOMIC_SEQ_CST);
	pthread_join(accomplice->thread, NULL);
}

/* A run page that says: a port read of four bytes is to be completed. */
static void forge(uint64_t run_page)
{
	static const struct bulkhead_run forged = {
		.exit = BULKHEAD_RUN_PORT, .port = 0x70, .size_bytes = 4, .is_read = 1, .value = 0xdeadbeef,
	};
	const uint64_t *words = (const uint64_t *)&forged;

	for (size_t i = 0; i < 4; i++)
		ring0(RING0_WRITE, run_page + 8 * i, 8, words[i]);
}

static void forge_step(struct accomplice *accomplice)
{
	forge(accomplice->guest->run_page);
}

/* A guest whose port read is answered while the run page changes: only the byte it asked for may. */
static bool changes_reader(bool is_protected)
{
	struct guest guest = MAKE(reader, GUEST_SEALED, is_protected);
	struct accomplice accomplice = { .step = forge_step, .guest = &guest };
	bool has_ended;

	start(&accomplice);
	for (unsigned int i = 0; i < RUNS; i++)
		expect("RUN", call(BULKHEAD_CALL_VCPU_RUN, guest.handle, 0, 0, 0), 0);
	stop(&accomplice);
	/* One that has ended halts at every run; the others read the port once more. */
	has_ended = run(&guest) == BULKHEAD_RUN_HALT;
	destroy(&guest);
	return has_ended;
}

bool attack_run_page_race(bool is_protected)
{
	static const struct {
		enum bulkhead_run_exit exit;
		uint32_t wanted, mask;
	} stops[] = {
		{ BULKHEAD_RUN_PORT, ASKED, ~0xffu },
		{ BULKHEAD_RUN_HALT, HALTED, ~0u },
		{ BULKHEAD_RUN_MEMORY, TOUCHED, ~0u },
	};
	struct guest guest = MAKE(asker, GUEST_SEALED, is_protected);
	bool is_changed = false;

	for (unsigned int i = 0; i < sizeof(stops) / sizeof(stops[0]); i++) {
		unsigned int reason;
		uint32_t said;

		do {
			expect("RUN", call(BULKHEAD_CALL_VCPU_RUN, guest.handle, 0, 0, 0), 0);
			reason = (unsigned int)RUN_FIELD(&guest, exit);
		} while (reason == BULKHEAD_RUN_INTERRUPT);
		expect("exit", reason, stops[i].exit);
		if (reason == BULKHEAD_RUN_MEMORY)
			give_zeros(&guest, RUN_FIELD(&guest, address));
		forge(guest.run_page);
		said = hear(&guest);
		if ((said & stops[i].mask) != (stops[i].wanted & stops[i].mask)) {
			printf("the register holds %x, not %x\n", said, stops[i].wanted);
			is_changed = true;
		}
	}
	destroy(&guest);
	return is_changed | changes_reader(is_protected);
}

static void run_step(struct accomplice *accomplice)
{
	if (call(BULKHEAD_CALL_VCPU_RUN, accomplice->guest->handle, 0, 0, 0) == BULKHEAD_BUSY)
		accomplice->seen = BULKHEAD_BUSY;
}

/* One vCPU on two processors: it works if neither is ever told that the other has it. */
bool attack_vcpu_twice(bool is_protected)
{
	struct guest guest = MAKE(runner, GUEST_SEALED, is_protected);
	struct accomplice accomplice = { .step = run_step, .guest = &guest };
	bool is_told = false;

	start(&accomplice);
	for (unsigned int i = 0; i < RUNS && !is_told; i++)
		is_told = call(BULKHEAD_CALL_VCPU_RUN, guest.handle, 0, 0, 0) == BULKHEAD_BUSY ||
			  __atomic_load_n(&accomplice.seen, __ATOMIC_SEQ_CST);
	stop(&accomplice);
	destroy(&guest);
	return !is_told;
}

/* Both processors meet here; the last to come lets both go on. */
static void meet(uint32_t *gate, uint32_t round)
{
	__atomic_add_fetch(gate, 1, __ATOMIC_SEQ_CST);
	while (__atomic_load_n(gate, __ATOMIC_SEQ_CST) < 2 * (round + 1))
		;
}

static struct {
	uint32_t gate, end;
	uint64_t pages;
	uint32_t given[ROUNDS]; /* times each page was taken */
} donation;

static void donate_all(const struct guest *guest)
{
	for (uint32_t i = 0; i < ROUNDS; i++) {
		meet(&donation.gate, i);
		if (call(BULKHEAD_CALL_GUEST_DONATE, guest->handle, donation.pages + 4096ull * i,
			 FILLED_AT + 4096ull * i, 1) == BULKHEAD_OK)
			__atomic_add_fetch(&donation.given[i], 1, __ATOMIC_SEQ_CST);
	}
}

static void *donate_thread(void *argument)
{
	stay_on(1);
	donate_all(argument);
	return NULL;
}

/* The same page is given to two guests in the same moment, again and again. */
bool attack_double_donation(bool is_protected)
{
	struct guest guests[2] = { MAKE(keeper, GUEST_LOADED, is_protected), MAKE(keeper, GUEST_LOADED, is_protected) };
	bool is_given_twice = false;
	pthread_t thread;

	donation.pages = contiguous(ROUNDS);
	for (unsigned int i = 0; i < 2; i++)
		expect("RANGE", call(BULKHEAD_CALL_GUEST_RANGE, guests[i].handle, FILLED_AT, ROUNDS, 0), 0);
	stay_on(0);
	expect("a thread", (unsigned int)pthread_create(&thread, NULL, donate_thread, &guests[1]), 0);
	donate_all(&guests[0]);
	pthread_join(thread, NULL);
	for (uint32_t i = 0; i < ROUNDS; i++) {
		expect("pages that nobody got", donation.given[i] == 0, false);
		is_given_twice |= donation.given[i] > 1;
	}
	if (is_given_twice)
		return true; /* two guests share memory: to end them is another matter */
	destroy(&guests[0]);
	destroy(&guests[1]);
	return false;
}

/* Writes another number with every step; when the page is gone, a fault is the answer. */
static void change_step(struct accomplice *accomplice)
{
	struct ring0 request = { .operation = RING0_WRITE, .address = accomplice->address, .width = 4,
				 .value = { accomplice->steps + 1 } };

	(void)act(&request);
}

/* A page changes while it is loaded; the guest is to hold something else than what was measured. */
bool attack_load_race(bool is_protected)
{
	struct accomplice accomplice = { .step = change_step };
	uint8_t measured[DIGEST_BYTES], honest[DIGEST_BYTES];
	struct guest guest;
	uint64_t content = page();
	uint32_t held;

	copy_in(content, NULL, 0);
	guest = MAKE(teller, GUEST_HAS_VCPU, is_protected);
	accomplice.address = content;
	start(&accomplice);
	give(&guest, content, LOADED_AT);
	seal(&guest);
	stop(&accomplice);
	digest_of(&guest, measured);
	held = hear(&guest);
	destroy(&guest);

	/* The same guest, loaded with what that one held, in peace. */
	content = page();
	copy_in(content, &held, sizeof(held));
	guest = MAKE(teller, GUEST_HAS_VCPU, is_protected);
	give(&guest, content, LOADED_AT);
	seal(&guest);
	digest_of(&guest, honest);
	destroy(&guest);
	return memcmp(measured, honest, DIGEST_BYTES) != 0;
}
