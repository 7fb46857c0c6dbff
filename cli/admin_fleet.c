/* admin_fleet.c: `bulkhead device ...`: enrolment, what is known of devices, what they are told. */
#include "admin.h"
#include "trust/token.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct output_column device_columns[] = {
    {"name", "NAME", OUTPUT_TEXT},     {"id", "ID", OUTPUT_TEXT},
    {"user", "USER", OUTPUT_TEXT},     {"ring", "RING", OUTPUT_TEXT},
    {"status", "STATUS", OUTPUT_TEXT}, {"last_seen", "LAST SEEN", OUTPUT_TIME}};
static const struct output_column command_columns[] = {
    {"sequence", "NUMBER", OUTPUT_NUMBER}, {"kind", "COMMAND", OUTPUT_TEXT},
    {"guest", "GUEST", OUTPUT_TEXT},	   {"state", "STATE", OUTPUT_TEXT},
    {"issued", "ISSUED", OUTPUT_TIME},	   {"created_by", "BY", OUTPUT_TEXT},
    {"detail", "DETAIL", OUTPUT_TEXT}};
static const struct output_column enrolment_columns[] = {
    {"id", "ID", OUTPUT_TEXT}, {"name", "NAME", OUTPUT_TEXT}, {"created", "ASKED", OUTPUT_TIME}};
static const struct output_column disk_columns[] = {{"disk", "DISK", OUTPUT_TEXT},
						    {"user", "USER", OUTPUT_TEXT},
						    {"writer", "WRITER", OUTPUT_TEXT},
						    {"epoch", "EPOCH", OUTPUT_NUMBER},
						    {"newest", "NEWEST", OUTPUT_NUMBER}};
static const struct output_column backup_columns[] = {
    {"number", "NUMBER", OUTPUT_NUMBER}, {"created", "TAKEN", OUTPUT_TIME},
    {"branch", "BRANCH", OUTPUT_TEXT},	 {"label", "KIND", OUTPUT_TEXT},
    {"device", "DEVICE", OUTPUT_TEXT},	 {"epoch", "EPOCH", OUTPUT_NUMBER}};

static const struct output_column device_fields[] = {
    {"name", "name", OUTPUT_TEXT},
    {"id", "id", OUTPUT_TEXT},
    {"user", "user", OUTPUT_TEXT},
    {"ring", "ring", OUTPUT_TEXT},
    {"status", "status", OUTPUT_TEXT},
    {"enrolled", "enrolled", OUTPUT_TIME},
    {"last_seen", "last seen", OUTPUT_TIME},
    {"certificate_expires", "certificate until", OUTPUT_TIME},
    {"report.agent", "agent", OUTPUT_TEXT},
    {"report.policy", "policy document", OUTPUT_NUMBER},
    {"report.enforcement", "enforcement", OUTPUT_TEXT},
    {"report.lease.starts", "starts left", OUTPUT_NUMBER},
    {"report.used_bytes", "space used", OUTPUT_BYTES},
    {"report.quota_bytes", "quota", OUTPUT_BYTES},
    {"report.detail", "trouble", OUTPUT_TEXT}};
static const struct output_column guest_columns[] = {{"image", "GUEST", OUTPUT_TEXT},
						     {"release", "RELEASE", OUTPUT_NUMBER},
						     {"state", "STATE", OUTPUT_TEXT},
						     {"detail", "DETAIL", OUTPUT_TEXT}};

static int list_run(const struct cli_context *context)
{
	return admin_list(context, "/api/v1/devices", OUTPUT_COLUMNS(device_columns),
			  "No devices yet; bulkhead device token makes a token to enrol one.");
}

static uint64_t reported(const json_t *device, const char *field)
{
	return (uint64_t)json_integer_value(
	    json_object_get(json_object_get(device, "report"), field));
}

