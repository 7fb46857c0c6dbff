/* SPDX-License-Identifier: MIT */
/*
 * See local_apic.h.
 */
#include "local_apic.h"

/* Register offsets in the page. */
#define REG_ID		 0x020u
#define REG_VERSION	 0x030u
#define REG_TPR		 0x080u
#define REG_PPR		 0x0a0u
#define REG_EOI		 0x0b0u
#define REG_LOGICAL	 0x0d0u
#define REG_FORMAT	 0x0e0u
#define REG_SPURIOUS	 0x0f0u
#define REG_IN_SERVICE	 0x100u
#define REG_TRIGGER	 0x180u
#define REG_REQUEST	 0x200u
#define REG_ERROR	 0x280u
#define REG_COMMAND_LOW	 0x300u
#define REG_COMMAND_HIGH 0x310u
#define REG_LVT_TIMER	 0x320u
#define REG_LVT_ERROR	 0x370u
#define REG_INITIAL	 0x380u
#define REG_CURRENT	 0x390u
#define REG_DIVIDE	 0x3e0u
#define REG_SELF	 0x3f0u

#define MSR_APIC_BASE	 0x1bu
#define MSR_DEADLINE	 0x6e0u
#define MSR_X2APIC	 0x800u
#define MSR_X2APIC_LAST	 0x83fu
#define MSR_X2COMMAND	 0x830u

#define BASE_BOOT	 (1ull << 8)
#define BASE_X2APIC	 (1ull << 10)
#define BASE_ENABLE	 (1ull << 11)

/* Version 14h, six local vectors. */
#define VERSION		  0x00050014u
#define SPURIOUS_ENABLE	  (1u << 8)
#define LVT_MASKED	  (1u << 16)
#define TIMER_MODE	  (3u << 17)
#define TIMER_PERIODIC	  (1u << 17)
#define TIMER_DEADLINE	  (2u << 17)
#define COMMAND_BUSY	  (1u << 12)
#define COMMAND_SELF	  (1u << 18)
#define ERROR_SENT_VECTOR (1u << 5)
#define ERROR_GOT_VECTOR  (1u << 6)

/* Bits a guest may set in each local vector. */
static const uint32_t lvt_writable[LOCAL_APIC_LVT_COUNT] = {
	[LOCAL_APIC_TIMER] = 0x000700ff, [LOCAL_APIC_THERMAL] = 0x000107ff,
	[LOCAL_APIC_COUNTERS] = 0x000107ff,	    [LOCAL_APIC_LINT0] = 0x0001a7ff,
	[LOCAL_APIC_LINT1] = 0x0001a7ff,	    [LOCAL_APIC_ERROR] = 0x000100ff,
};

static bool is_enabled(const struct local_apic *apic)
{
	return (__atomic_load_n(&apic->base, __ATOMIC_RELAXED) & BASE_ENABLE) &&
	       (__atomic_load_n(&apic->spurious, __ATOMIC_RELAXED) & SPURIOUS_ENABLE);
}

bool local_apic_is_x2apic(const struct local_apic *apic)
{
	return __atomic_load_n(&apic->base, __ATOMIC_RELAXED) & BASE_X2APIC;
}

void local_apic_reset(struct local_apic *apic)
{
	for (unsigned int i = 0; i < LOCAL_APIC_LVT_COUNT; i++)
		apic->lvt[i] = LVT_MASKED;
	for (unsigned int i = 0; i < 8; i++) {
		__atomic_store_n(&apic->request[i], 0, __ATOMIC_SEQ_CST);
		__atomic_store_n(&apic->is_level[i], 0, __ATOMIC_SEQ_CST);
		apic->in_service[i] = 0;
	}
	apic->logical = 0;
	apic->format = 0xffffffff;
	__atomic_store_n(&apic->spurious, 0xff, __ATOMIC_RELAXED);
	apic->task_priority = 0;
	apic->error = apic->error_shown = 0;
	apic->command_low = apic->command_high = 0;
	apic->divide = apic->initial = 0;
	apic->deadline = 0;
}

