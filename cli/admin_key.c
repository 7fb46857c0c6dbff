/* admin_key.c: `bulkhead key ...`: keys of people, and the roles document that says what they may
 * sign. */
#include "admin.h"
#include "documents.h"
#include "officer.h"
#include "settings.h"
#include "trust/strict_json.h"

#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define ROLES_LIFE (5 * 365 * 86400LL)

/* Makes a key and its file. @passphrase NULL: unprotected. */
static int make_key(const struct cli_context *context, const char *name, const char *file,
		    const char *passphrase, struct public_key *public_half)
{
	struct signing_key key;
	char *text;
	int status;

	if (!access(file, F_OK))
		return cli_fail(context, "%s: exists already; a key is never overwritten", file);
	status = signing_key_start();
	if (!status)
		status = signing_key_generate(&key, name);
	if (status)
		return cli_fail(context, "%s: no name for a key", name);
	status = signing_key_write(&key, passphrase, &signing_key_cost_default, &text);
	if (!status) {
		status = settings_write(file, text);
		sodium_memzero(text, strlen(text));
		free(text);
	}
	*public_half = key.public_half;
	if (!status)
		officer_remember(file, &key);
	signing_key_forget(&key);
	return status ? cli_fail(context, "%s: %s", file, strerror(-status)) : CLI_OK;
}

static int passphrase_of(const struct cli_context *context, const char *prompt, char passphrase[512], const char **used)
{
	char again[512];
	const char *file = cli_value(context, "passphrase-file");

	*used = NULL;
	if (cli_switch(context, "no-passphrase"))
		return CLI_OK;
	if (settings_secret(prompt, file, passphrase))
		return cli_fail(context, "no terminal to ask for a passphrase; pass "
					 "--passphrase-file or --no-passphrase");
	if (!file && (settings_secret("Once more", NULL, again) || strcmp(passphrase, again)))
		return cli_fail(context, "the two differ; no key was made");
	if (strlen(passphrase) < 8)
		return cli_fail(context, "a passphrase needs at least 8 characters");
	*used = passphrase;
	return CLI_OK;
}

static int new_run(const struct cli_context *context)
{
	const char *name = cli_argument(context, 0), *file = cli_value(context, "out"), *used;
	char passphrase[512], path[4096], id[SIGNING_KEY_ID_TEXT];
	struct public_key key;
	int status;

	if (!admin_name(context, name))
		return CLI_USAGE;
	snprintf(path, sizeof(path), "%s.key", name);
	status = passphrase_of(context, "Passphrase for the new key", passphrase, &used);
	if (!status)
		status = make_key(context, name, file ? file : path, used, &key);
	if (!status) {
		signing_key_id_text(&key, id);
		printf("%s: key %s\n", file ? file : path, id);
	}
	return status;
}

/* The server's own key, as it says: the roles document gives it no more than freshness. */
static int server_key(struct remote *remote, struct public_key *key)
{
	json_t *info;
	int status = remote_call(remote, "GET", "/api/v1/server", NULL, &info);

	if (status)
		return status;
	if (strict_json_bytes(info, "server_key", key->bytes, sizeof(key->bytes)))
		status = remote_fail(remote, "the server names no key");
	json_decref(info);
	return status;
}

static int publish_roles(struct remote *remote, const struct cli_context *context,
			 const struct roles *roles, const char *const *root_files,
			 size_t root_count, bool is_first)
{
	struct dsse_envelope envelope = {.payload = NULL};
	struct signing_key key;
	char *payload, *text = NULL;
	int status = roles_write(roles, &payload);

	if (!status) {
		status = dsse_new(&envelope, DSSE_TYPE_ROLES, payload, strlen(payload));
		free(payload);
	}
	if (status)
		return remote_fail(remote, "out of memory");
	for (size_t i = 0; i < root_count && !status; i++) {
		status = officer_key(context, root_files[i], &key);
		if (!status)
			status = dsse_sign(&envelope, &key)
				     ? remote_fail(remote, "too many signatures")
				     : CLI_OK;
		signing_key_forget(&key);
	}
	if (!status && dsse_write(&envelope, &text))
		status = remote_fail(remote, "out of memory");
	if (!status)
		status = documents_put(remote, "/api/v1/roles", text);
	if (!status && is_first)
		status = remote_trust_start(remote, &envelope);
	free(text);
	dsse_release(&envelope);
	return status;
}

/* What `key setup` makes: one key a row. */
static const struct {
	enum role role;
	const char *name;
} setup_keys[] = {{ROLE_ROOT, "root"},
		  {ROLE_IMAGES, "images"},
		  {ROLE_POLICY, "policy"},
		  {ROLE_DESTRUCTION, "officer-1"},
		  {ROLE_DESTRUCTION, "officer-2"}};

