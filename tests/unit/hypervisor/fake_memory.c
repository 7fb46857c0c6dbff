/* SPDX-License-Identifier: MIT */
/*
 * Accessors over a block of bytes; see fake_memory.h.
 */
#include "fake_memory.h"

#include <string.h>

uint64_t fake_memory_copied, fake_memory_asked;
enum memory_given (*fake_memory_give_up)(uint64_t address);
bool (*fake_memory_is_empty)(uint64_t address);
void (*fake_memory_before_look)(uint64_t address);

static uint8_t *at(struct memory *memory, uint64_t address, uint32_t size_bytes)
{
	uint64_t offset = address - memory->start;

	fake_memory_asked++;
	if (address < memory->start || offset > memory->size_bytes || size_bytes > memory->size_bytes - offset)
		return NULL;
	return memory->bytes + offset;
}

bool memory_read(struct memory *memory, uint64_t address, void *to, uint32_t size_bytes)
{
	const uint8_t *from = at(memory, address, size_bytes);

	if (from)
		memcpy(to, from, size_bytes);
	return from;
}

bool memory_write(struct memory *memory, uint64_t address, const void *from, uint32_t size_bytes)
{
	uint8_t *to = at(memory, address, size_bytes);

	if (to)
		memcpy(to, from, size_bytes);
	return to;
}

bool memory_copy(struct memory *to, uint64_t to_address, struct memory *from, uint64_t from_address,
		 uint32_t size_bytes)
{
	const uint8_t *source = at(from, from_address, size_bytes);
	uint8_t *target = at(to, to_address, size_bytes);

	if (!source || !target)
		return false;
	memcpy(target, source, size_bytes);
	fake_memory_copied += size_bytes;
	return true;
}

bool memory_look(struct memory *memory, uint64_t address, struct memory_word *word)
{
	const uint8_t *place = at(memory, address, sizeof(word->value));

	if (fake_memory_before_look)
		fake_memory_before_look(address);
	if (!place || address % sizeof(word->value))
		return false;
	word->place = (const uint64_t *)(const void *)place;
	memcpy(&word->value, place, sizeof(word->value));
	return true;
}

uint64_t memory_generation(const struct memory *memory)
{
	return memory->generation;
}

enum memory_given memory_give_up(struct memory *memory, uint64_t address)
{
	uint8_t *page = at(memory, address, 4096);
	enum memory_given answer = fake_memory_give_up ? fake_memory_give_up(address) : MEMORY_GIVEN;

	if (!page)
		return MEMORY_KEPT;
	if (answer == MEMORY_GIVEN)
		memset(page, 0, 4096);
	return answer;
}

bool memory_is_empty(struct memory *memory, uint64_t address)
{
	return fake_memory_is_empty && at(memory, address, 1) && fake_memory_is_empty(address);
}

bool memory_exchange(struct memory *memory, uint64_t address, uint32_t size_bytes, uint64_t expected, uint64_t desired)
{
	void *place = at(memory, address, size_bytes);
	uint32_t narrow = (uint32_t)expected;

	if (!place || address % size_bytes)
		return false;
	if (size_bytes == 4)
		return __atomic_compare_exchange_n((uint32_t *)place, &narrow, (uint32_t)desired, false,
						   __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
	return __atomic_compare_exchange_n((uint64_t *)place, &expected, desired, false, __ATOMIC_SEQ_CST,
					   __ATOMIC_SEQ_CST);
}
