/* devices.c: the fleet's devices, as administrators see and sort them. */
#include "server/handlers.h"
#include "trust/policy.h"

#include <errno.h>
#include <string.h>

int devices_list(struct request *request)
{
	const char *after = request_query(request, "after");
	json_t *rows;
	int status =
	    storage_rows(request->storage, QUERY_DEVICE_LIST,
			 STORAGE(SV_TEXT(after ? after : ""), SV_INT(request_limit(request)),
				 SV_TEXT(request_query(request, "status")),
				 SV_TEXT(request_query(request, "user"))),
			 &rows);

	return status ? status : reply_page(request, rows, "id");
}

int devices_get(struct request *request)
{
	json_t *row, *rows;
	int status = storage_row(request->storage, QUERY_DEVICE_GET,
				 STORAGE(SV_TEXT(request->parameters[0])), &row);

	if (status != -ENOENT)
		return status ? status : reply_json(request, 200, row);
	/* People know a PC by its name. */
	status = storage_rows(request->storage, QUERY_DEVICE_BY_NAME,
			      STORAGE(SV_TEXT(request->parameters[0])), &rows);
	if (status)
		return status;
	if (json_array_size(rows) == 1)
		status = reply_json(request, 200, json_incref(json_array_get(rows, 0)));
	else if (json_array_size(rows))
		status = problem(request, 409, "ambiguous",
				 "several devices have this name; use the id");
	else
		status = -ENOENT;
	json_decref(rows);
	return status;
}

int devices_change(struct request *request)
{
	int status = storage_run(request->storage, QUERY_DEVICE_CHANGE,
				 STORAGE(SV_TEXT(request->parameters[0]),
					 SV_TEXT(request_text(request, "name")),
					 SV_TEXT(request_text(request, "ring")),
					 SV_TEXT(request_text(request, "user"))));

	if (!status && !request->storage->changed)
		return -ENOENT;
	if (!status)
		status = request_touch(request);
	return status ? status : reply_empty(request, 204);
}

int devices_policy(struct request *request)
{
	struct policy_effective effective;
	struct policy *policy;
	json_t *row;
	int status = storage_row(request->storage, QUERY_DEVICE_GET,
				 STORAGE(SV_TEXT(request->parameters[0])), &row);

	if (status)
		return status;
	status = documents_effective(request->storage, request->parameters[0],
				     json_string_value(json_object_get(row, "user")), &policy,
				     &effective);
	json_decref(row);
	if (status)
		return status;
	status = reply_json(request, 200, policy_view(&effective));
	policy_free(policy);
	return status;
}
