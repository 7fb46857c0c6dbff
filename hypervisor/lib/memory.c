/* SPDX-License-Identifier: MIT */
/*
 * The memory functions that compilers call by themselves in freestanding code (GCC manual, 2.1).
 */
#include <stddef.h>

void *memcpy(void *to, const void *from, size_t size);
void *memmove(void *to, const void *from, size_t size);
void *memset(void *to, int value, size_t size);
int memcmp(const void *one, const void *other, size_t size);

/* Words first: as fast as bytes on processors that make both fast, and much faster on the others. */
void *memcpy(void *to, const void *from, size_t size)
{
	size_t words = size / 8, bytes = size % 8;
	void *target = to;

	__asm__ volatile("rep movsq" : "+D"(target), "+S"(from), "+c"(words) : : "memory");
	__asm__ volatile("rep movsb" : "+D"(target), "+S"(from), "+c"(bytes) : : "memory");
	return to;
}

void *memmove(void *to, const void *from, size_t size)
{
	unsigned char *target = to;
	const unsigned char *source = from;

	if (target <= source || target >= source + size)
		return memcpy(to, from, size);
	while (size > 0) {
		size--;
		target[size] = source[size];
		__asm__ volatile("" : : : "memory"); /* or this loop becomes a call of memmove */
	}
	return to;
}

void *memset(void *to, int value, size_t size)
{
	unsigned long long word = (unsigned char)value * 0x0101010101010101ull;
	size_t words = size / 8, bytes = size % 8;
	void *target = to;

	__asm__ volatile("rep stosq" : "+D"(target), "+c"(words) : "a"(word) : "memory");
	__asm__ volatile("rep stosb" : "+D"(target), "+c"(bytes) : "a"(word) : "memory");
	return to;
}

int memcmp(const void *one, const void *other, size_t size)
{
	const unsigned char *a = one, *b = other;

	for (size_t i = 0; i < size; i++)
		if (a[i] != b[i])
			return a[i] < b[i] ? -1 : 1;
	return 0;
}
