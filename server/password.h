/* password.h: people's passwords as Argon2id. */
#ifndef SERVER_PASSWORD_H
#define SERVER_PASSWORD_H

#include "server/request.h"

#define PASSWORD_LEAST 12
#define PASSWORD_MOST  256

/** Compares a password with its hash. @hash NULL: nobody of that name; takes as long. One at a
 * time. */
bool password_matches(struct server *server, const char *hash, const char *password);

/** Hashes a password that somebody chose into request->raw, or answers why not. */
int password_hash(struct request *request, const char *password);

/** Hashes a password. @hash: 128 bytes. Returns 0 or -ENOMEM. */
int password_hash_text(const char *password, char hash[128]);

#endif
