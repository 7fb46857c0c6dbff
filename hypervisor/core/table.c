/* SPDX-License-Identifier: MIT */
/*
 * Forms of page-table entries. One table serves AMD's nested paging and AMD-Vi: the processor ignores
 * what only the I/O unit reads, and the other way round.
 */
#include "table.h"

#define PRESENT	   (1ull << 0)
#define WRITABLE   (1ull << 1)
#define USER	   (1ull << 2) /* nested walks count as user accesses (APM vol. 2, 15.25.5) */
#define LARGE	   (1ull << 7)
#define NEXT_LEVEL (1ull << 9) /* AMD-Vi: level of the table pointed to; 0 says leaf */
#define DMA_READ   (1ull << 61)
#define DMA_WRITE  (1ull << 62)

/*
 * Devices' rights stand in the leaf: an I/O unit may cache those of a leaf alone. A right to write for
 * a device never stands without the processor's, and an empty entry is 0 as a whole, because a unit
 * may look at the device bits without looking at PRESENT.
 */
const struct table_format table_format_amd = {
	.address_mask = 0x000ffffffffff000ull,
	.leaf = {
		[ACCESS_ALL] = PRESENT | WRITABLE | USER | DMA_READ | DMA_WRITE,
		[ACCESS_CPU] = PRESENT | WRITABLE | USER,
		[ACCESS_READ] = PRESENT | USER,
	},
	.access_mask = WRITABLE | DMA_READ | DMA_WRITE,
	.small_leaf = 0,
	.large_leaf = LARGE,
	.large_mask = LARGE,
	.table = PRESENT | WRITABLE | USER | DMA_READ | DMA_WRITE,
	.next_level_unit = NEXT_LEVEL,
	.type_unit = 0,
	.ram_type = 6,
};
