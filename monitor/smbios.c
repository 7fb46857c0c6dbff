/* SPDX-License-Identifier: MIT */
/*
 * Writes the entry point and two structures; see smbios.h. Section numbers are DSP0134's.
 */
#include "smbios.h"

#include <string.h>

enum { TYPE_SYSTEM = 1, TYPE_END = 127 };
enum { SYSTEM_BYTES = 27, END_BYTES = 4 };
enum { WAKE_BY_POWER_SWITCH = 6 };

/** Adds a structure's formatted part and its strings, which end with an empty one (6.1.3). */
static void add(struct smbios *tables, const uint8_t *formatted, const char *strings, size_t string_bytes)
{
	uint8_t *to = tables->structures + tables->structure_bytes;

	memcpy(to, formatted, formatted[1]);
	memcpy(to + formatted[1], strings, string_bytes);
	tables->structure_bytes += formatted[1] + string_bytes;
}

void smbios_write(struct smbios *tables)
{
	/* 7.2: manufacturer is string 1, product name string 2; no other string, no UUID. */
	static const uint8_t system[SYSTEM_BYTES] = {
		[0] = TYPE_SYSTEM, [1] = SYSTEM_BYTES, [2] = 0x00, [3] = 0x01, [4] = 1, [5] = 2, [24] = WAKE_BY_POWER_SWITCH,
	};
	static const char system_strings[] = "Bulkhead\0Guest\0";
	static const uint8_t end[END_BYTES] = { [0] = TYPE_END, [1] = END_BYTES, [2] = 0x7f };
	uint8_t sum = 0;

	*tables = (struct smbios){ 0 };
	add(tables, system, system_strings, sizeof(system_strings));
	add(tables, end, "\0", 2);
	/* 5.2.2: length, version 3.0.0, revision 1, the structures' maximum size. */
	memcpy(tables->entry, "_SM3_\0\x18\x03\x00\x00\x01", 11);
	tables->entry[12] = (uint8_t)tables->structure_bytes;
	for (size_t i = 0; i < sizeof(tables->entry); i++)
		sum = (uint8_t)(sum + tables->entry[i]);
	tables->entry[5] = (uint8_t)-sum;
}
