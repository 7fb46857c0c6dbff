/* journal.c: see journal.h. */
#include "server/journal.h"
#include "trust/audit.h"
#include "trust/strict_json.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int read_head(struct storage *storage, struct audit_head *head)
{
	json_t *row;
	int64_t sequence;
	int status = storage_row(storage, QUERY_AUDIT_HEAD, STORAGE_NONE, &row);

	memset(head, 0, sizeof(*head));
	if (status == -ENOENT)
		return 0;
	if (status)
		return status;
	if (strict_json_integer(row, "sequence", 1, INT64_MAX, &sequence) ||
	    strict_json_bytes(row, "hash", head->hash, sizeof(head->hash)))
		status = -EBADMSG;
	head->sequence = (uint64_t)sequence;
	json_decref(row);
	return status;
}

static int append(struct storage *storage, const struct audit_entry *entry)
{
	struct audit_head head;
	char *text;
	int status = read_head(storage, &head);

	if (!status)
		status = audit_append(&head, entry, &text);
	if (status)
		return status;
	status = storage_run(
	    storage, QUERY_AUDIT_ADD,
	    STORAGE(SV_INT(head.sequence), SV_BLOB(head.hash, sizeof(head.hash)), SV_TEXT(text)));
	free(text);
	return status;
}

int journal_append(struct request *request, const char *result)
{
	char actor[96];
	struct audit_entry entry = {.time = request->now,
				    .actor = actor,
				    .action = request->route->operation,
				    .object = request->audit_object,
				    .result = result,
				    .detail = request->audit_detail};

	if (request->caller == CALLER_DEVICE)
		snprintf(actor, sizeof(actor), "device:%s", request_device(request));
	else if (request->caller == CALLER_PERSON)
		snprintf(actor, sizeof(actor), "person:%s", request->account);
	else
		snprintf(actor, sizeof(actor), "address:%s", request->address);
	if (!request->audit_object[0] && request->parameter_count)
		snprintf(request->audit_object, sizeof(request->audit_object), "%s",
			 request->parameters[0]);
	return append(request->storage, &entry);
}

int journal_append_own(struct storage *storage, int64_t now, const char *action, const char *object,
		       const char *detail)
{
	struct audit_entry entry = {.time = now,
				    .actor = "server",
				    .action = action,
				    .object = object,
				    .result = "ok",
				    .detail = detail};

	return append(storage, &entry);
}

int journal_head(struct request *request, char text[AUDIT_HEAD_TEXT_MAX])
{
	struct audit_head head;
	int status = read_head(request->storage, &head);

	return status ? status : audit_head_sign(&head, &request->server->key, text);
}

/* Signing costs more than all the rest of a poll, so one signature serves until the log grows. */
void journal_head_header(struct request *request)
{
	struct journal_cache *cache = &request->server->journal;
	struct audit_head head;
	int64_t newest = json_integer_value(json_object_get(request->device, "audit_sequence"));

	pthread_mutex_lock(&cache->lock);
	if (cache->sequence != newest || !cache->text[0]) {
		cache->text[0] = 0;
		if (!read_head(request->storage, &head) &&
		    !audit_head_sign(&head, &request->server->key, cache->text))
			cache->sequence = (int64_t)head.sequence;
	}
	if (cache->text[0])
		reply_header(request, "Bulkhead-Audit-Head", "%s", cache->text);
	pthread_mutex_unlock(&cache->lock);
}