static void print_device(json_t *device)
{
	uint64_t quota = reported(device, "quota_bytes"), used = reported(device, "used_bytes");

	if (!quota)
		json_object_del(json_object_get(device, "report"), "quota_bytes");
	output_record(device, OUTPUT_COLUMNS(device_fields));
	if (quota && used > quota)
		puts("More is used than the quota: guests keep what they have, and nothing more is fetched.");
	putchar('\n');
	output_table(json_object_get(json_object_get(device, "report"), "guests"),
		     OUTPUT_COLUMNS(guest_columns), "It has no guests, or has not reported any yet.");
}

static int show_run(const struct cli_context *context)
{
	struct remote *remote;
	json_t *device;
	char id[65];
	int status = remote_open(context, &remote);

	if (status)
		return status;
	status = admin_device(remote, cli_argument(context, 0), id, &device);
	if (!status) {
		if (cli_switch(context, "json"))
			output_json(device);
		else
			print_device(device);
		json_decref(device);
	}
	remote_close(remote);
	return status;
}

static int set_run(const struct cli_context *context)
{
	static const char *const fields[] = {"name", "user", "ring"};
	json_t *body = json_object();
	struct remote *remote;
	char id[65], path[256];
	int status;

	for (size_t i = 0; i < 3; i++)
		if (cli_value(context, fields[i]))
			json_object_set_new(body, fields[i],
					    json_string(cli_value(context, fields[i])));
	if (!json_object_size(body)) {
		json_decref(body);
		return cli_usage(context, "nothing to set; pass --name, --user or --ring");
	}
	status = remote_open(context, &remote);
	if (!status) {
		status = admin_device(remote, cli_argument(context, 0), id, NULL);
		snprintf(path, sizeof(path), "/api/v1/devices/%s", id);
		if (!status)
			status = remote_call(remote, "PATCH", path, body, NULL);
		remote_close(remote);
	}
	json_decref(body);
	if (!status)
		printf("%s changed\n", cli_argument(context, 0));
	return status;
}

/* The token's text carries what this administrator believes, not what the server says. */
static int compose(struct remote *remote, const json_t *reply, const char *server, char text[TOKEN_TEXT_MAX])
{
	struct token token = {.roles_version = 0};
	const char *ca = remote_value(remote, "ca_sha256"),
		   *secret = json_string_value(json_object_get(reply, "secret"));
	struct memory *memory;
	int status = remote_trust(remote, &memory);

	if (status)
		return status;
	remote_pin(remote, token.roles, &token.roles_version);
	if (snprintf(token.server, sizeof(token.server), "%s", server ? server : remote_url(remote)) >=
	    (int)sizeof(token.server))
		return remote_fail(remote, "the server's address is too long for a token");
	snprintf(token.secret, sizeof(token.secret), "%s", secret ? secret : "");
	if (!ca || sodium_hex2bin(token.ca, 32, ca, strlen(ca), NULL, NULL, NULL) ||
	    token_write(&token, text))
		return remote_fail(remote, "the server's answer makes no token");
	return CLI_OK;
}

static int token_run(const struct cli_context *context)
{
	uint64_t uses = 1, hours = 24;
	char text[TOKEN_TEXT_MAX];
	struct memory *memory;
	struct remote *remote;
	json_t *body, *reply = NULL;
	int status = cli_number(context, "uses", 1, 100000, &uses);

	if (!status)
		status = cli_number(context, "hours", 1, 8760, &hours);
	if (status)
		return status;
	status = remote_open(context, &remote);
	if (status)
		return status;
	body = json_pack("{s:I, s:I, s:b}", "uses", (json_int_t)uses, "hours", (json_int_t)hours,
			 "approval", cli_switch(context, "approval"));
	if (cli_value(context, "user"))
		json_object_set_new(body, "user", json_string(cli_value(context, "user")));
	if (cli_value(context, "group"))
		json_object_set_new(body, "group", json_string(cli_value(context, "group")));
	/* Trust first: a token without a pin would be worth nothing. */
	status = remote_trust(remote, &memory);
	if (!status)
		status = remote_call(remote, "POST", "/api/v1/enrolment-tokens", body, &reply);
	if (!status)
		status = compose(remote, reply, cli_value(context, "server"), text);
	if (!status) {
		if (cli_switch(context, "json")) {
			json_object_set_new(reply, "token", json_string(text));
			output_json(reply);
		} else {
			printf("%s\n", text);
		}
	}
	json_decref(reply);
	json_decref(body);
	remote_close(remote);
	return status;
}