void local_apic_init(struct local_apic *apic, uint32_t index, uint32_t tsc_khz)
{
	*apic = (struct local_apic){ .index = index, .tsc_khz = tsc_khz };
	apic->base = LOCAL_APIC_PAGE | BASE_ENABLE | (index == 0 ? BASE_BOOT : 0);
	local_apic_reset(apic);
}

static int highest(const uint32_t *bits)
{
	uint32_t any = 0;

	/* Nothing is the usual answer, asked for at every entry: in line it takes half of the loop's instructions. */
#pragma GCC unroll 8
	for (unsigned int i = 0; i < 8; i++)
		any |= __atomic_load_n(&bits[i], __ATOMIC_SEQ_CST);
	if (!any)
		return -1;
	for (int i = 7; i >= 0; i--) {
		uint32_t word = __atomic_load_n(&bits[i], __ATOMIC_SEQ_CST);

		if (word)
			return i * 32 + 31 - __builtin_clz(word);
	}
	return -1;
}

/* Processor priority: the higher of the task's and that of what is in service (16.6.4). */
static uint32_t priority(const struct local_apic *apic)
{
	int vector = highest(apic->in_service);
	uint32_t service = vector < 0 ? 0 : (uint32_t)vector & 0xf0;

	return (apic->task_priority & 0xf0) >= service ? apic->task_priority & 0xff : service;
}

int local_apic_pending(const struct local_apic *apic)
{
	int vector = is_enabled(apic) ? highest(apic->request) : -1;

	return vector >= 0 && ((uint32_t)vector & 0xf0) > (priority(apic) & 0xf0) ? vector : -1;
}

bool local_apic_has_work(const struct local_apic *apic, bool accepts_interrupts)
{
	return __atomic_load_n(&apic->signals, __ATOMIC_SEQ_CST) ||
	       (accepts_interrupts && local_apic_pending(apic) >= 0);
}

void local_apic_accept(struct local_apic *apic, uint8_t vector)
{
	__atomic_and_fetch(&apic->request[vector / 32], ~(1u << vector % 32), __ATOMIC_SEQ_CST);
	apic->in_service[vector / 32] |= 1u << vector % 32;
}

void local_apic_unaccept(struct local_apic *apic, uint8_t vector)
{
	apic->in_service[vector / 32] &= ~(1u << vector % 32);
	__atomic_or_fetch(&apic->request[vector / 32], 1u << vector % 32, __ATOMIC_SEQ_CST);
}

bool local_apic_post(struct local_apic *apic, uint8_t vector, bool is_level)
{
	uint32_t bit = 1u << vector % 32;

	if (!is_enabled(apic))
		return false;
	if (vector < 16) {
		__atomic_or_fetch(&apic->error, ERROR_GOT_VECTOR, __ATOMIC_RELAXED);
		return false;
	}
	/* The trigger mode first: whoever sees the request finds it there. */
	if (is_level)
		__atomic_or_fetch(&apic->is_level[vector / 32], bit, __ATOMIC_SEQ_CST);
	else
		__atomic_and_fetch(&apic->is_level[vector / 32], ~bit, __ATOMIC_SEQ_CST);
	__atomic_or_fetch(&apic->request[vector / 32], bit, __ATOMIC_SEQ_CST);
	return true;
}

void local_apic_signal(struct local_apic *apic, uint32_t signal)
{
	uint32_t present = __atomic_load_n(&apic->signals, __ATOMIC_SEQ_CST), next;

	do {
		if (signal & LOCAL_APIC_INIT)
			next = LOCAL_APIC_INIT; /* forgets what was sent before */
		else if ((signal & LOCAL_APIC_STARTUP) && (present & LOCAL_APIC_STARTUP))
			return; /* one start-up message is enough */
		else
			next = present | signal;
	} while (!__atomic_compare_exchange_n(&apic->signals, &present, next, false, __ATOMIC_SEQ_CST,
					      __ATOMIC_SEQ_CST));
}

uint32_t local_apic_take_signals(struct local_apic *apic)
{
	return __atomic_exchange_n(&apic->signals, 0, __ATOMIC_SEQ_CST);
}

/* Timer. */

static uint32_t timer_mode(const struct local_apic *apic)
{
	return apic->lvt[LOCAL_APIC_TIMER] & TIMER_MODE;
}

