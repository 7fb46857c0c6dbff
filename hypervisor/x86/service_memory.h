/* SPDX-License-Identifier: MIT */
/*
 * Reads the service domain's memory the way its processor does: through its page tables, and only
 * where the service domain itself could read.
 */
#ifndef BULKHEAD_X86_SERVICE_MEMORY_H
#define BULKHEAD_X86_SERVICE_MEMORY_H

#include "vendor.h"

/** Fetches up to size bytes of code at a linear address; returns how many could be read. */
size_t service_memory_fetch(const struct view *view, uint64_t linear, uint8_t *bytes, size_t size);

#endif
