/* SPDX-License-Identifier: MIT */
/*
 * The core's architecture interface on x86 (core/arch.h), but for processors and vCPUs.
 */
#include "cpu.h"
#include "hypervisor.h"

#define SERIAL_PORT	 0x3f8u
#define SERIAL_STATUS	 (SERIAL_PORT + 5)
#define SERIAL_EMPTY	 0x20u
#define SERIAL_PATIENCE	 100000u /* turns; a port that never empties must not hold us up */

void arch_lock(struct lock *lock)
{
	while (__atomic_exchange_n(&lock->word, 1, __ATOMIC_ACQUIRE)) {
		processor_poll_flush();
		cpu_relax();
	}
}

void arch_unlock(struct lock *lock)
{
	__atomic_store_n(&lock->word, 0, __ATOMIC_RELEASE);
}

uint64_t arch_cycles(void)
{
	return rdtsc();
}

void *arch_page(struct phys page)
{
	return direct(page.value);
}

void arch_clear_page(struct phys page)
{
	void *to = direct(page.value);
	uint64_t count = PAGE_BYTES / 8;

	__asm__ volatile("rep stosq" : "+D"(to), "+c"(count) : "a"(0ull) : "memory");
}

void arch_copy_page(struct phys to, struct phys from)
{
	void *target = direct(to.value);
	const void *source = direct(from.value);
	uint64_t count = PAGE_BYTES / 8;

	__asm__ volatile("rep movsq" : "+D"(target), "+S"(source), "+c"(count) : : "memory");
}

static void serial_put(char character)
{
	for (unsigned int i = 0; i < SERIAL_PATIENCE && !(in8(SERIAL_STATUS) & SERIAL_EMPTY); i++)
		cpu_relax();
	out8(SERIAL_PORT, (uint8_t)character);
}

void arch_console(const char *text, size_t size_bytes)
{
	for (size_t i = 0; i < size_bytes; i++) {
		if (text[i] == '\n')
			serial_put('\r');
		serial_put(text[i]);
	}
}

void arch_log_events(void)
{
	iommu_log_events(&machine.iommu, &core.log);
}