static int enrolments_run(const struct cli_context *context)
{
	return admin_list(context, "/api/v1/enrolments", OUTPUT_COLUMNS(enrolment_columns),
			  "No PC waits for approval.");
}

static int decide(const struct cli_context *context, bool approve)
{
	char path[256];

	if (!admin_name(context, cli_argument(context, 0)))
		return CLI_USAGE;
	snprintf(path, sizeof(path), "/api/v1/enrolments/%s", cli_argument(context, 0));
	return admin_call(context, "POST", path, json_pack("{s:b}", "approve", approve), "%s %s",
			  cli_argument(context, 0), approve ? "approved" : "refused");
}

static int approve_run(const struct cli_context *context)
{
	return decide(context, true);
}

static int refuse_run(const struct cli_context *context)
{
	return decide(context, false);
}

/* Tells a device something that needs no officer. */
static int tell(const struct cli_context *context, const char *kind, bool with_guest,
		const char *done)
{
	struct remote *remote;
	json_t *body;
	char id[65], path[256];
	uint64_t release = 0;
	int status = with_guest && !strcmp(kind, "revert")
			 ? cli_number(context, "release", 1, INT64_MAX, &release)
			 : CLI_OK;

	if (status)
		return status;
	status = remote_open(context, &remote);
	if (status)
		return status;
	status = admin_device(remote, cli_argument(context, 0), id, NULL);
	if (!status) {
		body = json_pack("{s:s}", "kind", kind);
		if (with_guest && cli_argument(context, 1))
			json_object_set_new(body, "guest", json_string(cli_argument(context, 1)));
		if (release)
			json_object_set_new(body, "release", json_integer((json_int_t)release));
		snprintf(path, sizeof(path), "/api/v1/devices/%s/commands", id);
		status = remote_call(remote, "POST", path, body, NULL);
		json_decref(body);
	}
	remote_close(remote);
	if (!status)
		printf("%s: %s\n", cli_argument(context, 0), done);
	return status;
}

static int lock_run(const struct cli_context *context)
{
	return tell(context, "lock", false,
		    "locked: it gets no new lease, and locks at its next contact");
}

static int unlock_run(const struct cli_context *context)
{
	return tell(context, "unlock", false, "unlocked");
}

static int lost_run(const struct cli_context *context)
{
	return tell(context, "lost", false,
		    "reported lost: no new lease, no images, no backups; it locks at its next "
		    "contact or when its "
		    "lease ends");
}

static int revoke_run(const struct cli_context *context)
{
	return tell(context, "revoke", false, "revoked: it may only fetch commands");
}

static int revert_run(const struct cli_context *context)
{
	return tell(context, "revert", true,
		    "goes back, and stays there until bulkhead device update DEVICE GUEST");
}

static int remove_run(const struct cli_context *context)
{
	return tell(context, "remove", true, "removes the guest; its user disk and backups stay");
}

static int update_run(const struct cli_context *context)
{
	return tell(context, "update", true, "updates now");
}

static int commands_run(const struct cli_context *context)
{
	struct remote *remote;
	json_t *items;
	char id[65], path[256];
	int status = remote_open(context, &remote);

	if (status)
		return status;
	status = admin_device(remote, cli_argument(context, 0), id, NULL);
	snprintf(path, sizeof(path), "/api/v1/devices/%s/commands", id);
	if (!status)
		status = remote_list(remote, path, &items);
	if (!status) {
		output_rows(items, cli_switch(context, "json"), OUTPUT_COLUMNS(command_columns),
			    "This device was never told anything.");
	}
	remote_close(remote);
	return status;
}

