/* SPDX-License-Identifier: MIT */
/*
 * See apic.h. A physical INIT is never sent: a processor that gets one restarts outside the
 * hypervisor, even from guest mode on some machines. INIT and start-up messages become requests.
 */
#include "apic.h"
#include "cpu.h"
#include "hypervisor.h"
#include "vendor.h"

#define DELIVERY_PENDING (1u << 12)

static volatile uint32_t *apic_register(uint32_t offset)
{
	return direct(APIC_WINDOW + offset);
}

static void wait_idle(void)
{
	while (*apic_register(APIC_ICR_LOW) & DELIVERY_PENDING)
		cpu_relax();
}

void apic_send_nmi(uint32_t apic_id)
{
	uint32_t kept = *apic_register(APIC_ICR_HIGH);

	wait_idle();
	*apic_register(APIC_ICR_HIGH) = apic_id << 24;
	*apic_register(APIC_ICR_LOW) = APIC_NMI << 8 | 1u << 14;
	wait_idle();
	*apic_register(APIC_ICR_HIGH) = kept;
}

/* INIT forgets a start-up message that was on its way; only the first message after INIT counts. */
static void post(struct processor *target, const struct apic_command *command)
{
	uint32_t old = __atomic_load_n(&target->requests, __ATOMIC_ACQUIRE), new;

	do {
		new = old;
		if (command->is_init)
			new = (old & REQUEST_STOP) | REQUEST_INIT;
		else if (!(old & REQUEST_STARTUP) &&
			 ((old & REQUEST_INIT) ||
			  __atomic_load_n(&target->is_waiting, __ATOMIC_ACQUIRE)))
			new |= REQUEST_STARTUP | command->vector;
	} while (!__atomic_compare_exchange_n(&target->requests, &old, new, false,
					      __ATOMIC_SEQ_CST, __ATOMIC_ACQUIRE));
	if (new != old)
		processor_request(target, 0);
}

static void command_write(struct processor *processor, uint32_t low)
{
	struct apic_command command =
		apic_command_decode(low, *apic_register(APIC_ICR_HIGH), processor->apic_id);

	if (command.is_passed) {
		*apic_register(APIC_ICR_LOW) = low;
		return;
	}
	for (uint32_t i = 0; i < arch_processor_count(); i++) {
		struct processor *target = processor_at(i);

		if (command.targets == APIC_NOBODY || target == processor ||
		    !__atomic_load_n(&target->is_online, __ATOMIC_ACQUIRE))
			continue;
		if (command.targets == APIC_OTHERS || target->apic_id == command.apic_id)
			post(target, &command);
	}
}

void apic_write(struct processor *processor, uint64_t address, unsigned int size_bytes,
		uint64_t value)
{
	uint32_t offset = (uint32_t)(address - APIC_WINDOW);

	if (size_bytes != 4)
		return;
	switch (apic_write_verdict(offset, (uint32_t)value)) {
	case APIC_PASS:
		*apic_register(offset) = (uint32_t)value;
		break;
	case APIC_COMMAND:
		command_write(processor, (uint32_t)value);
		break;
	case APIC_DROP:
		break;
	}
}

bool apic_take_messages(struct processor *processor, uint8_t *vector)
{
	const uint32_t taken = REQUEST_INIT | REQUEST_STARTUP | 0xff;
	uint32_t old = __atomic_load_n(&processor->requests, __ATOMIC_ACQUIRE);

	if (!(old & taken))
		return false;
	do {
		/* Before INIT disappears from the word, or a start-up message would find neither. */
		if (old & REQUEST_INIT)
			__atomic_store_n(&processor->is_waiting, 1, __ATOMIC_SEQ_CST);
	} while (!__atomic_compare_exchange_n(&processor->requests, &old, old & ~taken, false,
					      __ATOMIC_SEQ_CST, __ATOMIC_ACQUIRE));
	if (old & REQUEST_INIT)
		core_count_exit(BULKHEAD_EXIT_INIT);
	if (!(old & REQUEST_STARTUP) || !processor->is_waiting)
		return false;
	__atomic_store_n(&processor->is_waiting, 0, __ATOMIC_SEQ_CST);
	*vector = (uint8_t)old;
	return true;
}
