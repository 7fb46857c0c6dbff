/*
 * traces.c: boot traces: which blocks a version's boot reads first. A hint beside the version, not
 * signed: it can change only the order in which a PC fetches what it fetches anyway, and whoever
 * could forge one can withhold blocks as well. A device of ring test gives a version its first
 * trace; an author may set another.
 */
#include "server/handlers.h"

#include <errno.h>
#include <string.h>

/* Lines of two decimal numbers; what they mean is for the PC to check against its disk. */
static bool looks_like_trace(const char *text)
{
	return text && text[0] && text[strspn(text, "0123456789 \n")] == 0 &&
	       text[strlen(text) - 1] == '\n';
}

static int set_trace(struct request *request, enum query query)
{
	json_t *row;
	int status = storage_row(request->storage, QUERY_VERSION_GET,
				 STORAGE(SV_TEXT(request->parameters[0]),
					 SV_INT(request_number(request, 1))),
				 &row);

	if (status)
		return status;
	json_decref(row);
	if (!looks_like_trace(request->raw))
		return problem(request, 422, "bad-trace",
			       "a boot trace is lines of two numbers: first block, count");
	status = storage_run(request->storage, query,
			     STORAGE(SV_TEXT(request->parameters[0]),
				     SV_INT(request_number(request, 1)), SV_TEXT(request->raw)));
	return status ? status : reply_empty(request, 204);
}

int traces_put(struct request *request)
{
	request_audit(request, request->parameters[0], "release %s, trace", request->parameters[1]);
	return set_trace(request, QUERY_TRACE_SET);
}

/* The device must be of ring test and the image its own. */
static int check_device(struct request *request, bool to_write)
{
	json_t *row;
	int status = storage_row(request->storage, QUERY_DEVICE_HAS_IMAGE,
				 STORAGE(SV_TEXT(request_device(request)),
					 SV_TEXT(request_user(request)),
					 SV_TEXT(request->parameters[0])),
				 &row);
	bool test;

	if (status)
		return status;
	json_decref(row);
	if (!to_write)
		return 0;
	status = storage_row(request->storage, QUERY_DEVICE_GET,
			     STORAGE(SV_TEXT(request_device(request))), &row);
	if (status)
		return status;
	test = strcmp(json_string_value(json_object_get(row, "ring")), "test") == 0;
	json_decref(row);
	return test ? 0
		    : problem(request, 403, "not-testing",
			      "only devices of ring test record boot traces");
}

int traces_device_put(struct request *request)
{
	int status = check_device(request, true);

	return status ? status : set_trace(request, QUERY_TRACE_ADD);
}

int traces_device_get(struct request *request)
{
	json_t *row;
	int status = check_device(request, false);

	if (!status)
		status = storage_row(request->storage, QUERY_TRACE_GET,
				     STORAGE(SV_TEXT(request->parameters[0]),
					     SV_INT(request_number(request, 1))),
				     &row);
	if (status)
		return status;
	status = reply_text(request, 200,
			    strdup(json_string_value(json_object_get(row, "trace"))), "text/plain");
	json_decref(row);
	return status;
}
