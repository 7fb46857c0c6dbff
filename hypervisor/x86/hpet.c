/* SPDX-License-Identifier: MIT */
/*
 * The filter of the event timers (IA-PC HPET 1.0a, 2.3.8); see memory_fault.h.
 */
#include "memory_fault.h"

#define TIMERS	       0x100u
#define TIMER_BYTES    0x20u
#define TIMER_ROUTE    0x10u
#define TIMER_MESSAGES (1ull << 14) /* Tn_FSB_EN_CNF */

bool hpet_write_filter(uint32_t offset, unsigned int size_bytes, uint64_t *value)
{
	uint32_t in_timer = offset % TIMER_BYTES;

	if ((size_bytes != 4 && size_bytes != 8) || offset % size_bytes != 0)
		return false;
	if (offset < TIMERS)
		return true;
	if (in_timer >= TIMER_ROUTE)
		return false;
	if (in_timer == 0)
		*value &= ~TIMER_MESSAGES;
	return true;
}
