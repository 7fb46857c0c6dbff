/* admin_server.c: `bulkhead server ...`: log in and out, look. */
#include "admin.h"
#include "settings.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const struct output_column server_fields[] = {
    {"url", "server", OUTPUT_TEXT},
    {"account", "logged in as", OUTPUT_TEXT},
    {"role", "role", OUTPUT_TEXT},
    {"version", "version", OUTPUT_TEXT},
    {"time", "its time", OUTPUT_TIME},
    {"roles", "roles document", OUTPUT_NUMBER},
    {"packs_url", "packs from", OUTPUT_TEXT},
    {"ca_sha256", "authority", OUTPUT_TEXT},
    {"server_key", "server's key", OUTPUT_TEXT}};

static int logout_run(const struct cli_context *context)
{
	char path[4096];
	int status = admin_call(context, "DELETE", "/api/v1/sessions/current", NULL, NULL);

	if (!status && !settings_path("session.json", path))
		unlink(path);
	return status;
}

static int show_run(const struct cli_context *context)
{
	struct remote *remote;
	json_t *server = NULL, *me = NULL;
	int status = remote_open(context, &remote);

	if (status)
		return status;
	status = remote_call(remote, "GET", "/api/v1/server", NULL, &server);
	if (!status)
		status = remote_call(remote, "GET", "/api/v1/me", NULL, &me);
	if (!status) {
		json_object_set_new(server, "url", json_string(remote_url(remote)));
		json_object_set(server, "account", json_object_get(me, "name"));
		json_object_set(server, "role", json_object_get(me, "role"));
		json_object_del(server, "ca");
		if (cli_switch(context, "json")) {
			output_json(server);
		} else {
			if (!json_string_length(json_object_get(server, "packs_url")))
				json_object_del(server, "packs_url");
			output_record(server, OUTPUT_COLUMNS(server_fields));
		}
	}
	json_decref(server);
	json_decref(me);
	remote_close(remote);
	return status;
}

static int password_run(const struct cli_context *context)
{
	char old[512], chosen[512], again[512];
	const char *new_file = cli_value(context, "new-password-file");

	if (settings_secret("Old password", cli_value(context, "password-file"), old) ||
	    settings_secret("New password (12 characters or more)", new_file, chosen))
		return cli_fail(context,
				"no terminal; pass --password-file and --new-password-file");
	if (!new_file && (settings_secret("Once more", NULL, again) || strcmp(chosen, again)))
		return cli_fail(context, "the two differ; nothing was changed");
	return admin_call(context, "POST", "/api/v1/me/password",
			  json_pack("{s:s, s:s}", "old", old, "new", chosen),
			  "password changed; log in again");
}

static int token_run(const struct cli_context *context)
{
	uint64_t days = 90;
	struct remote *remote;
	json_t *body, *reply;
	int status = cli_number(context, "days", 1, 400, &days);

	if (status)
		return status;
	status = remote_open(context, &remote);
	if (status)
		return status;
	body = json_pack("{s:s, s:I}", "label", cli_argument(context, 0), "days", (json_int_t)days);
	status = remote_call(remote, "POST", "/api/v1/me/tokens", body, &reply);
	json_decref(body);
	if (!status) {
		if (cli_switch(context, "json"))
			output_json(reply);
		else
			printf("%s\n", json_string_value(json_object_get(reply, "token")));
		json_decref(reply);
	}
	remote_close(remote);
	return status;
}

static const struct cli_option login_options[] = {
    {"ca", "SHA256", "fingerprint of the server's authority, as the server printed it", 0, false},
    {"name", "NAME", "account [admin]", 0, false},
    {"password-file", "FILE", "read the password from the first line of FILE", 0, false},
    {"new-password-file", "FILE", "read the password that replaces a one-time password from FILE",
     0, false},
    {0},
};
static const struct cli_option password_options[] = {
    {"password-file", "FILE", "read the old password from FILE", 0, false},
    {"new-password-file", "FILE", "read the new password from FILE", 0, false},
    {0},
};
static const struct cli_option json_options[] = {ADMIN_JSON, {0}};
static const struct cli_option token_options[] = {
    {"days", "N", "life time [90]", 0, false},
    ADMIN_JSON,
    {0},
};

const struct cli_command admin_server_commands[] = {
    {"server login", "URL", "log in to a server", NULL,
     "bulkhead server login https://server.example:8443 --ca a188d6e3...", login_options, 1, 1,
     remote_login},
    {"server logout", "", "end the session", NULL, NULL, NULL, 0, 0, logout_run},
    {"server show", "", "show the server and who you are there", NULL, NULL, json_options, 0, 0,
     show_run},
    {"server password", "", "change your password", NULL, NULL, password_options, 0, 0,
     password_run},
    {"server token", "LABEL", "make a token for a script", NULL,
     "bulkhead server token monitoring --days 365", token_options, 1, 1, token_run},
    {0},
};
