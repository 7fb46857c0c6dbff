/* SPDX-License-Identifier: MIT */
/*
 * The emulated unit's registers and commands. See amdvi_unit.h for the idea, amdvi_copy.c for what an
 * invalidation does. Everything it reads from the service domain it reads once.
 */
#include "amdvi_copy.h"

/* Work one register write may do, in rough hundreds of instructions. */
#define BUDGET	     40u
#define COST_COMMAND 1u

#define RING_ADDRESS	0x000ffffffffff000ull
#define RING_LENGTH(r)	((uint32_t)((r) >> 56) & 15)
#define RING_POINTER	0x7fff0ull
#define STORE_ADDRESS	0x000ffffffffffff8ull
#define WAIT_STORE	1ull
#define RUNNING		(AMDVI_CONTROL_ENABLE | AMDVI_CONTROL_COMMANDS)

/* Registers whose writes fault and are kept. */
static const uint16_t pointers[] = {
	AMDVI_COMMAND_HEAD,
	AMDVI_COMMAND_TAIL,
	AMDVI_EVENT_HEAD,
	AMDVI_EVENT_TAIL,
};

uint64_t amdvi_unit_register(const struct amdvi_unit *unit, uint32_t offset)
{
	return __atomic_load_n(&unit->window[offset / 8], __ATOMIC_RELAXED);
}

static void set_register(struct amdvi_unit *unit, uint32_t offset, uint64_t value)
{
	__atomic_store_n(&unit->window[offset / 8], value, __ATOMIC_RELEASE);
}

uint64_t amdvi_unit_shadow(const struct iommu *iommu, uint32_t index)
{
	return iommu->shadow_physical + (uint64_t)index * AMDVI_WINDOW_BYTES;
}

void amdvi_unit_init(struct amdvi_unit *unit, struct iommu *iommu, uint32_t index,
		     const struct amdvi_unit_memory *memory)
{
	*unit = (struct amdvi_unit){
		.iommu = iommu,
		.memory = *memory,
		.window = (uint64_t *)(iommu->shadow + (uint64_t)index * AMDVI_WINDOW_BYTES),
	};
	for (uint32_t i = 0; i < AMDVI_WINDOW_BYTES / 8; i++)
		unit->window[i] = 0;
	set_register(unit, AMDVI_FEATURES, AMDVI_UNIT_FEATURES);
}

/* Starts what a command asks for; false if its memory is not the service domain's: the ring stops. */
static bool run_command(struct amdvi_unit *unit, const uint64_t command[2])
{
	switch (command[0] >> 60) {
	case AMDVI_COMPLETION_WAIT:
		return !(command[0] & WAIT_STORE) ||
		       unit->memory.write(unit->memory.context, command[0] & STORE_ADDRESS,
					  &command[1], sizeof(command[1]));
	case AMDVI_INVALIDATE_DEVICE:
	case AMDVI_INVALIDATE_INTERRUPT:
		amdvi_copy_device(unit, (uint16_t)command[0]);
		return true;
	case AMDVI_INVALIDATE_ALL:
		unit->work = AMDVI_WORK_SCAN;
		unit->next_device = 0;
		return true;
	default:
		return true; /* translations: Linux has none here */
	}
}

/* Takes the next command off the ring. False: there is none, or the ring is not usable. */
static bool next_command(struct amdvi_unit *unit)
{
	uint64_t base = amdvi_unit_register(unit, AMDVI_COMMAND_BASE);
	uint64_t head = amdvi_unit_register(unit, AMDVI_COMMAND_HEAD);
	uint64_t tail = amdvi_unit_register(unit, AMDVI_COMMAND_TAIL);
	uint64_t control = amdvi_unit_register(unit, AMDVI_CONTROL);
	uint64_t size = (uint64_t)AMDVI_ENTRY_BYTES << RING_LENGTH(base);
	uint64_t command[2];

	if ((control & RUNNING) != RUNNING || head == tail || head >= size || tail >= size)
		return false;
	if (!unit->memory.read(unit->memory.context, (base & RING_ADDRESS) + head, command,
			       sizeof(command)) ||
	    !run_command(unit, command)) {
		set_register(unit, AMDVI_CONTROL, control & ~AMDVI_CONTROL_COMMANDS);
		return false;
	}
	set_register(unit, AMDVI_COMMAND_HEAD, (head + AMDVI_ENTRY_BYTES) % size);
	return true;
}

/* Works until nothing is left or the budget is spent. A command waits for the work before it. */
static enum amdvi_unit_result work(struct amdvi_unit *unit)
{
	uint32_t spent = 0;

	while (spent < BUDGET) {
		enum iommu_result result = IOMMU_OK;

		if (unit->work == AMDVI_WORK_NONE) {
			if (!next_command(unit))
				return AMDVI_UNIT_DONE;
			spent += COST_COMMAND;
		} else {
			spent += amdvi_copy_step(unit, &result);
		}
		if (result != IOMMU_OK)
			return AMDVI_UNIT_FAILED;
	}
	return AMDVI_UNIT_AGAIN;
}

static void write_pointer(struct amdvi_unit *unit, uint32_t offset, uint64_t value)
{
	for (size_t i = 0; i < sizeof(pointers) / sizeof(pointers[0]); i++)
		if (pointers[i] == offset)
			set_register(unit, offset, value & RING_POINTER);
}

enum amdvi_unit_result amdvi_unit_write(struct amdvi_unit *unit, uint32_t offset,
					uint32_t size_bytes, uint64_t value)
{
	const struct iommu_access *access = &unit->iommu->access;
	enum amdvi_unit_result result;

	if ((size_bytes != 4 && size_bytes != 8) || offset % size_bytes != 0 ||
	    offset >= AMDVI_WINDOW_BYTES)
		return AMDVI_UNIT_DONE;
	while (__atomic_test_and_set(&unit->lock, __ATOMIC_ACQUIRE))
		access->relax(access->context);
	write_pointer(unit, offset, value);
	result = work(unit);
	__atomic_clear(&unit->lock, __ATOMIC_RELEASE);
	return result;
}
