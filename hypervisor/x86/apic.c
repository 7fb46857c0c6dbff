/* SPDX-License-Identifier: MIT */
/*
 * See apic.h. A physical INIT is never sent: a processor that gets one restarts outside the
 * hypervisor, even from guest mode on some machines. INIT, start-up messages and NMIs become requests;
 * an NMI sent as such could not be told from our doorbell.
 */
#include "apic.h"
#include "cpu.h"
#include "hypervisor.h"
#include "vendor.h"

#define DELIVERY_PENDING (1u << 12)
#define PATIENCE	 1000u /* turns; a message is on its way for less than that */

static volatile uint32_t *apic_register(uint32_t offset)
{
	return direct(APIC_WINDOW + offset);
}

/* Bounded: some machines show what was last written in the pending bit. */
static void wait_idle(void)
{
	for (unsigned int i = 0; i < PATIENCE && *apic_register(APIC_ICR_LOW) & DELIVERY_PENDING; i++)
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
		if (command->is_nmi)
			new |= REQUEST_NMI;
		else if (command->is_init)
			new = (old & REQUEST_STOP) | REQUEST_INIT;
		else if (!(old & REQUEST_STARTUP) &&
			 ((old & REQUEST_INIT) ||
			  __atomic_load_n(&target->is_waiting, __ATOMIC_ACQUIRE)))
			new |= REQUEST_STARTUP | command->vector;
	} while (!__atomic_compare_exchange_n(&target->requests, &old, new, false,
					      __ATOMIC_SEQ_CST, __ATOMIC_ACQUIRE));
	if (new != old && target != this_processor())
		processor_request(target, 0);
}

static bool is_target(const struct processor *sender, const struct processor *target,
		      const struct apic_command *command)
{
	/* A processor does not restart itself: what follows the write would be lost. */
	if (target == sender && !command->is_nmi)
		return false;
	switch (command->targets) {
	case APIC_ONE:
		return target->apic_id == command->apic_id;
	case APIC_LOGICAL:
		return apic_is_addressed(command->apic_id, READ_ONCE(target->logical),
					 READ_ONCE(target->format));
	case APIC_SELF:
		return target == sender;
	case APIC_ALL:
		return true;
	case APIC_OTHERS:
		return target != sender;
	default:
		return false;
	}
}

static void command_write(struct processor *processor, uint32_t low)
{
	struct apic_command command = apic_command_decode(low, *apic_register(APIC_ICR_HIGH));

	if (command.is_passed) {
		*apic_register(APIC_ICR_LOW) = low & ~DELIVERY_PENDING;
		return;
	}
	for (uint32_t i = 0; i < arch_processor_count(); i++) {
		struct processor *target = processor_at(i);

		if (__atomic_load_n(&target->is_online, __ATOMIC_ACQUIRE) &&
		    is_target(processor, target, &command))
			post(target, &command);
	}
}

void apic_learn_destination(struct processor *processor)
{
	WRITE_ONCE(processor->logical, *apic_register(APIC_LDR));
	WRITE_ONCE(processor->format, *apic_register(APIC_DFR));
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
		if (offset == APIC_LDR || offset == APIC_DFR)
			apic_learn_destination(processor);
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
	const uint32_t taken = REQUEST_INIT | REQUEST_STARTUP | REQUEST_NMI | 0xff;
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
	/* A processor that waits for a start-up message forgets NMIs. */
	if ((old & REQUEST_NMI) && !processor->is_waiting)
		processor->is_nmi_pending = 1;
	if (!(old & REQUEST_STARTUP) || !processor->is_waiting)
		return false;
	__atomic_store_n(&processor->is_waiting, 0, __ATOMIC_SEQ_CST);
	*vector = (uint8_t)old;
	return true;
}
