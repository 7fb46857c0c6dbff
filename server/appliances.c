/*
 * appliances.c: images that are offered: a user may take one by themselves, where the signed policy
 * lets them (own_images). Taking is an assignment of that one device, kept apart from those that
 * administrators make: giving back ends it alone. The PC asks its policy before it asks here; this
 * side asks again, because a device is not believed.
 */
#include "server/handlers.h"
#include "trust/policy.h"

#include <errno.h>
#include <string.h>

int appliances_offer(struct request *request)
{
	const char *image = request->parameters[0], *group = request_text(request, "group");
	bool offered = json_is_true(json_object_get(request->body, "offered"));
	int status = storage_run(request->storage, offered ? QUERY_OFFER_ADD : QUERY_OFFER_REMOVE,
				 STORAGE(SV_TEXT(image), SV_TEXT(group)));

	if (status == -EEXIST)
		return problem(request, 422, "unknown-name", "there is no such image or group");
	if (!status && !offered && !request->storage->changed)
		return -ENOENT;
	request_audit(request, image, "%s %s", offered ? "to" : "no longer to",
		      group ? group : "everybody");
	return status ? status : reply_empty(request, 204);
}

static int offers(struct request *request, const char *image, json_t **rows)
{
	return storage_rows(request->storage, QUERY_OFFER_LIST,
			    STORAGE(SV_TEXT(request_device(request)),
				    SV_TEXT(request_user(request)), SV_TEXT(image)),
			    rows);
}

int appliances_list(struct request *request)
{
	json_t *rows;
	int status = offers(request, NULL, &rows);

	return status ? status : reply_json(request, 200, json_pack("{s:o}", "items", rows));
}

/* What policy says of this device's user. */
static int check_policy(struct request *request)
{
	struct policy_effective effective;
	struct policy *policy;
	int status = documents_effective(request->storage, request_device(request),
					 request_user(request), &policy, &effective);
	bool allowed;

	if (status)
		return status;
	allowed = effective.values[POLICY_OWN_IMAGES].number != 0;
	policy_free(policy);
	return allowed ? 0
		       : problem(request, 403, "policy",
				 "the company's policy does not let users take images themselves");
}

int appliances_take(struct request *request)
{
	const char *image = request_text(request, "image"), *device = request_device(request);
	bool take = json_is_true(json_object_get(request->body, "take")), found;
	json_t *rows;
	int status = take ? check_policy(request) : 0;

	if (!status)
		status = offers(request, image, &rows);
	if (status)
		return status;
	found = json_array_size(rows) > 0;
	json_decref(rows);
	if (!found)
		return problem(request, 404, "not-offered", "no image of that name is offered to you");
	status = storage_run(request->storage,
			     take ? QUERY_ASSIGNMENT_TAKE : QUERY_ASSIGNMENT_GIVE_BACK,
			     STORAGE(SV_TEXT(image), SV_TEXT(device)));
	if (!status)
		status = request_touch(request);
	request_audit(request, image, "%s", take ? "taken" : "given back");
	return status ? status : reply_empty(request, 204);
}
