/*
 * token.h: the text that enrols a PC: where the server is, what to believe, and a secret that works
 * once.
 *
 * The command composes it, not the server: the pin of the roles document comes from the
 * administrator's own memory, so a hacked server cannot enrol PCs into roles of its own making. The
 * text is "bh1-" and base64url of canonical JSON.
 */
#ifndef TRUST_TOKEN_H
#define TRUST_TOKEN_H

#include <stddef.h>
#include <stdint.h>

#define TOKEN_TEXT_MAX	 1024
#define TOKEN_SERVER_MAX 256
#define TOKEN_SECRET_MAX 65

struct token {
	char server[TOKEN_SERVER_MAX]; /* https://HOST[:PORT] */
	uint8_t ca[32];		       /* SHA-256 of the CA certificate's DER */
	uint8_t roles[32];	       /* roles_pin() of the roles document to start from */
	uint64_t roles_version;	       /* and its version */
	char secret[TOKEN_SECRET_MAX];
};

/** Writes the text. Returns 0, -EINVAL (server is no https URL or the secret no name) or -ENOMEM.
 */
int token_write(const struct token *token, char text[TOKEN_TEXT_MAX]);

/** Reads the text; white space around it is ignored. Returns 0, -EBADMSG or -EMSGSIZE. */
int token_read(const char *text, struct token *token);

#endif
