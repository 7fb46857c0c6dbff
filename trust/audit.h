/*
 * audit.h: the audit log as a chain of hashes, and its head.
 *
 * An entry contains the hash of the one before it, so nothing in the middle can be changed, dropped
 * or put in. The end can be cut off; therefore devices and administrators' commands keep the newest
 * signed head that they saw.
 */
#ifndef TRUST_AUDIT_H
#define TRUST_AUDIT_H

#include "trust/roles.h"

#include <jansson.h>
#include <stdint.h>

#define AUDIT_HEAD_TEXT_MAX 320

struct audit_head {
	uint64_t sequence; /* 0: the log is empty */
	uint8_t hash[32];  /* all zero then */
};

struct audit_entry {
	int64_t time;
	const char *actor;  /* "person:NAME", "device:ID", "server" */
	const char *action; /* as in the route table, for instance "device.lock" */
	const char *object;
	const char *result; /* "ok" or the problem's code */
	const char *detail;
};

/**
 * Makes the entry that follows @head and moves @head to it.
 *
 * Returns 0 and the canonical text (freed by the caller), -ENOMEM or -EBADMSG (a string is not
 * UTF-8).
 */
int audit_append(struct audit_head *head, const struct audit_entry *entry, char **text);

/** Checks that @text is the entry that follows @head and moves @head to it. Returns 0, -EBADMSG or
 * -ESTALE. */
int audit_follow(struct audit_head *head, const char *text, size_t text_bytes);

/**
 * Compares a head that someone witnessed with the log's head at the same sequence.
 * Returns 0, or -ESTALE if the log was rewritten after that witness saw it.
 */
int audit_compare(const struct audit_head *witnessed, const struct audit_head *found);

/** Writes "SEQUENCE:HASH:KEYID:SIGNATURE", signed by the server's key. Returns 0 or -ENOMEM. */
int audit_head_sign(const struct audit_head *head, const struct signing_key *key,
		    char text[AUDIT_HEAD_TEXT_MAX]);

/** Reads and checks such a text against role server. Returns 0, -EBADMSG, -EKEYREJECTED or -ENOMEM.
 */
int audit_head_verify(const char *text, const struct roles *roles, struct audit_head *head);

/** Reads "SEQUENCE:HASH" (anything after a further colon is left). Returns 0 or -EBADMSG. */
int audit_head_read(const char *text, struct audit_head *head);

/** Writes "SEQUENCE:HASH". */
void audit_head_write(const struct audit_head *head, char text[AUDIT_HEAD_TEXT_MAX]);

#endif
