/* password.c: see password.h. */
#include "server/password.h"

#include <errno.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

/* Hash of nothing that anybody can type: unknown names are checked against it. */
static const char nobody[] = "$argon2id$v=19$m=65536,t=2,p=1$WW91IHdvbid0IGdldCBp$"
			     "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

bool password_matches(struct server *server, const char *hash, const char *password)
{
	bool good;

	pthread_mutex_lock(&server->password_lock);
	good = !crypto_pwhash_str_verify(hash ? hash : nobody, password, strlen(password));
	pthread_mutex_unlock(&server->password_lock);
	return good && hash;
}

int password_hash_text(const char *password, char hash[128])
{
	return crypto_pwhash_str(hash, password, strlen(password),
				 crypto_pwhash_OPSLIMIT_INTERACTIVE,
				 crypto_pwhash_MEMLIMIT_INTERACTIVE)
		   ? -ENOMEM
		   : 0;
}

int password_hash(struct request *request, const char *password)
{
	char *hash;
	int status;

	if (strlen(password) < PASSWORD_LEAST)
		return problem(request, 422, "weak-password",
			       "a password needs at least %d characters", PASSWORD_LEAST);
	hash = malloc(128);
	if (!hash)
		return -ENOMEM;
	pthread_mutex_lock(&request->server->password_lock);
	status = password_hash_text(password, hash);
	pthread_mutex_unlock(&request->server->password_lock);
	/* The body, which holds the password in the clear, goes. */
	if (request->raw)
		sodium_memzero(request->raw, request->raw_bytes);
	free(request->raw);
	request->raw = hash;
	request->raw_bytes = strlen(hash);
	return status;
}