/* 2 to 128, and 1 for the highest code. */
static uint32_t divisor(const struct local_apic *apic)
{
	uint32_t code = (apic->divide & 3) | (apic->divide >> 1 & 4);

	return 1u << ((code + 1) & 7);
}

/* A count of at most 2^32 times a divisor of at most 128 times a rate below 2^25: no overflow. */
static uint64_t count_to_tsc(const struct local_apic *apic, uint32_t count)
{
	uint64_t ticks = (uint64_t)count * divisor(apic) * apic->tsc_khz / LOCAL_APIC_TIMER_KHZ;

	return ticks ? ticks : 1;
}

static uint32_t current_count(const struct local_apic *apic, uint64_t now)
{
	uint64_t left;

	if (timer_mode(apic) == TIMER_DEADLINE || apic->deadline <= now)
		return 0;
	left = (apic->deadline - now) * LOCAL_APIC_TIMER_KHZ / apic->tsc_khz / divisor(apic);
	return left > apic->initial ? apic->initial : (uint32_t)left;
}

static void start_timer(struct local_apic *apic, uint64_t now)
{
	apic->deadline = apic->initial ? now + count_to_tsc(apic, apic->initial) : 0;
}

void local_apic_tick(struct local_apic *apic, uint64_t now)
{
	uint32_t lvt = apic->lvt[LOCAL_APIC_TIMER];

	if (apic->deadline == 0 || apic->deadline > now)
		return;
	if (timer_mode(apic) == TIMER_PERIODIC) {
		/* Periods that nobody was there for are lost, not made up for. */
		apic->deadline += count_to_tsc(apic, apic->initial);
		if (apic->deadline <= now)
			apic->deadline = now + count_to_tsc(apic, apic->initial);
	} else {
		apic->deadline = 0;
	}
	if (!(lvt & LVT_MASKED))
		local_apic_post(apic, (uint8_t)lvt, false);
}

uint64_t local_apic_deadline(const struct local_apic *apic)
{
	return apic->lvt[LOCAL_APIC_TIMER] & LVT_MASKED ? 0 : apic->deadline;
}

/* Registers. */

static uint32_t identifier(const struct local_apic *apic)
{
	return local_apic_is_x2apic(apic) ? apic->index : apic->index << 24;
}

/* In x2APIC mode the logical identifier is fixed: cluster of 16, bit in it. */
static uint32_t logical(const struct local_apic *apic)
{
	if (local_apic_is_x2apic(apic))
		return apic->index >> 4 << 16 | 1u << (apic->index & 15);
	return __atomic_load_n(&apic->logical, __ATOMIC_RELAXED);
}

uint32_t local_apic_read(const struct local_apic *apic, uint32_t offset, uint64_t now)
{
	if (offset & 0xf)
		return 0;
	switch (offset) {
	case REG_ID:
		return identifier(apic);
	case REG_VERSION:
		return VERSION;
	case REG_TPR:
		return apic->task_priority;
	case REG_PPR:
		return priority(apic);
	case REG_LOGICAL:
		return logical(apic);
	case REG_FORMAT:
		return apic->format;
	case REG_SPURIOUS:
		return apic->spurious;
	case REG_ERROR:
		return apic->error_shown;
	case REG_COMMAND_LOW:
		return apic->command_low;
	case REG_COMMAND_HIGH:
		return apic->command_high;
	case REG_INITIAL:
		return apic->initial;
	case REG_CURRENT:
		return current_count(apic, now);
	case REG_DIVIDE:
		return apic->divide;
	default:
		break;
	}
	if (offset >= REG_LVT_TIMER && offset <= REG_LVT_ERROR)
		return apic->lvt[(offset - REG_LVT_TIMER) / 16];
	if (offset >= REG_IN_SERVICE && offset < REG_TRIGGER)
		return apic->in_service[(offset - REG_IN_SERVICE) / 16];
	if (offset >= REG_TRIGGER && offset < REG_REQUEST)
		return __atomic_load_n(&apic->is_level[(offset - REG_TRIGGER) / 16], __ATOMIC_RELAXED);
	if (offset >= REG_REQUEST && offset < REG_ERROR)
		return __atomic_load_n(&apic->request[(offset - REG_REQUEST) / 16], __ATOMIC_RELAXED);
	return 0;
}

