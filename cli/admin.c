/* admin.c: what administrators' commands share; see admin.h. */
#include "admin.h"
#include "trust/strict_json.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

int admin_list(const struct cli_context *context, const char *path,
	       const struct output_column *columns, size_t column_count, const char *empty)
{
	struct remote *remote;
	json_t *items;
	int status = remote_open(context, &remote);

	if (status)
		return status;
	status = remote_list(remote, path, &items);
	if (!status) {
		output_rows(items, cli_switch(context, "json"), columns, column_count, empty);
	}
	remote_close(remote);
	return status;
}

int admin_call(const struct cli_context *context, const char *method, const char *path,
	       json_t *body, const char *done, ...)
{
	struct remote *remote;
	va_list arguments;
	int status = remote_open(context, &remote);

	if (!status) {
		status = remote_call(remote, method, path, body, NULL);
		remote_close(remote);
	}
	json_decref(body);
	if (!status && done) {
		va_start(arguments, done);
		vprintf(done, arguments);
		va_end(arguments);
		putchar('\n');
	}
	return status;
}

bool admin_name(const struct cli_context *context, const char *name)
{
	if (strict_json_is_name(name))
		return true;
	cli_usage(context,
		  "%s: a name is 1 to 64 of a-z 0-9 . _ @ -, beginning with a letter or digit",
		  name);
	return false;
}

int admin_device(struct remote *remote, const char *name, char *id, json_t **device)
{
	char path[256];
	json_t *row;
	int status;

	if (strlen(name) > 64 ||
	    strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._@-") !=
		strlen(name))
		return remote_fail(remote, "%s: no name of a device", name);
	snprintf(path, sizeof(path), "/api/v1/devices/%s", name);
	status = remote_look(remote, path, &row);
	if (!status && !row)
		return remote_fail(remote, "%s: no such device; bulkhead device list", name);
	if (status)
		return status;
	status = strict_json_string(row, "id", id, 65) ? remote_fail(remote, "%s: bad answer", name)
						       : CLI_OK;
	if (device && !status)
		*device = row;
	else
		json_decref(row);
	return status;
}
