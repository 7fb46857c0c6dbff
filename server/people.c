/* people.c: users and groups: typed in, or imported from a file of comma-separated values. */
#include "server/handlers.h"
#include "server/csv.h"
#include "trust/strict_json.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static int list(struct request *request, enum query query)
{
	const char *after = request_query(request, "after");
	json_t *rows;
	int status = storage_rows(
	    request->storage, query,
	    STORAGE(SV_TEXT(after ? after : ""), SV_INT(request_limit(request))), &rows);

	return status ? status : reply_page(request, rows, "name");
}

static int get(struct request *request, enum query query)
{
	json_t *row;
	int status =
	    storage_row(request->storage, query, STORAGE(SV_TEXT(request->parameters[0])), &row);

	return status ? status : reply_json(request, 200, row);
}

/* Ends a change of one row: not found, or noted for the devices' states. */
static int changed(struct request *request, int status, int http_status)
{
	if (!status && !request->storage->changed)
		return -ENOENT;
	if (!status)
		status = request_touch(request);
	return status ? status : reply_empty(request, http_status);
}

int people_users(struct request *request)
{
	return list(request, QUERY_USER_LIST);
}

int people_user_get(struct request *request)
{
	return get(request, QUERY_USER_GET);
}

int people_user_add(struct request *request)
{
	const char *name = request_text(request, "name"),
		   *full_name = request_text(request, "full_name"),
		   *mail = request_text(request, "mail");
	int status = storage_run(
	    request->storage, QUERY_USER_ADD,
	    STORAGE(SV_TEXT(name), SV_TEXT(full_name ? full_name : ""), SV_TEXT(mail ? mail : "")));
	const json_t *groups = json_object_get(request->body, "groups");
	json_t *group;
	size_t index;

	request_audit(request, name, "%s", "");
	json_array_foreach(groups, index, group) if (!status) status =
	    storage_run(request->storage, QUERY_MEMBER_ADD,
			STORAGE(SV_TEXT(json_string_value(group)), SV_TEXT(name)));
	if (!status)
		status = request_touch(request);
	return status ? status : reply_json(request, 201, json_pack("{s:s}", "name", name));
}

int people_user_change(struct request *request)
{
	return changed(request,
		       storage_run(request->storage, QUERY_USER_CHANGE,
				   STORAGE(SV_TEXT(request->parameters[0]),
					   SV_TEXT(request_text(request, "full_name")),
					   SV_TEXT(request_text(request, "mail")))),
		       204);
}

int people_user_remove(struct request *request)
{
	return changed(request,
		       storage_run(request->storage, QUERY_USER_REMOVE,
				   STORAGE(SV_TEXT(request->parameters[0]))),
		       204);
}

/* One line: name, full name, mail, groups separated by spaces. Unknown groups are made. @replace:
 * the user leaves every group that the line does not name. */
static int import_line(struct request *request, struct csv_line *line, bool replace)
{
	char *group, *rest = NULL;
	const char *full_name = line->count > 1 ? line->fields[1] : "";
	const char *mail = line->count > 2 ? line->fields[2] : "";
	int status;

	if (line->count > 4 || !strict_json_is_name(line->fields[0]))
		return problem(
		    request, 422, "bad-line",
		    "line %zu: expected name,full name,mail,groups with a name of a-z 0-9 . _ @ -",
		    line->number);
	status = storage_run(request->storage, QUERY_USER_PUT,
			     STORAGE(SV_TEXT(line->fields[0]), SV_TEXT(full_name), SV_TEXT(mail)));
	if (!status && replace)
		status = storage_run(request->storage, QUERY_MEMBER_CLEAR,
				     STORAGE(SV_TEXT(line->fields[0])));
	for (group = line->count > 3 ? strtok_r(line->fields[3], " ", &rest) : NULL;
	     group && !status; group = strtok_r(NULL, " ", &rest)) {
		if (!strict_json_is_name(group))
			return problem(request, 422, "bad-line",
				       "line %zu: \"%.60s\" is no name of a group", line->number,
				       group);
		status = storage_run(request->storage, QUERY_GROUP_ENSURE, STORAGE(SV_TEXT(group)));
		if (!status)
			status = storage_run(request->storage, QUERY_MEMBER_ADD,
					     STORAGE(SV_TEXT(group), SV_TEXT(line->fields[0])));
	}
	return status;
}

int people_import(struct request *request)
{
	struct csv_line line = {.rest = request->raw ? request->raw : ""};
	const char *replace = request_query(request, "replace");
	int64_t imported = 0;
	int status = 0;

	if (replace && strcmp(replace, "true") && strcmp(replace, "false"))
		return problem(request, 400, "bad-query", "replace must be true or false");

	while (!status && (status = csv_next(&line)) > 0) {
		/* A heading is welcome. */
		if (line.number == 1 && !strcmp(line.fields[0], "name")) {
			status = 0;
			continue;
		}
		status = import_line(request, &line, replace && !strcmp(replace, "true"));
		imported++;
	}
	if (status == -EBADMSG)
		return problem(request, 422, "bad-line", "line %zu: not comma-separated values",
			       line.number);
	if (!status)
		status = request_touch(request);
	request_audit(request, "users", "%ld lines", (long)imported);
	return status
		   ? status
		   : reply_json(request, 200, json_pack("{s:I}", "imported", (json_int_t)imported));
}

int people_groups(struct request *request)
{
	return list(request, QUERY_GROUP_LIST);
}

int people_group_get(struct request *request)
{
	return get(request, QUERY_GROUP_GET);
}

int people_group_add(struct request *request)
{
	const char *name = request_text(request, "name"),
		   *description = request_text(request, "description");
	int status = storage_run(request->storage, QUERY_GROUP_ADD,
				 STORAGE(SV_TEXT(name), SV_TEXT(description ? description : "")));

	request_audit(request, name, "%s", "");
	return status ? status : reply_json(request, 201, json_pack("{s:s}", "name", name));
}

int people_group_change(struct request *request)
{
	return changed(request,
		       storage_run(request->storage, QUERY_GROUP_CHANGE,
				   STORAGE(SV_TEXT(request->parameters[0]),
					   SV_TEXT(request_text(request, "description")))),
		       204);
}

int people_group_remove(struct request *request)
{
	return changed(request,
		       storage_run(request->storage, QUERY_GROUP_REMOVE,
				   STORAGE(SV_TEXT(request->parameters[0]))),
		       204);
}

int people_member_add(struct request *request)
{
	int status =
	    storage_run(request->storage, QUERY_MEMBER_ADD,
			STORAGE(SV_TEXT(request->parameters[0]), SV_TEXT(request->parameters[1])));

	request_audit(request, request->parameters[0], "%s", request->parameters[1]);
	if (!status)
		status = request_touch(request);
	return status ? status : reply_empty(request, 204);
}

int people_member_remove(struct request *request)
{
	request_audit(request, request->parameters[0], "%s", request->parameters[1]);
	return changed(
	    request,
	    storage_run(request->storage, QUERY_MEMBER_REMOVE,
			STORAGE(SV_TEXT(request->parameters[0]), SV_TEXT(request->parameters[1]))),
	    204);
}