static void end_of_interrupt(struct local_apic *apic, struct local_apic_effects *effects)
{
	int vector = highest(apic->in_service);
	uint32_t word, bit;

	if (vector < 0)
		return;
	word = (uint32_t)vector / 32;
	bit = 1u << vector % 32;
	apic->in_service[word] &= ~bit;
	if (__atomic_load_n(&apic->is_level[word], __ATOMIC_SEQ_CST) & bit) {
		effects->has_level_end = 1;
		effects->level_end = (uint32_t)vector;
	}
}

static void write_lvt(struct local_apic *apic, unsigned int number, uint32_t value)
{
	uint32_t mode = timer_mode(apic);

	value &= lvt_writable[number];
	if (!(apic->spurious & SPURIOUS_ENABLE))
		value |= LVT_MASKED;
	apic->lvt[number] = value;
	/* Changing to or from the deadline mode disarms the timer (SDM 11.5.4.1). */
	if (number == LOCAL_APIC_TIMER && (mode == TIMER_DEADLINE) != (timer_mode(apic) == TIMER_DEADLINE))
		apic->deadline = 0;
}

static void write_spurious(struct local_apic *apic, uint32_t value)
{
	__atomic_store_n(&apic->spurious, value & 0x1ff, __ATOMIC_RELAXED);
	if (!(value & SPURIOUS_ENABLE))
		for (unsigned int i = 0; i < LOCAL_APIC_LVT_COUNT; i++)
			apic->lvt[i] |= LVT_MASKED;
}

static void send(struct local_apic *apic, uint32_t command, uint32_t destination, bool is_wide,
		 struct local_apic_effects *effects)
{
	if ((command & 0x700) == 0 && (command & 0xff) < 16) {
		__atomic_or_fetch(&apic->error, ERROR_SENT_VECTOR, __ATOMIC_RELAXED);
		return;
	}
	effects->has_command = 1;
	effects->command = command;
	effects->destination = destination;
	effects->is_wide = is_wide;
}

void local_apic_write(struct local_apic *apic, uint32_t offset, uint32_t value, uint64_t now,
		      struct local_apic_effects *effects)
{
	*effects = (struct local_apic_effects){ 0 };
	switch (offset) {
	case REG_TPR:
		apic->task_priority = value & 0xff;
		return;
	case REG_EOI:
		end_of_interrupt(apic, effects);
		return;
	case REG_LOGICAL:
		__atomic_store_n(&apic->logical, value & 0xff000000, __ATOMIC_RELAXED);
		return;
	case REG_FORMAT:
		__atomic_store_n(&apic->format, value | 0x0fffffff, __ATOMIC_RELAXED);
		return;
	case REG_SPURIOUS:
		write_spurious(apic, value);
		return;
	case REG_ERROR:
		apic->error_shown = __atomic_exchange_n(&apic->error, 0, __ATOMIC_RELAXED);
		return;
	case REG_COMMAND_LOW:
		apic->command_low = value & 0x000ccfff & ~COMMAND_BUSY;
		send(apic, apic->command_low, apic->command_high >> 24, false, effects);
		return;
	case REG_COMMAND_HIGH:
		apic->command_high = value & 0xff000000;
		return;
	case REG_INITIAL:
		if (timer_mode(apic) == TIMER_DEADLINE)
			return;
		apic->initial = value;
		start_timer(apic, now);
		return;
	case REG_DIVIDE:
		apic->divide = value & 0xb;
		return;
	default:
		if (offset >= REG_LVT_TIMER && offset <= REG_LVT_ERROR && (offset & 0xf) == 0)
			write_lvt(apic, (offset - REG_LVT_TIMER) / 16, value);
	}
}

/* APIC_BASE: the page stays where it is; x2APIC is entered from enabled, and left by disabling (16.10). */
static bool write_base(struct local_apic *apic, uint64_t value)
{
	uint64_t modes = BASE_X2APIC | BASE_ENABLE, from = apic->base & modes, to = value & modes;

	if ((value ^ apic->base) & ~modes)
		return false;
	if (to == BASE_X2APIC || (from == modes && to == BASE_ENABLE) || (from == 0 && to == modes))
		return false;
	if (to == 0 && from != 0)
		local_apic_reset(apic);
	__atomic_store_n(&apic->base, value, __ATOMIC_RELAXED);
	return true;
}