static int setup_run(const struct cli_context *context)
{
	struct roles *roles = calloc(1, sizeof(*roles));
	char passphrase[512], path[4096];
	const char *used, *directory = cli_argument(context, 0), *root = path;
	struct remote *remote = NULL;
	struct public_key key;
	json_t *existing = NULL;
	int status = roles ? remote_open(context, &remote) : cli_fail(context, "out of memory");

	if (!status)
		status = remote_look(remote, "/api/v1/roles/latest", &existing);
	if (!status && existing)
		status = cli_fail(
		    context,
		    "the server has a roles document already; bulkhead key roles shows it");
	json_decref(existing);
	if (!status)
		status = passphrase_of(context, "Passphrase for all five new keys", passphrase, &used);
	if (!status)
		status = server_key(remote, &key);
	if (!status && roles_add_key(roles, ROLE_SERVER, &key, "server"))
		status = cli_fail(context, "out of memory");
	for (size_t i = 0; i < sizeof(setup_keys) / sizeof(setup_keys[0]) && !status; i++) {
		snprintf(path, sizeof(path), "%s/%s.key", directory, setup_keys[i].name);
		status = make_key(context, setup_keys[i].name, path, used, &key);
		if (!status)
			roles_add_key(roles, setup_keys[i].role, &key, setup_keys[i].name);
	}
	if (!status) {
		roles->version = 1;
		roles->expires = (int64_t)time(NULL) + ROLES_LIFE;
		for (int role = 0; role < ROLE_COUNT; role++)
			roles->roles[role].threshold = role == ROLE_DESTRUCTION ? 2 : 1;
		snprintf(path, sizeof(path), "%s/root.key", directory);
		status = publish_roles(remote, context, roles, &root, 1, true);
	}
	if (!status)
		printf("keys are in %s: give each officer their own, put root.key away, keep none "
		       "on the server\n",
		       directory);
	remote_close(remote);
	free(roles);
	return status;
}

static int roles_run(const struct cli_context *context)
{
	static const struct output_column columns[] = {{"role", "ROLE", OUTPUT_TEXT},
						       {"needed", "NEEDED", OUTPUT_NUMBER},
						       {"name", "KEY", OUTPUT_TEXT},
						       {"id", "ID", OUTPUT_TEXT}};
	struct remote *remote;
	struct memory *memory;
	json_t *rows;
	int status = remote_open(context, &remote);

	if (status)
		return status;
	status = remote_trust(remote, &memory);
	if (status) {
		remote_close(remote);
		return status;
	}
	rows = json_array();
	for (int role = 0; role < ROLE_COUNT; role++)
		for (size_t i = 0; i < memory->roles.roles[role].key_count; i++) {
			char id[SIGNING_KEY_ID_TEXT];
			const char *name = "?";

			for (size_t k = 0; k < memory->roles.key_count; k++)
				if (!memcmp(&memory->roles.keys[k].key,
					    &memory->roles.roles[role].keys[i], 32))
					name = memory->roles.keys[k].name;
			signing_key_id_text(&memory->roles.roles[role].keys[i], id);
			json_array_append_new(rows, json_pack("{s:s, s:i, s:s, s:s}", "role",
							      roles_name((enum role)role), "needed",
							      memory->roles.roles[role].threshold,
							      "name", name, "id", id));
		}
	output_rows(rows, cli_switch(context, "json"), OUTPUT_COLUMNS(columns), "");
	remote_close(remote);
	return CLI_OK;
}

static void drop_key(struct roles_role *role, const struct public_key *key)
{
	for (size_t i = 0; i < role->key_count; i++)
		if (!memcmp(&role->keys[i], key, sizeof(*key))) {
			memmove(&role->keys[i], &role->keys[i + 1],
				(role->key_count - i - 1) * sizeof(role->keys[0]));
			role->key_count--;
			return;
		}
}

/* Adds a key to a role or takes it out, in the next roles document. */
static int change_run(const struct cli_context *context, bool add)
{
	enum role role = roles_from_name(cli_argument(context, 0));
	const char *file = cli_argument(context, 1), *root_files[ROLES_KEYS_MAX];
	size_t root_count = 0, text_bytes;
	char name[SIGNING_KEY_NAME_MAX], *text;
	uint64_t threshold;
	struct public_key key;
	struct memory *memory;
	struct remote *remote;
	struct roles *next;
	int status;

	if (role == ROLE_COUNT)
		return cli_usage(context,
				 "%s: the roles are root, images, policy, destruction and server",
				 cli_argument(context, 0));
	status = settings_read(file, SIGNING_KEY_FILE_MAX, &text, &text_bytes);
	if (status)
		return cli_fail(context, "%s: %s", file, strerror(-status));
	status = signing_key_read_public(text, text_bytes, &key, name);
	sodium_memzero(text, text_bytes);
	free(text);
	if (status)
		return cli_fail(context, "%s: not a key file of Bulkhead", file);
	while (root_count < ROLES_KEYS_MAX &&
	       (root_files[root_count] = cli_value_at(context, "root", root_count)))
		root_count++;
	status = remote_open(context, &remote);
	if (status)
		return status;
	status = remote_trust(remote, &memory);
	next = malloc(sizeof(*next));
	if (!status && next) {
		*next = memory->roles;
		next->version++;
		next->expires = (int64_t)time(NULL) + ROLES_LIFE;
		if (add)
			roles_add_key(next, role, &key, name);
		else
			drop_key(&next->roles[role], &key);
		threshold = next->roles[role].threshold;
		status = cli_number(context, "needed", 1, ROLES_KEYS_MAX, &threshold);
		next->roles[role].threshold = (uint8_t)threshold;
		if (!status)
			status =
			    publish_roles(remote, context, next, root_files, root_count, false);
		if (!status)
			status = remote_trust(remote, &memory);
	}
	free(next);
	remote_close(remote);
	if (!status)
		printf("%s %s role %s\n", name, add ? "has" : "no longer has",
		       cli_argument(context, 0));
	return status;
}

