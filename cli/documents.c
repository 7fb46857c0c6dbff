/*
 * documents.c: see documents.h. A kept document is a file that is named by the call that published
 * it, with ',' for '/'; roles documents form a chain, so that each version has a file of its own.
 */
#include "documents.h"
#include "release.h"
#include "remote_private.h"
#include "settings.h"
#include "trust/strict_json.h"

#include <dirent.h>
#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DOCUMENT_MAX_BYTES (8u << 20)
#define PATH_BYTES	   4096
#define ROLES_PATH	   "/api/v1/roles"
#define IMAGES_PATH	   "/api/v1/images/"

static int folder_path(const struct remote *remote, const char *name, char path[PATH_BYTES])
{
	char part[512];

	snprintf(part, sizeof(part), "documents-%.16s/%s", remote_value(remote, "ca_sha256"), name);
	return settings_path(part, path);
}

static int64_t version_of(const char *text)
{
	struct dsse_envelope envelope;
	int64_t version = 0;
	json_t *payload;

	if (dsse_parse(text, strlen(text), &envelope) != 0)
		return 0;
	if (strict_json_parse((const char *)envelope.payload, envelope.payload_bytes,
			      DOCUMENT_MAX_BYTES, &payload) == 0) {
		strict_json_integer(payload, "version", 1, INT64_MAX, &version);
		json_decref(payload);
	}
	dsse_release(&envelope);
	return version;
}

static int keep(struct remote *remote, const char *call, const char *text)
{
	char name[256], path[PATH_BYTES];
	int length = strcmp(call, ROLES_PATH) == 0
			 ? snprintf(name, sizeof(name), "%s,%012lld", call, (long long)version_of(text))
			 : snprintf(name, sizeof(name), "%s", call);

	for (char *at = name; *at; at++)
		if (*at == '/')
			*at = ',';
	if (length >= (int)sizeof(name) || folder_path(remote, name, path) != 0)
		return -ENAMETOOLONG;
	return settings_write(path, text);
}

int documents_put(struct remote *remote, const char *path, const char *text)
{
	int kept, status = remote_send(remote, "PUT", path, text, "application/json", NULL);

	if (status != CLI_OK)
		return status;
	kept = keep(remote, path, text);
	if (kept != 0)
		fprintf(stderr,
			"bulkhead: the document is published, but no copy could be kept here (%s): "
			"after a loss of the server's database it has to be made anew\n",
			strerror(-kept));
	return CLI_OK;
}

/** The image that a catalogue's call names, made on the server with the key that is kept here. */
static int make_image(struct remote *remote, const char *call)
{
	char image[128], name[160], path[PATH_BYTES], *text;
	const char *from = call + strlen(IMAGES_PATH), *end = strchr(from, '/');
	uint8_t key[32];
	size_t size = 0;
	int status;

	if (!end || (size_t)(end - from) >= sizeof(image))
		return CLI_FAILED;
	snprintf(image, sizeof(image), "%.*s", (int)(end - from), from);
	snprintf(name, sizeof(name), "images/%s.key", image);
	if (settings_path(name, path) != 0 || settings_read(path, 4096, &text, NULL) != 0)
		return release_image(remote, image, NULL, 0);
	if (sodium_base642bin(key, sizeof(key), text, strlen(text), "\n", &size, NULL,
			      sodium_base64_VARIANT_ORIGINAL) != 0)
		size = 0;
	explicit_bzero(text, strlen(text));
	free(text);
	status = release_image(remote, image, size == sizeof(key) ? key : NULL, size);
	sodium_memzero(key, sizeof(key));
	return status;
}

/** Puts one back; `call` gets where. `*put`: the server had not had it. */
static int put_back(struct remote *remote, const char *name, char call[256], bool *put)
{
	struct remote_answer answer = {.status = 0};
	char path[PATH_BYTES], *text;
	int status;

	*put = false;
	snprintf(call, 256, "%s", name);
	for (char *at = call; *at; at++)
		if (*at == ',')
			*at = '/';
	if (strncmp(call, ROLES_PATH "/", strlen(ROLES_PATH) + 1) == 0)
		call[strlen(ROLES_PATH)] = '\0';
	if (folder_path(remote, name, path) != 0 ||
	    settings_read(path, DOCUMENT_MAX_BYTES, &text, NULL) != 0)
		return remote_fail(remote, "%s: cannot be read", path);
	status = strncmp(call, IMAGES_PATH, strlen(IMAGES_PATH)) == 0 ? make_image(remote, call) : CLI_OK;
	if (status == CLI_OK)
		status = remote_perform(remote, "PUT", call, text, "application/json", &answer);
	free(text);
	/* 409: it has this one, or a newer one. */
	*put = status == CLI_OK && answer.status >= 200 && answer.status < 300;
	if (status == CLI_OK && !*put && answer.status != 409)
		status = remote_fail(remote, "%s: the server refuses it (status %ld): %.300s", call,
				     answer.status, answer.bytes ? answer.bytes : "");
	free(answer.bytes);
	return status;
}

static int is_document(const struct dirent *entry)
{
	return entry->d_name[0] == ',';
}

/** Catalogues need the roles document that names their keys, policies too: roles first. */
static int by_dependence(const struct dirent **a, const struct dirent **b)
{
	bool one = strstr((*a)->d_name, ",roles,") != NULL, other = strstr((*b)->d_name, ",roles,") != NULL;

	return one != other ? (one ? -1 : 1) : strcmp((*a)->d_name, (*b)->d_name);
}

static int put_back_run(const struct cli_context *context)
{
	struct dirent **entries = NULL;
	struct remote *remote;
	char folder[PATH_BYTES];
	int count = 0, back = 0, status = remote_open(context, &remote);

	if (status != CLI_OK)
		return status;
	if (folder_path(remote, "", folder) == 0)
		count = scandir(folder, &entries, is_document, by_dependence);
	for (int i = 0; i < count; i++) {
		bool put = false;
		char call[256];

		if (status == CLI_OK)
			status = put_back(remote, entries[i]->d_name, call, &put);
		if (put)
			printf("%s is back\n", call);
		back += put;
		free(entries[i]);
	}
	free(entries);
	remote_close(remote);
	if (status == CLI_OK)
		printf("%d of %d documents kept here were missing at the server.%s\n", back,
		       count > 0 ? count : 0,
		       back > 0 ? " Versions that came back are drafts; see bulkhead image stage." : "");
	return status;
}

const struct cli_command documents_commands[] = {
    {"server put-back", "", "give a server that came back from an old copy what it lost",
     "Puts roles, policies and catalogues back that were published from here and that the server's "
     "database does not have any more. Start the server with --restored first.",
     NULL, NULL, 0, 0, put_back_run},
    {0},
};
