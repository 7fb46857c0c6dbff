/* officer.c: see officer.h. */
#include "officer.h"
#include "settings.h"

#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define OPENED_MAX 8

/* Keys that this command has opened: it asks for each passphrase once. */
static struct {
	struct {
		char *file;
		struct signing_key key;
	} keys[OPENED_MAX];
	size_t count;
} opened;

static void forget_opened(void)
{
	for (size_t i = 0; i < opened.count; i++) {
		signing_key_forget(&opened.keys[i].key);
		free(opened.keys[i].file);
	}
	opened.count = 0;
}

void officer_remember(const char *file, const struct signing_key *key)
{
	char *name = opened.count < OPENED_MAX ? strdup(file) : NULL;

	if (!name)
		return;
	if (opened.count == 0 && atexit(forget_opened)) {
		free(name);
		return;
	}
	opened.keys[opened.count].file = name;
	opened.keys[opened.count++].key = *key;
}

static int open_key(const struct cli_context *context, const char *file, struct signing_key *key)
{
	char prompt[4200], passphrase[512], *text;
	size_t text_bytes;
	int status = settings_read(file, SIGNING_KEY_FILE_MAX, &text, &text_bytes);

	if (status)
		return cli_fail(context, "%s: %s", file, strerror(-status));
	status = signing_key_start();
	if (!status)
		status = signing_key_read(text, text_bytes, NULL, key);
	if (status == -ENOKEY) {
		snprintf(prompt, sizeof(prompt), "Passphrase of %s", file);
		status = settings_secret(prompt, cli_value(context, "passphrase-file"), passphrase);
		if (!status)
			status = signing_key_read(text, text_bytes, passphrase, key);
		sodium_memzero(passphrase, sizeof(passphrase));
	}
	sodium_memzero(text, text_bytes);
	free(text);
	switch (-status) {
	case 0:
		officer_remember(file, key);
		return CLI_OK;
	case EKEYREJECTED:
		return cli_fail(context, "%s: wrong passphrase", file);
	case ENOTTY:
		return cli_fail(context,
				"%s: no terminal to ask for its passphrase; pass --passphrase-file",
				file);
	case EBADMSG:
		return cli_fail(context, "%s: not a key file of Bulkhead", file);
	default:
		return cli_fail(context, "%s: %s", file, strerror(-status));
	}
}

int officer_key(const struct cli_context *context, const char *file, struct signing_key *key)
{
	for (size_t i = 0; i < opened.count; i++)
		if (!strcmp(opened.keys[i].file, file)) {
			*key = opened.keys[i].key;
			return CLI_OK;
		}
	return open_key(context, file, key);
}

int officer_unlock(const struct cli_context *context, const char *option)
{
	struct signing_key key;
	const char *file;
	int status = CLI_OK;

	for (size_t i = 0; !status && (file = cli_value_at(context, option, i)); i++) {
		status = officer_key(context, file, &key);
		signing_key_forget(&key);
	}
	return status;
}

int officer_sign_more(const struct cli_context *context, const char *option,
		      struct dsse_envelope *envelope)
{
	struct signing_key key;
	const char *file;
	int status = CLI_OK;

	for (size_t i = 0; !status && (file = cli_value_at(context, option, i)); i++) {
		status = officer_key(context, file, &key);
		if (!status && dsse_sign(envelope, &key))
			status = cli_fail(context, "%s: cannot sign: too many signatures", file);
		signing_key_forget(&key);
	}
	return status;
}

int officer_sign(const struct cli_context *context, const char *option, const char *type,
		 char *payload, char **text)
{
	struct dsse_envelope envelope;
	int status = payload ? dsse_new(&envelope, type, payload, strlen(payload)) : -ENOMEM;

	free(payload);
	if (status)
		return cli_fail(context, "out of memory");
	status = officer_sign_more(context, option, &envelope);
	if (!status && dsse_write(&envelope, text))
		status = cli_fail(context, "out of memory");
	dsse_release(&envelope);
	return status;
}
