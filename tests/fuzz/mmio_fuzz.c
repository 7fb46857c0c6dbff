/* SPDX-License-Identifier: MIT */
/*
 * A guest's memory, page tables and instruction as one hostile input: fetched, decoded and carried out. The device is
 * only ever touched inside the page it was touched in, a port only at its number, and the instruction pointer moves by at
 * most one instruction. An instruction that is remembered is the one that is there, whatever byte of memory was changed.
 */
#include "fake_memory.h"
#include "mmio_cache.h"

#include <stdlib.h>
#include <string.h>

#define DEVICE_AT 0xfec00000ull

_Alignas(8) static uint8_t bytes[16384];
static struct memory guest = { bytes, 0, sizeof(bytes), 0 };

static void check(uint64_t address, uint32_t size_bytes)
{
	if (address < DEVICE_AT || address + size_bytes > DEVICE_AT + 4096 || !size_bytes || size_bytes > 8)
		abort();
}

static uint64_t device_read(void *context, uint64_t address, uint32_t size_bytes)
{
	(void)context;
	check(address, size_bytes);
	return address * 0x9e3779b97f4a7c15ull;
}

static void device_write(void *context, uint64_t address, uint32_t size_bytes, uint64_t value)
{
	(void)context;
	(void)value;
	check(address, size_bytes);
}

static uint64_t port_read(void *context, uint64_t port, uint32_t size_bytes)
{
	if (port != *(uint16_t *)context || (size_bytes != 1 && size_bytes != 2 && size_bytes != 4))
		abort();
	return port * 0x9e3779b97f4a7c15ull;
}

static void port_write(void *context, uint64_t port, uint32_t size_bytes, uint64_t value)
{
	(void)value;
	(void)port_read(context, port, size_bytes);
}

struct input {
	struct guest_paging paging;
	uint64_t gpr[16], rip, rflags, segment_base[6];
	uint16_t offset, changed;
	uint8_t mode, is_write, change;
};

static bool is_same(const struct mmio_instruction *a, const struct mmio_instruction *b)
{
	return a->kind == b->kind && a->operation == b->operation && a->length_bytes == b->length_bytes &&
	       a->size_bytes == b->size_bytes && a->target_bytes == b->target_bytes &&
	       a->address_bytes == b->address_bytes && a->gpr == b->gpr && a->is_high_byte == b->is_high_byte &&
	       a->is_signed == b->is_signed && a->is_repeated == b->is_repeated &&
	       a->source_segment == b->source_segment && a->immediate == b->immediate;
}

/* Finds the instruction anew and with what is remembered. Both must agree. */
static void compare(struct mmio_cache *cache, const struct guest_paging *paging, uint64_t rip, enum mmio_mode mode)
{
	const struct mmio_instruction *found = mmio_cache_find(cache, &guest, paging, rip, mode);
	struct mmio_instruction fresh = { 0 };
	uint8_t fetched[MMIO_INSTRUCTION_BYTES];
	uint32_t count = guest_fetch(&guest, paging, rip, fetched, sizeof(fetched));
	bool is_known = mmio_decode(fetched, count, mode, &fresh);

	if (is_known != (found != NULL) || (found && !is_same(found, &fresh)))
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const enum mmio_mode modes[] = { MMIO_CODE_16, MMIO_CODE_32, MMIO_CODE_64, MMIO_CODE_64 };
	static const struct mmio_device device = { .read = device_read, .write = device_write };
	struct mmio_instruction instruction;
	struct mmio_cache cache = { 0 };
	struct mmio_state state;
	struct input input;
	uint8_t fetched[MMIO_INSTRUCTION_BYTES];
	uint64_t rip;
	uint32_t count;

	if (size < sizeof(input))
		return 0;
	memcpy(&input, data, sizeof(input));
	data += sizeof(input);
	size -= sizeof(input);
	/* What is left fills every page with the same pattern: tables, code and data. */
	for (size_t at = 0; at < sizeof(bytes) && size; at++)
		bytes[at] = data[at % 4096 % size];
	state = (struct mmio_state){
		.paging = input.paging, .gpr = input.gpr, .rip = input.rip, .rflags = input.rflags,
		.mode = modes[input.mode % 4],
	};
	memcpy(state.segment_base, input.segment_base, sizeof(state.segment_base));
	rip = state.rip;
	compare(&cache, &state.paging, rip, state.mode);
	compare(&cache, &state.paging, rip, state.mode);
	bytes[input.changed % sizeof(bytes)] ^= input.change;
	compare(&cache, &state.paging, rip, state.mode);
	count = guest_fetch(&guest, &state.paging, rip, fetched, sizeof(fetched));
	if (mmio_decode_port(fetched, count, state.mode, &instruction)) {
		const struct mmio_device port = { .read = port_read, .write = port_write, .context = &input.offset };

		if (mmio_execute_port(&state, &instruction, &guest, input.offset, &port) &&
		    (uint32_t)(state.rip - rip) > instruction.length_bytes)
			abort();
		return 0;
	}
	if (!mmio_decode(fetched, count, state.mode, &instruction))
		return 0;
	if (instruction.length_bytes == 0 || instruction.length_bytes > count)
		abort();
	if (mmio_execute(&state, &instruction, &guest, DEVICE_AT + input.offset % 4096, input.is_write & 1,
			 &device) &&
	    (uint32_t)(state.rip - rip) > instruction.length_bytes)
		abort();
	return 0;
}
