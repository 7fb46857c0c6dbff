/*
 * document.h: what every signed document shares, and the rules of The Update Framework that keep it
 * from being rolled back or frozen. The rules are functions of their own so that a test can take
 * one away and show what it prevents.
 */
#ifndef TRUST_DOCUMENT_H
#define TRUST_DOCUMENT_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

/** True if @offered may follow @held: documents never go back. The same version again is no harm.
 */
bool document_advances(uint64_t held, uint64_t offered);

/** True until @expires. Old metadata blocks what is new; it never stops what is installed. */
bool document_is_fresh(int64_t expires, int64_t now);

/** True if a document made out to @named concerns the holder of @own. */
bool document_is_for(const char *named, const char *own);

/** True if @found, the hash of what came, is the @pin that was handed over another way. */
bool document_is_pinned(const uint8_t found[32], const uint8_t pin[32]);

/**
 * Reads the head of a payload: {"type": @type, ...} with only @fields (ends with NULL).
 *
 * Returns 0 and a new reference in @root, -EBADMSG or -EMSGSIZE.
 */
int document_open(const void *payload, size_t payload_bytes, const char *type,
		  const char *const *fields, json_t **root);

#endif
