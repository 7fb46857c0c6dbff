/*
 * documents.c: roles and policy: signed elsewhere, checked, kept, passed on. The server's own
 * checks only keep mistakes out; devices check for themselves.
 */
#include "server/handlers.h"
#include "trust/document.h"
#include "trust/policy.h"
#include "trust/roles.h"
#include "trust/strict_json.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static int parse_row(json_t *row, struct dsse_envelope *envelope)
{
	const json_t *text = json_object_get(row, "envelope");

	return dsse_parse(json_string_value(text), json_string_length(text), envelope);
}

int documents_roles_newest(struct storage *storage, struct roles *roles)
{
	struct dsse_envelope envelope;
	json_t *row;
	int status = storage_row(storage, QUERY_ROLES_NEWEST, STORAGE_NONE, &row);

	if (status)
		return status;
	status = parse_row(row, &envelope);
	json_decref(row);
	if (status)
		return status;
	status = roles_read(envelope.payload, envelope.payload_bytes, roles);
	dsse_release(&envelope);
	return status;
}

static int reply_row(struct request *request, json_t *row)
{
	int status = reply_text(request, 200,
				strdup(json_string_value(json_object_get(row, "envelope"))), NULL);

	json_decref(row);
	return status;
}

int documents_roles_get(struct request *request)
{
	json_t *row;
	int status;

	if (!strcmp(request->parameters[0], "latest"))
		status = storage_row(request->storage, QUERY_ROLES_NEWEST, STORAGE_NONE, &row);
	else
		status = storage_row(request->storage, QUERY_ROLES_GET,
				     STORAGE(SV_INT(request_number(request, 0))), &row);
	return status ? status : reply_row(request, row);
}

static int follow(struct request *request, struct roles *roles)
{
	int status = documents_roles_newest(request->storage, roles);

	if (status == -ENOENT)
		status = roles_first(&request->envelope, roles);
	else if (!status)
		status = roles_follow(roles, &request->envelope, roles);
	else
		return status;
	if (status == -EKEYREJECTED)
		return problem(request, 422, "not-signed",
			       "the roles document must be signed by enough root keys of the one "
			       "before and its own");
	if (status == -ESTALE)
		return problem(request, 409, "old-version",
			       "the next roles document must have version %lu",
			       (unsigned long)roles->version + 1);
	if (status)
		return problem(request, 422, "bad-roles",
			       "this is no roles document whose rules hold");
	return 0;
}

/* Devices believe what the server's key signs only if the document names it. */
static bool names_our_key(const struct request *request, const struct roles *roles)
{
	const struct roles_role *role = &roles->roles[ROLE_SERVER];

	for (size_t i = 0; i < role->key_count; i++)
		if (!memcmp(&role->keys[i], &request->server->key.public_half,
			    sizeof(role->keys[i])))
			return true;
	return false;
}

int documents_roles_put(struct request *request)
{
	struct roles *roles = malloc(sizeof(*roles));
	char *text = NULL;
	int status = roles ? follow(request, roles) : -ENOMEM;

	if (!status && !names_our_key(request, roles))
		status = problem(
		    request, 422, "other-server",
		    "the document's role \"server\" does not name this server's key; see GET "
		    "/api/v1/server");
	if (!status)
		status = dsse_write(&request->envelope, &text);
	if (!status)
		status = storage_run(request->storage, QUERY_ROLES_ADD,
				     STORAGE(SV_INT(roles->version), SV_TEXT(text)));
	if (!status)
		status = request_touch(request);
	if (!status) {
		request_audit(request, "roles", "version %lu", (unsigned long)roles->version);
		status = reply_json(request, 201,
				    json_pack("{s:I}", "version", (json_int_t)roles->version));
	}
	free(text);
	free(roles);
	return status;
}

int documents_policy_get(struct request *request)
{
	json_t *row;
	int status = storage_row(request->storage, QUERY_POLICY_NEWEST, STORAGE_NONE, &row);

	return status ? status : reply_row(request, row);
}

