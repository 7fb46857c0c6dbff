/* SPDX-License-Identifier: MIT */
/*
 * A guest with a platform and two processors, each run by a thread as a driver's would: it sleeps when its processor
 * halts, until the deadline or until another run or call names it.
 */
#include <pthread.h>
#include <sched.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "guest.h"

#define VCPUS	 2
#define AP_AT	 0x2000u
#define EXPECTED "abcdefghijklm."

extern const uint8_t platform_guest[], platform_guest_end[], platform_guest_ap[], platform_guest_ap_end[];

static struct {
	pthread_mutex_t lock;
	uint64_t handle, run_pages[VCPUS];
	char said[64];
	size_t said_count;
	int is_over;
	unsigned int exits[16];
} shared = { .lock = PTHREAD_MUTEX_INITIALIZER };

static uint64_t field(int vcpu, size_t offset, uint32_t width)
{
	return ring0(RING0_READ, shared.run_pages[vcpu] + offset, width, 0);
}
#define FIELD(vcpu, name)                                                                                \
	field(vcpu, offsetof(struct bulkhead_run, name), sizeof(((struct bulkhead_run *)0)->name))

static void hear(char letter)
{
	if (shared.said_count + 1 < sizeof(shared.said))
		shared.said[shared.said_count++] = letter;
	if (letter == 'h') {
		expect("LINE", call(BULKHEAD_CALL_PLATFORM_LINE, shared.handle, 4, 1, 0), 0);
		expect("LINE", call(BULKHEAD_CALL_PLATFORM_LINE, shared.handle, 4, 0, 0), 0);
		/* An input that the guest has not given the monitor. */
		expect("LINE 5", call(BULKHEAD_CALL_PLATFORM_LINE, shared.handle, 5, 1, 0), BULKHEAD_INVALID);
	}
	if (letter == '.' || letter == '!')
		__atomic_store_n(&shared.is_over, 1, __ATOMIC_SEQ_CST);
}

/* One run and what it asks for. Whatever a sleeping vCPU is woken by, running it again is right. */
static void run_once(int vcpu)
{
	unsigned int reason;

	expect("RUN", call(BULKHEAD_CALL_VCPU_RUN, shared.handle, (uint64_t)vcpu, 0, 0), 0);
	reason = (unsigned int)FIELD(vcpu, exit);
	pthread_mutex_lock(&shared.lock);
	shared.exits[reason & 15]++;
	switch (reason) {
	case BULKHEAD_RUN_INTERRUPT:
	case BULKHEAD_RUN_KICK:
	case BULKHEAD_RUN_TIMER:
	case BULKHEAD_RUN_HALT:
		break;
	case BULKHEAD_RUN_MEMORY:
		expect("DONATE", call(BULKHEAD_CALL_GUEST_DONATE, shared.handle, page(), FIELD(vcpu, address), 1), 0);
		break;
	case BULKHEAD_RUN_PORT:
		hear((char)FIELD(vcpu, value));
		break;
	default:
		printf("vCPU %d: exit %u after \"%s\"\n", vcpu, reason, shared.said);
		hear('!');
	}
	pthread_mutex_unlock(&shared.lock);
	if (reason == BULKHEAD_RUN_HALT)
		usleep(200);
}

static void *run_vcpu(void *argument)
{
	int vcpu = (int)(intptr_t)argument;
	cpu_set_t processors;

	on_processor = (uint32_t)vcpu % (uint32_t)sysconf(_SC_NPROCESSORS_ONLN);
	CPU_ZERO(&processors);
	CPU_SET(on_processor, &processors);
	sched_setaffinity(0, sizeof(processors), &processors);
	while (!__atomic_load_n(&shared.is_over, __ATOMIC_SEQ_CST))
		run_once(vcpu);
	return NULL;
}

static void load(uint64_t at, const uint8_t *from, const uint8_t *end)
{
	uint64_t code = page();

	copy_in(code, from, (size_t)(end - from));
	expect("LOAD", call(BULKHEAD_CALL_GUEST_LOAD, shared.handle, code, at, 1), 0);
}

static struct bulkhead_vcpu_state flat(void)
{
	struct bulkhead_vcpu_state state = real_mode();
	struct bulkhead_segment data = { 0x10, 0xc93, 0xffffffff, 0 };

	state.cs = (struct bulkhead_segment){ 0x08, 0xc9b, 0xffffffff, 0 };
	state.es = state.ss = state.ds = state.fs = state.gs = data;
	state.cr0 = 0x11;
	return state;
}

static void make(const struct platform_code *code)
{
	uint64_t status = page(), platform_pages, vcpu_pages;
	struct bulkhead_vcpu_state state = flat();

	expect("STATUS", call(BULKHEAD_CALL_STATUS, status, 0, 0, 0), 0);
	platform_pages = ring0(RING0_READ, status + offsetof(struct bulkhead_status, platform_pages), 4, 0);
	vcpu_pages = ring0(RING0_READ, status + offsetof(struct bulkhead_status, vcpu_pages), 4, 0);
	expect("CREATE", call_value(BULKHEAD_CALL_GUEST_CREATE, page(), BULKHEAD_GUEST_PROTECTED, 0, 0,
				    &shared.handle), 0);
	for (int i = 0; i < 3; i++)
		expect("PAY", call(BULKHEAD_CALL_GUEST_PAY, shared.handle, page(), 0, 0), 0);
	expect("PLATFORM", call(BULKHEAD_CALL_PLATFORM_CREATE, shared.handle, contiguous(platform_pages), 0, 0), 0);
	expect("RANGE", call(BULKHEAD_CALL_GUEST_RANGE, shared.handle, 0, GUEST_PAGES, 0), 0);
	load(CODE_AT, code->first, code->first_end);
	load(AP_AT, code->second, code->second_end);
	for (int i = 0; i < VCPUS; i++) {
		shared.run_pages[i] = page();
		expect("VCPU_CREATE", call(BULKHEAD_CALL_VCPU_CREATE, shared.handle, (uint64_t)i, contiguous(vcpu_pages),
					   shared.run_pages[i]), 0);
		copy_in(status, &state, sizeof(state));
		expect("VCPU_SET", call(BULKHEAD_CALL_VCPU_SET, shared.handle, (uint64_t)i, status, 0), 0);
	}
	expect("SEAL", call(BULKHEAD_CALL_GUEST_SEAL, shared.handle, 0, 0, 0), 0);
}

const char *platform_run(const struct platform_code *code)
{
	pthread_t threads[VCPUS];
	struct guest guest;

	make(code);
	for (intptr_t i = 0; i < VCPUS; i++)
		pthread_create(&threads[i], NULL, run_vcpu, (void *)i);
	for (int i = 0; i < VCPUS; i++)
		pthread_join(threads[i], NULL);
	guest.handle = shared.handle;
	destroy(&guest);
	return shared.said;
}

int platform_case(void)
{
	const struct platform_code code = { platform_guest, platform_guest_end, platform_guest_ap, platform_guest_ap_end };
	const char *said = platform_run(&code);

	printf("said %s; exits: %u interrupt, %u halt, %u memory, %u kick, %u timer\n", said, shared.exits[0],
	       shared.exits[1], shared.exits[3], shared.exits[7], shared.exits[8]);
	return strcmp(said, EXPECTED) ? 1 : 0;
}
