/* SPDX-License-Identifier: MIT */
/*
 * Shared guest RAM; see ram.h.
 */
#include "ram.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

int ram_create(struct memory *ram, uint64_t size_bytes, uint64_t low_limit, uint64_t top_bytes)
{
	*ram = (struct memory){
		.size_bytes = size_bytes + top_bytes,
		.low_bytes = size_bytes < low_limit ? size_bytes : low_limit,
		.top_bytes = top_bytes,
	};
	ram->high_bytes = size_bytes - ram->low_bytes;
	size_bytes = ram->size_bytes;
	ram->fd = memfd_create("guest-ram", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (ram->fd < 0 || ftruncate(ram->fd, (off_t)size_bytes))
		return -errno;
	ram->bytes = mmap(NULL, size_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, ram->fd, 0);
	if (ram->bytes == MAP_FAILED) {
		ram->bytes = NULL;
		return -errno;
	}
	(void)madvise(ram->bytes, size_bytes, MADV_HUGEPAGE); /* a wish; kernels without it say no */
	return 0;
}

void ram_destroy(struct memory *ram)
{
	if (ram->bytes)
		munmap(ram->bytes, ram->size_bytes);
	if (ram->fd >= 0)
		close(ram->fd);
	*ram = (struct memory){ .fd = -1 };
}

void *ram_at(struct memory *ram, uint64_t address, uint64_t size_bytes)
{
	if (address < ram->low_bytes && size_bytes <= ram->low_bytes - address)
		return ram->bytes + address;
	if (address >= RAM_HIGH_START && address - RAM_HIGH_START < ram->high_bytes &&
	    size_bytes <= ram->high_bytes - (address - RAM_HIGH_START))
		return ram->bytes + ram->low_bytes + (address - RAM_HIGH_START);
	if (address < RAM_HIGH_START && RAM_HIGH_START - address <= ram->top_bytes &&
	    size_bytes <= RAM_HIGH_START - address)
		return ram->bytes + ram->size_bytes - (RAM_HIGH_START - address);
	return NULL;
}

bool memory_read(struct memory *memory, uint64_t address, void *to, uint32_t size_bytes)
{
	const void *from = ram_at(memory, address, size_bytes);

	if (from)
		memcpy(to, from, size_bytes);
	return from;
}

bool memory_write(struct memory *memory, uint64_t address, const void *from, uint32_t size_bytes)
{
	void *to = ram_at(memory, address, size_bytes);

	if (to)
		memcpy(to, from, size_bytes);
	return to;
}

bool memory_copy(struct memory *to, uint64_t to_address, struct memory *from, uint64_t from_address,
		 uint32_t size_bytes)
{
	const void *source = ram_at(from, from_address, size_bytes);
	void *target = ram_at(to, to_address, size_bytes);

	if (!source || !target)
		return false;
	memmove(target, source, size_bytes);
	return true;
}

bool memory_look(struct memory *memory, uint64_t address, struct memory_word *word)
{
	word->place = address % sizeof(word->value) ? NULL : ram_at(memory, address, sizeof(word->value));
	if (word->place)
		word->value = __atomic_load_n(word->place, __ATOMIC_RELAXED);
	return word->place;
}

uint64_t memory_generation(const struct memory *memory)
{
	(void)memory;
	return 0; /* where its addresses lie stays for as long as this process runs */
}

enum memory_given memory_give_up(struct memory *memory, uint64_t address)
{
	(void)memory;
	(void)address;
	return MEMORY_KEPT; /* this process's memory is its guest's for as long as it runs */
}

bool memory_is_empty(struct memory *memory, uint64_t address)
{
	(void)memory;
	(void)address;
	return false;
}

bool memory_exchange(struct memory *memory, uint64_t address, uint32_t size_bytes, uint64_t expected, uint64_t desired)
{
	void *place = ram_at(memory, address, size_bytes);
	uint32_t narrow = (uint32_t)expected;

	if (!place || address % size_bytes)
		return false;
	if (size_bytes == 4)
		return __atomic_compare_exchange_n((uint32_t *)place, &narrow, (uint32_t)desired, false,
						   __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
	return __atomic_compare_exchange_n((uint64_t *)place, &expected, desired, false, __ATOMIC_SEQ_CST,
					   __ATOMIC_SEQ_CST);
}