static int backup_list_run(const struct cli_context *context)
{
	char path[256];

	if (!cli_argument(context, 0))
		return admin_list(context, "/api/v1/disks", OUTPUT_COLUMNS(disk_columns),
				  "No user disk was ever backed up.");
	if (!admin_name(context, cli_argument(context, 0)))
		return CLI_USAGE;
	snprintf(path, sizeof(path), "/api/v1/disks/%s/backups", cli_argument(context, 0));
	return admin_list(context, path, OUTPUT_COLUMNS(backup_columns), "This disk has no backup yet.");
}

static const struct cli_option json_options[] = {ADMIN_JSON, {0}};
static const struct cli_option set_options[] = {
    {"name", "NAME", "what to call the device", 0, false},
    {"user", "USER", "whose it is; \"\" = nobody's", 'u', false},
    {"ring", "RING", "deployed, staged or test: which versions it gets", 0, false},
    {0},
};
static const struct cli_option token_options[] = {
    {"user", "USER", "whose device it will be", 'u', false},
    {"group", "GROUP", "a group that the user joins", 'g', false},
    {"uses", "N", "how many devices it enrols [1]", 0, false},
    {"hours", "N", "how long it is good [24]", 0, false},
    {"approval", NULL, "an administrator must approve each device", 0, false},
    {"server", "URL", "where devices reach the server [where you are logged in]", 0, false},
    ADMIN_JSON,
    {0},
};
static const struct cli_option revert_options[] = {
    {"release", "N", "to release N [the one before]", 0, false},
    {0},
};

const struct cli_command admin_fleet_commands[] = {
    {"device list", "", "list devices", NULL, NULL, json_options, 0, 0, list_run},
    {"device show", "DEVICE", "show what is known of a device", NULL, NULL, json_options, 1, 1,
     show_run},
    {"device set", "DEVICE", "change a device's name, user or ring", NULL,
     "bulkhead device set pc-17 --user alice --ring test", set_options, 1, 1, set_run},
    {"device token", "", "make a one-time token that enrols a device",
     "The token pins the server's certificate authority and the roles document that you trust, so "
     "that a server "
     "which was taken over cannot enrol devices into roles of its own.",
     "bulkhead device token --user alice", token_options, 0, 0, token_run},
    {"device waiting", "", "list PCs that wait for approval", NULL, NULL, json_options, 0, 0,
     enrolments_run},
    {"device approve", "ENROLMENT", "let a waiting PC in", NULL, NULL, NULL, 1, 1, approve_run},
    {"device refuse", "ENROLMENT", "turn a waiting PC away", NULL, NULL, NULL, 1, 1, refuse_run},
    {"device lock", "DEVICE", "lock a device's guests", NULL, NULL, NULL, 1, 1, lock_run},
    {"device unlock", "DEVICE", "let a locked, lost or revoked device work again", NULL, NULL, NULL,
     1, 1, unlock_run},
    {"device lost", "DEVICE", "report a device lost or stolen",
     "Its lease ends at once. A wipe that officers signed in advance goes out if policy says "
     "wipe_on_theft.",
     NULL, NULL, 1, 1, lost_run},
    {"device revoke", "DEVICE", "take a device out of service; it still obeys a wipe", NULL, NULL,
     NULL, 1, 1, revoke_run},
    {"device revert", "DEVICE GUEST", "send a guest back to its previous version", NULL,
     "bulkhead device revert pc-17 work", revert_options, 2, 2, revert_run},
    {"device update", "DEVICE [GUEST]", "update now; with GUEST also ends a revert", NULL, NULL,
     NULL, 1, 2, update_run},
    {"device remove", "DEVICE GUEST", "remove a guest that was assigned to the device alone", NULL,
     NULL, NULL, 2, 2, remove_run},
    {"device commands", "DEVICE", "list what a device was told and what became of it", NULL, NULL,
     json_options, 1, 1, commands_run},
    {"backup list", "[DISK]", "list users' disks, or the backups of one", NULL, NULL, json_options,
     0, 1, backup_list_run},
    {0},
};
