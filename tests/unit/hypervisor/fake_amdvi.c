/* SPDX-License-Identifier: MIT */
/* See fake_amdvi.h. Behaviour after the specification, where the emulated PC's unit differs too. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "amd/amdvi.h"
#include "fake_amdvi.h"

struct fake_amdvi fake;

void *fake_pointer(uint64_t physical_address, uint64_t size_bytes)
{
	assert_in_range(physical_address, FAKE_MEMORY,
			FAKE_MEMORY + FAKE_MEMORY_BYTES - size_bytes);
	return fake.memory + (physical_address - FAKE_MEMORY);
}

static uint64_t *reg(uint32_t offset)
{
	return &fake.registers[offset / 8];
}

static void forget_translations(uint16_t domain, uint64_t second)
{
	/* Bit 0: a range, whose size the lowest clear address bit gives; all ones: everything. */
	bool all = (second & ~0xfffull) == 0x7ffffffffffff000ull && (second & 1);

	for (uint32_t i = 0; i < FAKE_CACHE; i++)
		if (fake.translations[i].used && fake.translations[i].domain == domain &&
		    (all || fake.translations[i].page == (second & ~0xfffull)))
			fake.translations[i].used = false;
}

static void forget_interrupts(uint16_t device)
{
	for (uint32_t i = 0; i < FAKE_CACHE; i++)
		if (fake.remaps[i].device == device)
			fake.remaps[i].used = false;
}

static void run_command(uint64_t first, uint64_t second)
{
	switch (first >> 60) {
	case AMDVI_COMPLETION_WAIT:
		if (first & 1)
			memcpy(fake_pointer(first & 0x000ffffffffffff8ull, 8), &second, 8);
		break;
	case AMDVI_INVALIDATE_DEVICE:
		fake.devices[first & 0xffff].used = false;
		break;
	case AMDVI_INVALIDATE_PAGES:
		forget_translations((uint16_t)(first >> 32), second);
		break;
	case AMDVI_INVALIDATE_INTERRUPT:
		forget_interrupts((uint16_t)first);
		break;
	case AMDVI_INVALIDATE_ALL:
		memset(fake.devices, 0, sizeof(fake.devices));
		memset(fake.translations, 0, sizeof(fake.translations));
		memset(fake.remaps, 0, sizeof(fake.remaps));
		break;
	default:
		fake.complaint = "unknown command";
	}
	fake.commands_run++;
}

static void run_commands(void)
{
	uint64_t base = *reg(AMDVI_COMMAND_BASE) & 0x000ffffffffff000ull;
	uint64_t needed = AMDVI_CONTROL_ENABLE | AMDVI_CONTROL_COMMANDS;

	if (fake.is_dead || (*reg(AMDVI_CONTROL) & needed) != needed)
		return;
	while (*reg(AMDVI_COMMAND_HEAD) != *reg(AMDVI_COMMAND_TAIL)) {
		uint64_t *command = fake_pointer(base + *reg(AMDVI_COMMAND_HEAD), 16);

		run_command(command[0], command[1]);
		*reg(AMDVI_COMMAND_HEAD) = (*reg(AMDVI_COMMAND_HEAD) + 16) % AMDVI_RING_BYTES;
	}
}

static uint64_t fake_read(void *context, uint64_t address)
{
	assert_in_range(address, FAKE_BASE, FAKE_BASE + AMDVI_WINDOW_BYTES - 8);
	return *reg((uint32_t)(address - FAKE_BASE));
}

static void fake_write(void *context, uint64_t address, uint64_t value)
{
	uint32_t offset = (uint32_t)(address - FAKE_BASE);

	assert_in_range(address, FAKE_BASE, FAKE_BASE + AMDVI_WINDOW_BYTES - 8);
	if (*reg(AMDVI_CONTROL) & AMDVI_CONTROL_ENABLE && offset <= AMDVI_EXCLUSION_LIMIT &&
	    offset != AMDVI_CONTROL)
		fake.complaint = "base register written while the unit runs";
	if (offset == AMDVI_STATUS) {
		*reg(offset) &= ~value;
		return;
	}
	*reg(offset) = value;
	if (offset == AMDVI_COMMAND_TAIL || offset == AMDVI_CONTROL)
		run_commands();
}

static void fake_relax(void *context)
{
}

const struct iommu_access fake_access = {fake_read, fake_write, fake_relax, NULL};

void fake_reset(void)
{
	uint8_t *memory = fake.memory ? fake.memory : malloc(FAKE_MEMORY_BYTES);

	memset(&fake, 0, sizeof(fake));
	memset(memory, 0, FAKE_MEMORY_BYTES);
	fake.memory = memory;
	*reg(AMDVI_FEATURES) = 0x29d3;
	*reg(AMDVI_EXCLUSION_BASE) = 0x40000003; /* on, for all devices */
	/* Firmware's leftovers: a device let through untranslated, and one translation. */
	fake.devices[0x18].used = true;
	fake.translations[0] = (struct fake_translation){true, 0x20, 1, 0x1000, 0x666000, true, true};
}

