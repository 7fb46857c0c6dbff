/* admin_audit.c: `bulkhead audit ...`: read the log, and find out whether it is the whole one. */
#include "admin_audit.h"
#include "settings.h"
#include "trust/audit.h"
#include "trust/strict_json.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A head that somebody saw, and what the log has at that place. */
struct witness {
	char who[80];
	struct audit_head head;
	bool is_met, is_good;
};

struct witnesses {
	size_t count;
	struct witness *list;
};

static int add_witness(struct witnesses *witnesses, const char *who, const struct audit_head *head)
{
	struct witness *larger = realloc(witnesses->list, (witnesses->count + 1) * sizeof(*larger));

	if (!larger)
		return -ENOMEM;
	witnesses->list = larger;
	memset(&larger[witnesses->count], 0, sizeof(*larger));
	snprintf(larger[witnesses->count].who, sizeof(larger[0].who), "%s", who);
	larger[witnesses->count].head = *head;
	larger[witnesses->count++].is_good = !head->sequence;
	return 0;
}

/* What devices reported to have seen; what the server keeps of it may be false, so own and exported
 * heads count too. */
static int gather(struct remote *remote, const struct cli_context *context,
		  const struct memory *memory, struct witnesses *witnesses)
{
	struct audit_head head;
	json_t *items, *item;
	const char *text;
	char line[AUDIT_HEAD_TEXT_MAX];
	size_t index;
	int status = remote_list(remote, "/api/v1/audit/witnesses", &items);

	if (status)
		return status;
	json_array_foreach(items, index, item)
	{
		snprintf(line, sizeof(line), "%lld:%s",
			 json_integer_value(json_object_get(item, "sequence")),
			 json_string_value(json_object_get(item, "hash")));
		if (!audit_head_read(line, &head))
			add_witness(witnesses, json_string_value(json_object_get(item, "device")),
				    &head);
	}
	json_decref(items);
	add_witness(witnesses, "this administrator", &memory->head);
	for (size_t i = 0; (text = cli_value_at(context, "witness", i)); i++) {
		if (audit_head_read(text, &head))
			return cli_usage(
			    context, "%s: a witness is SEQUENCE:HASH, as a device prints it", text);
		add_witness(witnesses, "--witness", &head);
	}
	return CLI_OK;
}

static void meet(struct witnesses *witnesses, const struct audit_head *found)
{
	for (size_t i = 0; i < witnesses->count; i++)
		if (witnesses->list[i].head.sequence == found->sequence) {
			witnesses->list[i].is_met = true;
			witnesses->list[i].is_good =
			    !audit_compare(&witnesses->list[i].head, found);
		}
}

static int walk(struct remote *remote, struct witnesses *witnesses, struct audit_head *head)
{
	json_t *items, *item;
	size_t index;
	int status = remote_list(remote, "/api/v1/audit", &items);

	if (status)
		return status;
	json_array_foreach(items, index, item)
	{
		const json_t *entry = json_object_get(item, "entry");

		if (!json_is_string(entry) ||
		    audit_follow(head, json_string_value(entry), json_string_length(entry))) {
			status = remote_fail(remote,
					     "the log is broken after entry %lu: an entry was "
					     "changed, dropped or put in",
					     (unsigned long)head->sequence);
			break;
		}
		meet(witnesses, head);
	}
	json_decref(items);
	return status;
}

static int check_end(struct remote *remote, struct memory *memory, const struct audit_head *found)
{
	const char *text;
	struct audit_head named;
	json_t *reply;
	int status = remote_call(remote, "GET", "/api/v1/audit/head", NULL, &reply);

	if (status)
		return status;
	text = json_string_value(json_object_get(reply, "head"));
	/* The log may have grown since it was read; it may not have another past. */
	if (!text || audit_head_verify(text, &memory->roles, &named))
		status = remote_fail(remote, "the log's head is not signed by the server's key");
	else if (named.sequence < found->sequence ||
		 (named.sequence == found->sequence && audit_compare(&named, found)))
		status = remote_fail(remote, "the log's signed head is not the log's end");
	json_decref(reply);
	return status;
}

static int judge(const struct cli_context *context, const struct witnesses *witnesses)
{
	for (size_t i = 0; i < witnesses->count; i++) {
		const struct witness *witness = &witnesses->list[i];

		if (!witness->is_good)
			return cli_fail(context,
					"%s saw entry %lu, %s; the server's history was rewritten: "
					"keep this PC's "
					"files and investigate",
					witness->who, (unsigned long)witness->head.sequence,
					witness->is_met ? "but another one than the log has"
							: "which the log lacks");
	}
	return CLI_OK;
}

static int verify_run(const struct cli_context *context)
{
	struct witnesses witnesses = {0};
	struct audit_head head = {0};
	struct remote *remote;
	struct memory *memory;
	int status = remote_open(context, &remote);

	if (status)
		return status;
	status = remote_trust(remote, &memory);
	if (!status)
		status = gather(remote, context, memory, &witnesses);
	if (!status)
		status = walk(remote, &witnesses, &head);
	if (!status)
		status = check_end(remote, memory, &head);
	if (!status)
		status = judge(context, &witnesses);
	if (!status) {
		memory->head = head;
		status = remote_trust_save(remote);
	}
	if (!status)
		printf("%lu entries, unbroken; %zu witnesses agree\n", (unsigned long)head.sequence,
		       witnesses.count);
	free(witnesses.list);
	remote_close(remote);
	return status;
}

static int list_run(const struct cli_context *context)
{
	static const struct output_column columns[] = {
	    {"sequence", "NUMBER", OUTPUT_NUMBER}, {"time", "TIME", OUTPUT_TIME},
	    {"actor", "WHO", OUTPUT_TEXT},	   {"action", "DID", OUTPUT_TEXT},
	    {"object", "TO", OUTPUT_TEXT},	   {"result", "RESULT", OUTPUT_TEXT},
	    {"detail", "DETAIL", OUTPUT_TEXT}};
	json_t *items, *item, *rows, *entry;
	struct remote *remote;
	size_t index;
	int status = remote_open(context, &remote);

	if (status)
		return status;
	status = remote_list(remote, "/api/v1/audit", &items);
	if (!status) {
		rows = json_array();
		json_array_foreach(items, index, item)
		{
			const json_t *text = json_object_get(item, "entry");

			if (!strict_json_parse(json_string_value(text), json_string_length(text),
					       65536, &entry))
				json_array_append_new(rows, entry);
		}
		output_rows(rows, cli_switch(context, "json"), OUTPUT_COLUMNS(columns), "Nothing has happened yet.");
		json_decref(items);
	}
	remote_close(remote);
	return status;
}

static const struct cli_option json_options[] = {ADMIN_JSON, {0}};
static const struct cli_option verify_options[] = {
    {"witness", "SEQUENCE:HASH", "a head that a device or a colleague saw; repeat for several", 'w',
     false},
    {0},
};

const struct cli_command admin_audit_commands[] = {
    {"audit list", "", "show the audit log", NULL, NULL, json_options, 0, 0, list_run},
    {"audit verify", "", "check that the audit log is whole and is the one that others saw",
     "Follows the chain of hashes from the first entry, compares it with the head that the server "
     "signed, with what "
     "devices reported, with what you saw last time, and with every --witness.",
     NULL, verify_options, 0, 0, verify_run},
    {0},
};
