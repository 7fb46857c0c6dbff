/* SPDX-License-Identifier: MIT */
/*
 * The guest's SMBIOS structures (DMTF DSP0134, 3.0): by them its system says what machine it is. They carry no serial
 * number and no identifier: those would be in the measurement.
 */
#ifndef BULKHEAD_MONITOR_SMBIOS_H
#define BULKHEAD_MONITOR_SMBIOS_H

#include <stddef.h>
#include <stdint.h>

struct smbios {
	uint8_t entry[24]; /**< 64-bit entry point; its address is for firmware to fill in */
	uint8_t structures[128];
	size_t structure_bytes;
};

void smbios_write(struct smbios *tables);

#endif