static const uint64_t *device_entry(uint16_t device)
{
	uint64_t table = *reg(AMDVI_DEVICE_TABLE) & 0x000ffffffffff000ull;

	if (!fake.devices[device].used) {
		memcpy(fake.devices[device].words, fake_pointer(table + device * 32u, 32), 32);
		fake.devices[device].used = true;
	}
	return fake.devices[device].words;
}

static bool walk(const uint64_t *entry, uint64_t address, struct fake_translation *found)
{
	uint32_t level = (entry[0] >> 9) & 7;
	uint64_t table = entry[0] & 0x000ffffffffff000ull;

	found->may_read = (entry[0] >> 61) & 1;
	found->may_write = (entry[0] >> 62) & 1;
	while (level > 0) {
		uint32_t shift = 12 + 9 * (level - 1), next;
		uint64_t step;

		memcpy(&step, fake_pointer(table + ((address >> shift) & 511) * 8, 8), 8);
		if (!(step & 1))
			return false;
		found->may_read = found->may_read && (step >> 61 & 1);
		found->may_write = found->may_write && (step >> 62 & 1);
		table = step & 0x000ffffffffff000ull;
		next = (step >> 9) & 7;
		if (next == 0) {
			found->target = table | (address & ((1ull << shift) - 1) & ~0xfffull);
			return true;
		}
		if (next >= level)
			return false;
		level = next;
	}
	return false;
}

bool fake_dma(uint16_t device, uint64_t address, bool is_write, uint64_t *target)
{
	struct fake_translation found = {true, device, 0, address & ~0xfffull, 0, false, false};
	const uint64_t *entry;

	*target = address;
	if (!(*reg(AMDVI_CONTROL) & AMDVI_CONTROL_ENABLE) || (*reg(AMDVI_EXCLUSION_BASE) & 1))
		return true;
	entry = device_entry(device);
	if (!(entry[0] & AMDVI_DTE_VALID))
		return true;
	if (!(entry[0] & AMDVI_DTE_TRANSLATION))
		return entry[0] >> (is_write ? 62 : 61) & 1;
	found.domain = (uint16_t)entry[1];
	for (uint32_t i = 0; i < FAKE_CACHE; i++) {
		struct fake_translation *cached = &fake.translations[i];

		if (cached->used && cached->device == device && cached->page == found.page) {
			*target = cached->target | (address & 0xfff);
			return is_write ? cached->may_write : cached->may_read;
		}
	}
	if (!walk(entry, address, &found))
		return false;
	for (uint32_t i = 0; i < FAKE_CACHE; i++) {
		if (!fake.translations[i].used) {
			fake.translations[i] = found;
			break;
		}
	}
	*target = found.target | (address & 0xfff);
	return is_write ? found.may_write : found.may_read;
}

static uint32_t remap_entry(const uint64_t *entry, uint16_t device, uint16_t index)
{
	uint32_t value;

	for (uint32_t i = 0; i < FAKE_CACHE; i++)
		if (fake.remaps[i].used && fake.remaps[i].device == device &&
		    fake.remaps[i].index == index)
			return fake.remaps[i].entry;
	memcpy(&value, fake_pointer((entry[2] & AMDVI_DTE_INT_ROOT) + index * 4u, 4), 4);
	for (uint32_t i = 0; i < FAKE_CACHE; i++) {
		if (!fake.remaps[i].used) {
			fake.remaps[i].used = true;
			fake.remaps[i].device = device;
			fake.remaps[i].index = index;
			fake.remaps[i].entry = value;
			break;
		}
	}
	return value;
}

int fake_interrupt(uint16_t device, uint32_t mode, uint32_t data, uint8_t *destination)
{
	const uint64_t *entry = device_entry(device);
	uint32_t remap;

	*destination = 0xff;
	if (!(*reg(AMDVI_CONTROL) & AMDVI_CONTROL_ENABLE) || !(entry[2] & AMDVI_DTE_INT_VALID))
		return (int)(data & 0xff);
	if (mode > 1)
		return FAKE_BLOCKED; /* INITPass, NMIPass and EIntPass must never be set */
	if (entry[2] >> 56 & 7)
		fake.complaint = "an interrupt pass bit is set";
	if ((entry[2] >> 60 & 3) != 2)
		return FAKE_BLOCKED;
	if ((entry[2] >> 1 & 15) != 11)
		fake.complaint = "remapping table shorter than what the emulated unit indexes";
	remap = remap_entry(entry, device, data & 0x7ff);
	if (!(remap & 1) || (remap >> 2 & 7) > 1)
		return FAKE_BLOCKED;
	*destination = (uint8_t)(remap >> 8);
	return (int)(remap >> 16 & 0xff);
}
