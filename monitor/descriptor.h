/* SPDX-License-Identifier: MIT */
/*
 * Holds a guest against its descriptor (trust/descriptor.h): the file that the configuration names, signed by the key in
 * the key file, which holds the public key as 64 hexadecimal digits and a newline.
 */
#ifndef BULKHEAD_MONITOR_DESCRIPTOR_H
#define BULKHEAD_MONITOR_DESCRIPTOR_H

#include "config.h"

#include <bulkhead/hypercall.h>

/** Writes a measurement as hexadecimal digits. */
void descriptor_print(const uint8_t digest[BULKHEAD_MEASUREMENT_BYTES], char text[2 * BULKHEAD_MEASUREMENT_BYTES + 1]);

/** Checks a descriptor's text against a key's. Returns NULL and sets @digest, or what is wrong with it. */
const char *descriptor_parse(const char *text, const char *key_text, uint8_t digest[BULKHEAD_MEASUREMENT_BYTES]);

/**
 * Compares a sealed guest's measurement with the descriptor that the configuration names.
 * Returns false after filling @error with one line if the descriptor is not good or names another guest.
 */
bool descriptor_check(const struct config *config, const uint8_t measured[BULKHEAD_MEASUREMENT_BYTES], char *error,
		      size_t error_bytes);

#endif
