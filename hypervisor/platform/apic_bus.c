/* SPDX-License-Identifier: MIT */
/*
 * See apic_bus.h.
 */
#include "apic_bus.h"

/* Delivery modes, bits 10:8 of commands, messages and redirection entries. */
enum delivery {
	DELIVER_FIXED = 0,
	DELIVER_LOWEST = 1,
	DELIVER_NMI = 4,
	DELIVER_INIT = 5,
	DELIVER_STARTUP = 6,
};

#define LOGICAL	     (1u << 11)
#define LEVEL_ASSERT (1u << 14)
#define LEVEL	     (1u << 15)
#define SHORTHAND    (3u << 18)
#define TO_SELF	     (1u << 18)
#define TO_ALL	     (2u << 18)
#define TO_OTHERS    (3u << 18)

#define MESSAGE_ADDRESS	     0xfee00000ull
#define MESSAGE_ADDRESS_MASK 0xfffffffffff00000ull
#define MESSAGE_LOGICAL	     (1u << 2)

static void lock(struct apic_bus *bus)
{
	while (__atomic_exchange_n(&bus->lock, 1, __ATOMIC_ACQUIRE))
		;
}

static void unlock(struct apic_bus *bus)
{
	__atomic_store_n(&bus->lock, 0, __ATOMIC_RELEASE);
}

void apic_bus_init(struct apic_bus *bus)
{
	*bus = (struct apic_bus){ 0 };
	io_apic_init(&bus->io);
}

void apic_bus_add(struct apic_bus *bus, uint32_t index, uint32_t tsc_khz)
{
	local_apic_init(&bus->local[index], index, tsc_khz);
	bus->vcpus |= 1u << index;
}

/* The first of a mask that is not empty. */
static uint32_t first_of(uint32_t vcpus)
{
	return (uint32_t)__builtin_ctz(vcpus);
}

static uint32_t without_first(uint32_t vcpus)
{
	return vcpus & (vcpus - 1);
}

static uint32_t matching(const struct apic_bus *bus, uint32_t destination, bool is_logical, bool is_wide)
{
	uint32_t vcpus = 0;

	for (uint32_t left = bus->vcpus; left; left = without_first(left))
		if (local_apic_matches(&bus->local[first_of(left)], destination, is_logical, is_wide))
			vcpus |= 1u << first_of(left);
	return vcpus;
}

/* Fixed goes to all that are named, lowest priority to one of them. Returns who has it. */
static uint32_t interrupt(struct apic_bus *bus, uint32_t targets, uint32_t what)
{
	bool is_one = (what >> 8 & 7) == DELIVER_LOWEST;
	uint32_t vcpus = 0;

	for (; targets; targets = without_first(targets)) {
		if (!local_apic_post(&bus->local[first_of(targets)], (uint8_t)what, what & LEVEL))
			continue;
		vcpus |= 1u << first_of(targets);
		if (is_one)
			break;
	}
	return vcpus;
}

static uint32_t signal(struct apic_bus *bus, uint32_t targets, uint32_t what)
{
	for (uint32_t left = targets; left; left = without_first(left))
		local_apic_signal(&bus->local[first_of(left)], what);
	return targets;
}

/* From devices and the I/O APIC: no NMI, INIT or SMI, whatever the guest has written there. */
static uint32_t from_device(struct apic_bus *bus, uint32_t destination, bool is_logical, uint32_t what)
{
	uint32_t mode = what >> 8 & 7;

	if (mode != DELIVER_FIXED && mode != DELIVER_LOWEST)
		return 0;
	return interrupt(bus, matching(bus, destination, is_logical, false), what);
}

uint32_t apic_bus_message(struct apic_bus *bus, uint64_t address, uint32_t data)
{
	if ((address & MESSAGE_ADDRESS_MASK) != MESSAGE_ADDRESS)
		return 0;
	return from_device(bus, address >> 12 & 0xff, address & MESSAGE_LOGICAL, data & ~LEVEL);
}

