/* SPDX-License-Identifier: MIT */
/*
 * A guest descriptor: what a guest must measure as, signed. A text file of two lines:
 *   measurement 64 hexadecimal digits
 *   signature 128 hexadecimal digits: Ed25519 over DESCRIPTOR_CONTEXT and the first line with its newline
 * The key file holds the public key, 64 hexadecimal digits.
 */
#ifndef BULKHEAD_MONITOR_DESCRIPTOR_H
#define BULKHEAD_MONITOR_DESCRIPTOR_H

#include "config.h"

#include <bulkhead/hypercall.h>

#define DESCRIPTOR_CONTEXT "bulkhead guest descriptor 1\n"

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
