/* SPDX-License-Identifier: MIT */
/*
 * PCI configuration space of the functions whose registers move memory, ports or interrupts: host
 * bridges, ISA bridges, IOMMUs. The service domain reads them; what it may write stands in a table.
 */
#ifndef BULKHEAD_X86_CONFIG_SPACE_H
#define BULKHEAD_X86_CONFIG_SPACE_H

#include <stdbool.h>
#include <stdint.h>

#define CONFIG_MAX_GUARDED 32u

/** A function: bus << 8 | device << 3 | function. */
struct config_guard {
	uint16_t functions[CONFIG_MAX_GUARDED];
	uint32_t count;
	bool is_full; /* there are more: nothing on bus 0 may be written */
};

/** Looks at bus 0 and guards what needs it. */
void config_space_find(void);

/** Guards one more function. */
void config_space_guard(uint16_t function);

/** The guarded functions, for their windows. */
const struct config_guard *config_space_guarded(void);

/** Whether a write may pass. Pure but for the guarded functions. */
bool config_space_may_write(uint16_t function, uint16_t offset, unsigned int size_bytes);

/** Accesses to ports CF8h to CFFh. */
uint32_t config_space_port_read(uint16_t port, unsigned int size_bytes);
void config_space_port_write(uint16_t port, unsigned int size_bytes, uint32_t value);

/** Our own accesses, 4 bytes. @offset: multiple of 4 */
uint32_t config_space_read(uint16_t function, uint16_t offset);
void config_space_write(uint16_t function, uint16_t offset, uint32_t value);

#endif