/* Sends the messages of I/O APIC inputs; the lock is held, so that their order is that of the inputs. */
static uint32_t send_inputs(struct apic_bus *bus, uint32_t inputs)
{
	uint32_t vcpus = 0;

	for (unsigned int i = 0; i < IO_APIC_INPUTS; i++) {
		uint64_t entry = bus->io.entries[i];
		uint32_t takers;

		if (!(inputs >> i & 1))
			continue;
		takers = from_device(bus, (uint32_t)(entry >> 56), entry & LOGICAL, (uint32_t)entry);
		if (!takers)
			io_apic_lost(&bus->io, i);
		vcpus |= takers;
	}
	return vcpus;
}

uint32_t apic_bus_set_input(struct apic_bus *bus, unsigned int input, bool level)
{
	uint32_t vcpus;

	lock(bus);
	vcpus = send_inputs(bus, io_apic_set_input(&bus->io, input, level));
	unlock(bus);
	return vcpus;
}

uint32_t apic_bus_io_read(struct apic_bus *bus, uint32_t offset)
{
	uint32_t value;

	lock(bus);
	value = io_apic_read(&bus->io, offset);
	unlock(bus);
	return value;
}

uint32_t apic_bus_io_write(struct apic_bus *bus, uint32_t offset, uint32_t value)
{
	uint32_t vcpus;

	lock(bus);
	vcpus = send_inputs(bus, io_apic_write(&bus->io, offset, value));
	unlock(bus);
	return vcpus;
}

static uint32_t command_targets(const struct apic_bus *bus, uint32_t index,
				const struct local_apic_effects *effects)
{
	switch (effects->command & SHORTHAND) {
	case TO_SELF:
		return 1u << index;
	case TO_ALL:
		return bus->vcpus;
	case TO_OTHERS:
		return bus->vcpus & ~(1u << index);
	default:
		return matching(bus, effects->destination, effects->command & LOGICAL, effects->is_wide);
	}
}

static uint32_t send_command(struct apic_bus *bus, uint32_t index, const struct local_apic_effects *effects)
{
	uint32_t targets = command_targets(bus, index, effects), command = effects->command;

	switch (command >> 8 & 7) {
	case DELIVER_FIXED:
	case DELIVER_LOWEST:
		return interrupt(bus, targets, command & ~LEVEL);
	case DELIVER_NMI:
		return signal(bus, targets, LOCAL_APIC_NMI);
	case DELIVER_INIT:
		/* The de-assert message only synchronizes arbitration identifiers of old processors. */
		if ((command & LEVEL) && !(command & LEVEL_ASSERT))
			return 0;
		return signal(bus, targets, LOCAL_APIC_INIT);
	case DELIVER_STARTUP:
		return signal(bus, targets, LOCAL_APIC_STARTUP | (command & 0xff));
	default:
		return 0;
	}
}

static uint32_t carry_out(struct apic_bus *bus, uint32_t index, const struct local_apic_effects *effects)
{
	uint32_t vcpus = effects->has_command ? send_command(bus, index, effects) : 0;

	if (effects->has_level_end) {
		lock(bus);
		vcpus |= send_inputs(bus, io_apic_end(&bus->io, (uint8_t)effects->level_end));
		unlock(bus);
	}
	return vcpus;
}

uint32_t apic_bus_read(struct apic_bus *bus, uint32_t index, uint32_t offset, uint64_t now)
{
	return local_apic_read(&bus->local[index], offset, now);
}

uint32_t apic_bus_write(struct apic_bus *bus, uint32_t index, uint32_t offset, uint32_t value, uint64_t now)
{
	struct local_apic_effects effects;

	local_apic_write(&bus->local[index], offset, value, now, &effects);
	return carry_out(bus, index, &effects);
}

bool apic_bus_read_msr(struct apic_bus *bus, uint32_t index, uint32_t msr, uint64_t now, uint64_t *value)
{
	return local_apic_read_msr(&bus->local[index], msr, now, value);
}

bool apic_bus_write_msr(struct apic_bus *bus, uint32_t index, uint32_t msr, uint64_t value, uint64_t now,
			uint32_t *vcpus)
{
	struct local_apic_effects effects;

	*vcpus = 0;
	if (!local_apic_write_msr(&bus->local[index], msr, value, now, &effects))
		return false;
	*vcpus = carry_out(bus, index, &effects);
	return true;
}
