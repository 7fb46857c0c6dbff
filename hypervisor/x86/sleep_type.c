/* SPDX-License-Identifier: MIT */
/*
 * Finds the sleep type of power-off in AML without interpreting it; see sleep_type.h.
 */
#include "sleep_type.h"

#define AML_NAME_S5    "_S5_"
#define AML_PACKAGE    0x12u
#define AML_ZERO       0x00u
#define AML_ONE	       0x01u
#define AML_BYTE       0x0au

int sleep_type_of_off(const uint8_t *aml, size_t size_bytes)
{
	for (size_t i = 0; i + 9 < size_bytes; i++) {
		size_t at = i + 4;

		if (__builtin_memcmp(aml + i, AML_NAME_S5, 4) != 0 || aml[at] != AML_PACKAGE)
			continue;
		at += 2u + (aml[at + 1] >> 6); /* package length: its two top bits count more bytes */
		at += 1;		       /* number of elements */
		if (at + 1 >= size_bytes)
			return -1;
		if (aml[at] == AML_ZERO || aml[at] == AML_ONE)
			return aml[at];
		return aml[at] == AML_BYTE && aml[at + 1] <= SLEEP_TYPE_MAX ? aml[at + 1] : -1;
	}
	return -1;
}
