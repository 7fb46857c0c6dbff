/* SPDX-License-Identifier: MIT */
/*
 * Which value of PM1 control's sleep type switches the machine off: only the DSDT says so.
 */
#ifndef BULKHEAD_X86_SLEEP_TYPE_H
#define BULKHEAD_X86_SLEEP_TYPE_H

#include <stddef.h>
#include <stdint.h>

#define SLEEP_TYPE_MAX 7u

/**
 * Finds _S5's sleep type in AML: a name followed by a package whose first element it is (ACPI 6.4, 7.4.2).
 * Returns -1 if there is none.
 */
int sleep_type_of_off(const uint8_t *aml, size_t size_bytes);

#endif