static int add_run(const struct cli_context *context)
{
	return change_run(context, true);
}

static int drop_run(const struct cli_context *context)
{
	return change_run(context, false);
}

/* Takes over a roles document that a colleague vouches for by its pin. */
static int trust_run(const struct cli_context *context)
{
	const char *wanted = cli_argument(context, 0);
	struct dsse_envelope envelope;
	struct remote *remote;
	uint8_t pin[32];
	char pin_text[65], *text;
	json_t *reply = NULL;
	int status = remote_open(context, &remote);

	if (!status)
		status = remote_call(remote, "GET", "/api/v1/roles/latest", NULL, &reply);
	if (!status) {
		text = strict_json_write(reply);
		if (!text || dsse_parse(text, strlen(text), &envelope)) {
			status = cli_fail(context, "the server's answer is no roles document");
		} else {
			roles_pin(&envelope, pin);
			sodium_bin2hex(pin_text, sizeof(pin_text), pin, sizeof(pin));
			if (strcmp(pin_text, wanted))
				status =
				    cli_fail(context, "the server's roles document is %s, not that",
					     pin_text);
			else
				status = remote_trust_start(remote, &envelope);
			dsse_release(&envelope);
		}
		free(text);
	}
	json_decref(reply);
	remote_close(remote);
	if (!status)
		printf("trusted\n");
	return status;
}

static int pin_run(const struct cli_context *context)
{
	struct memory *memory;
	struct remote *remote;
	uint64_t version;
	uint8_t pin[32];
	char text[65];
	int status = remote_open(context, &remote);

	if (!status)
		status = remote_trust(remote, &memory);
	if (!status && remote_pin(remote, pin, &version)) {
		sodium_bin2hex(text, sizeof(text), pin, sizeof(pin));
		printf("%s\n", text);
	}
	remote_close(remote);
	return status;
}

static const struct cli_option json_options[] = {ADMIN_JSON, {0}};
static const struct cli_option new_options[] = {
    {"out", "FILE", "where to write it [NAME.key]", 'o', false},
    {"no-passphrase", NULL, "leave the key readable", 0, false},
    OFFICER_PASSPHRASE,
    {0},
};
static const struct cli_option setup_options[] = {
    {"no-passphrase", NULL, "leave the keys readable", 0, false},
    OFFICER_PASSPHRASE,
    {0},
};
static const struct cli_option change_options[] = {
    {"root", "FILE", "root key file that signs; repeat for several", 0, true},
    {"needed", "N", "signatures that the role needs from now on", 0, false},
    OFFICER_PASSPHRASE,
    {0},
};

const struct cli_command admin_key_commands[] = {
    {"key setup", "DIR", "make all keys of a new company and publish who may sign what",
     "Makes root.key, images.key, policy.key, officer-1.key and officer-2.key in DIR. Wiping a "
     "device needs both "
     "officers. The server never sees any of them.",
     "bulkhead key setup ~/bulkhead-keys", setup_options, 1, 1, setup_run},
    {"key new", "NAME", "make one key", NULL, "bulkhead key new officer-3", new_options, 1, 1,
     new_run},
    {"key roles", "", "show who may sign what", NULL, NULL, json_options, 0, 0, roles_run},
    {"key add", "ROLE FILE", "let a key sign for a role", NULL,
     "bulkhead key add destruction officer-3.key --root root.key", change_options, 2, 2, add_run},
    {"key drop", "ROLE FILE", "take a role from a key", NULL, NULL, change_options, 2, 2, drop_run},
    {"key pin", "", "print the pin of the roles document that you trust", NULL, NULL, NULL, 0, 0,
     pin_run},
    {"key trust", "PIN", "trust the server's roles document, as a colleague's `key pin` prints it",
     NULL, NULL, NULL, 1, 1, trust_run},
    {0},
};