static bool write_deadline(struct local_apic *apic, uint64_t value)
{
	if (timer_mode(apic) == TIMER_DEADLINE)
		apic->deadline = value;
	return true;
}

/* Registers that x2APIC mode has, by number: read, write. */
static bool x2apic_has(uint32_t number, bool is_write)
{
	switch (number << 4) {
	case REG_ID:
	case REG_VERSION:
	case REG_PPR:
	case REG_LOGICAL:
	case REG_CURRENT:
		return !is_write;
	case REG_EOI:
	case REG_SELF:
		return is_write;
	case REG_TPR:
	case REG_SPURIOUS:
	case REG_ERROR:
	case REG_COMMAND_LOW:
	case REG_INITIAL:
	case REG_DIVIDE:
		return true;
	default:
		if (number << 4 >= REG_LVT_TIMER && number << 4 <= REG_LVT_ERROR)
			return true;
		return !is_write && number << 4 >= REG_IN_SERVICE && number << 4 < REG_ERROR;
	}
}

bool local_apic_read_msr(const struct local_apic *apic, uint32_t msr, uint64_t now, uint64_t *value)
{
	if (msr == MSR_APIC_BASE) {
		*value = apic->base;
		return true;
	}
	if (msr == MSR_DEADLINE) {
		*value = timer_mode(apic) == TIMER_DEADLINE ? apic->deadline : 0;
		return true;
	}
	if (msr < MSR_X2APIC || msr > MSR_X2APIC_LAST || !local_apic_is_x2apic(apic) ||
	    !x2apic_has(msr - MSR_X2APIC, false))
		return false;
	*value = local_apic_read(apic, (msr - MSR_X2APIC) << 4, now);
	if (msr == MSR_X2COMMAND)
		*value |= (uint64_t)apic->command_high << 32;
	return true;
}

bool local_apic_write_msr(struct local_apic *apic, uint32_t msr, uint64_t value, uint64_t now,
			  struct local_apic_effects *effects)
{
	uint32_t number = msr - MSR_X2APIC;

	*effects = (struct local_apic_effects){ 0 };
	if (msr == MSR_APIC_BASE)
		return write_base(apic, value);
	if (msr == MSR_DEADLINE)
		return write_deadline(apic, value);
	if (msr < MSR_X2APIC || msr > MSR_X2APIC_LAST || !local_apic_is_x2apic(apic) ||
	    !x2apic_has(number, true))
		return false;
	if (msr == MSR_X2COMMAND) {
		apic->command_low = (uint32_t)value & 0x000ccfff & ~COMMAND_BUSY;
		apic->command_high = (uint32_t)(value >> 32);
		send(apic, apic->command_low, apic->command_high, true, effects);
		return true;
	}
	if (value >> 32)
		return false;
	if (number << 4 == REG_SELF) {
		send(apic, COMMAND_SELF | (value & 0xff), 0, true, effects);
		return true;
	}
	/* These take only zero (SDM 11.12.1.2). */
	if ((number << 4 == REG_EOI || number << 4 == REG_ERROR) && value != 0)
		return false;
	local_apic_write(apic, number << 4, (uint32_t)value, now, effects);
	return true;
}

bool local_apic_matches(const struct local_apic *apic, uint32_t destination, bool is_logical, bool is_wide)
{
	uint32_t own = logical(apic);

	if (destination == (is_wide ? 0xffffffff : 0xff))
		return true;
	if (!is_logical)
		return destination == apic->index;
	if (local_apic_is_x2apic(apic))
		return destination >> 16 == own >> 16 && (destination & own & 0xffff);
	if (destination > 0xff)
		return false;
	own >>= 24;
	if (__atomic_load_n(&apic->format, __ATOMIC_RELAXED) >> 28 == 0xf)
		return destination & own;
	return destination >> 4 == own >> 4 && (destination & own & 0xf);
}