int documents_policy_put(struct request *request)
{
	struct roles *roles = malloc(sizeof(*roles));
	struct policy *policy = NULL;
	char *text = NULL, wrong[256];
	json_t *versions = NULL;
	int status = roles ? documents_roles_newest(request->storage, roles) : -ENOMEM;

	if (status == -ENOENT)
		status = problem(request, 409, "no-roles",
				 "publish a roles document first: bulkhead key roles");
	if (!status && roles_verify(roles, ROLE_POLICY, DSSE_TYPE_POLICY, &request->envelope))
		status = problem(request, 422, "not-signed",
				 "the policy is not signed by enough policy keys");
	if (!status && policy_check(request->envelope.payload, request->envelope.payload_bytes,
				    &policy, wrong, sizeof(wrong)))
		status = problem(request, 422, "bad-policy", "%s", wrong);
	if (!status)
		status =
		    storage_row(request->storage, QUERY_DOCUMENT_VERSIONS, STORAGE_NONE, &versions);
	if (!status && !document_advances(
			   (uint64_t)json_integer_value(json_object_get(versions, "policy")) + 1,
			   policy_version(policy)))
		status = problem(request, 409, "old-version",
				 "the next policy must have a version above %ld",
				 (long)json_integer_value(json_object_get(versions, "policy")));
	if (!status)
		status = dsse_write(&request->envelope, &text);
	if (!status)
		status = storage_run(request->storage, QUERY_POLICY_ADD,
				     STORAGE(SV_INT(policy_version(policy)), SV_TEXT(text)));
	if (!status)
		status = request_touch(request);
	if (!status) {
		request_audit(request, "policy", "version %lu",
			      (unsigned long)policy_version(policy));
		status =
		    reply_json(request, 201,
			       json_pack("{s:I}", "version", (json_int_t)policy_version(policy)));
	}
	json_decref(versions);
	policy_free(policy);
	free(text);
	free(roles);
	return status;
}

/* Merges @policy for a device with the groups of its user. */
static int merge(struct storage *storage, const struct policy *policy, const char *device,
		 const char *user, struct policy_effective *effective)
{
	struct policy_subject subject = {.device = device, .user = user};
	const char *groups[64];
	json_t *rows, *row;
	size_t index;
	int status = storage_rows(storage, QUERY_DEVICE_GROUPS, STORAGE(SV_TEXT(user)), &rows);

	if (status)
		return status;
	json_array_foreach(rows, index, row) groups[subject.group_count++] =
	    json_string_value(json_object_get(row, "name"));
	subject.groups = groups;
	policy_merge(policy, &subject, effective);
	json_decref(rows);
	return 0;
}

int documents_effective(struct storage *storage, const char *device, const char *user,
			struct policy **policy, struct policy_effective *effective)
{
	struct dsse_envelope envelope;
	json_t *row;
	int status = storage_row(storage, QUERY_POLICY_NEWEST, STORAGE_NONE, &row);

	*policy = NULL;
	if (!status) {
		status = parse_row(row, &envelope);
		json_decref(row);
		if (!status) {
			status = policy_read(envelope.payload, envelope.payload_bytes, policy);
			dsse_release(&envelope);
		}
	} else if (status == -ENOENT) {
		status = 0;
	}
	if (!status)
		status = merge(storage, *policy, device, user, effective);
	if (status) {
		policy_free(*policy);
		*policy = NULL;
	}
	return status;
}

/* Dry run: what a policy that nobody has signed yet would mean for one device. */
int documents_policy_try(struct request *request)
{
	char *text = strict_json_write(json_object_get(request->body, "policy")), wrong[256];
	struct policy_effective effective;
	struct policy *policy = NULL;
	json_t *device = NULL;
	int status = text ? 0 : -ENOMEM;

	if (!status && policy_check(text, strlen(text), &policy, wrong, sizeof(wrong)))
		status = problem(request, 422, "bad-policy", "%s", wrong);
	if (!status)
		status = storage_row(request->storage, QUERY_DEVICE_GET,
				     STORAGE(SV_TEXT(request_text(request, "device"))), &device);
	if (!status)
		status = merge(request->storage, policy, request_text(request, "device"),
			       json_string_value(json_object_get(device, "user")), &effective);
	if (!status)
		status = reply_json(request, 200, policy_view(&effective));
	json_decref(device);
	policy_free(policy);
	free(text);
	return status;
}
