/* request.c: what handlers share: reading a call's parts, setting its answer. See request.h. */
#include "server/request.h"
#include "trust/strict_json.h"

#include <assert.h>
#include <errno.h>
#include <microhttpd.h>
#include <sodium.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void clear_reply(struct request *request)
{
	struct reply *reply = &request->reply;

	json_decref(reply->json);
	free(reply->text);
	if (reply->has_object)
		request->server->objects->release(request->server->objects_handle, &reply->object);
	reply->json = NULL;
	reply->text = NULL;
	reply->text_bytes = 0;
	reply->type = NULL;
	reply->has_object = false;
	reply->is_immutable = false;
	reply->etag[0] = 0;
}

int problem(struct request *request, int status, const char *code, const char *format, ...)
{
	char detail[512], type[96], title[96];
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(detail, sizeof(detail), format, arguments);
	va_end(arguments);
	snprintf(type, sizeof(type), "urn:bulkhead:problem:%s", code);
	snprintf(title, sizeof(title), "%s", code);
	for (char *c = title; *c; c++)
		if (*c == '-')
			*c = ' ';
	clear_reply(request);
	request->reply.status = status;
	request->reply.type = "application/problem+json";
	request->reply.json = json_pack("{s:s, s:s, s:i, s:s}", "type", type, "title", title,
					"status", status, "detail", detail);
	return -ECANCELED;
}

int problem_from(struct request *request, int status)
{
	switch (-status) {
	case ENOENT:
		return problem(request, 404, "not-found",
			       "there is nothing of that name; list what there is");
	case EEXIST:
		return problem(request, 409, "conflict",
			       "it exists already, or refers to something that does not exist");
	case ENOSPC:
	case EDQUOT:
		return problem(
		    request, 507, "disk-full",
		    "the server's disk is full; free space in its data directory, then ask again");
	case EBUSY:
		return problem(request, 503, "busy", "the server is busy; ask again in a moment");
	case EMSGSIZE:
		return problem(request, 413, "too-long", "it is longer than the server accepts");
	case EBADMSG:
		return problem(request, 400, "malformed",
			       "the server cannot read it; see the description of the call");
	default:
		return problem(request, 500, "failed",
			       "the server failed (%s); its log says more. Nothing was changed",
			       strerror(-status));
	}
}

int reply_json(struct request *request, int status, json_t *json)
{
	if (!json)
		return -ENOMEM;
	clear_reply(request);
	request->reply.status = status;
	request->reply.json = json;
	return 0;
}

int reply_text(struct request *request, int status, char *text, const char *type)
{
	if (!text)
		return -ENOMEM;
	clear_reply(request);
	request->reply.status = status;
	request->reply.text = text;
	request->reply.type = type;
	return 0;
}

int reply_empty(struct request *request, int status)
{
	clear_reply(request);
	request->reply.status = status;
	return 0;
}

void reply_header(struct request *request, const char *name, const char *format, ...)
{
	struct reply *reply = &request->reply;
	va_list arguments;

	if (reply->header_count == REQUEST_HEADERS_MAX)
		return;
	snprintf(reply->headers[reply->header_count].name, sizeof(reply->headers[0].name), "%s",
		 name);
	va_start(arguments, format);
	vsnprintf(reply->headers[reply->header_count].value, sizeof(reply->headers[0].value),
		  format, arguments);
	va_end(arguments);
	reply->header_count++;
}

int reply_page(struct request *request, json_t *rows, const char *key)
{
	json_t *page = json_pack("{s:o}", "items", rows);
	size_t count = json_array_size(rows);
	const json_t *last;
	char next[32];

	if (page && count && count >= (size_t)request_limit(request)) {
		last = json_object_get(json_array_get(rows, count - 1), key);
		snprintf(next, sizeof(next), "%lld", (long long)json_integer_value(last));
		json_object_set_new(
		    page, "next",
		    json_string(json_is_string(last) ? json_string_value(last) : next));
	}
	return reply_json(request, 200, page);
}

const char *request_query(const struct request *request, const char *name)
{
	return MHD_lookup_connection_value(request->connection, MHD_GET_ARGUMENT_KIND, name);
}

const char *request_header(const struct request *request, const char *name)
{
	return MHD_lookup_connection_value(request->connection, MHD_HEADER_KIND, name);
}

int64_t request_limit(const struct request *request)
{
	const char *text = request_query(request, "limit");
	long limit = text ? strtol(text, NULL, 10) : 100;

	return limit < 1 ? 1 : limit > 500 ? 500 : limit;
}

int64_t request_after_number(const struct request *request)
{
	const char *text = request_query(request, "after");
	long long after = text ? strtoll(text, NULL, 10) : 0;

	return after < 0 ? 0 : after;
}

const char *request_text(const struct request *request, const char *field)
{
	return json_string_value(json_object_get(request->body, field));
}

int64_t request_integer(const struct request *request, const char *field, int64_t otherwise)
{
	const json_t *value = json_object_get(request->body, field);

	return value ? json_integer_value(value) : otherwise;
}

bool request_boolean(const struct request *request, const char *field)
{
	return json_is_true(json_object_get(request->body, field));
}

int64_t request_number(const struct request *request, size_t index)
{
	const char *text = request->parameters[index];
	char *end;
	long long number;

	if (strspn(text, "0123456789") != strlen(text) || strlen(text) > 18)
		return -1;
	number = strtoll(text, &end, 10);
	return number;
}

const char *request_device(const struct request *request)
{
	return json_string_value(json_object_get(request->device, "id"));
}

const char *request_user(const struct request *request)
{
	return json_string_value(json_object_get(request->device, "user"));
}

int request_touch(struct request *request)
{
	return storage_run(request->storage, QUERY_TOUCH, STORAGE_NONE);
}

void request_audit(struct request *request, const char *object, const char *format, ...)
{
	va_list arguments;

	snprintf(request->audit_object, sizeof(request->audit_object), "%s", object);
	va_start(arguments, format);
	vsnprintf(request->audit_detail, sizeof(request->audit_detail), format, arguments);
	va_end(arguments);
}

void request_random(char *text, size_t byte_count)
{
	static const char letters[] = "abcdefghijkmnpqrstuvwxyz23456789";
	size_t count = byte_count * 8 / 5 + 1;

	static_assert(sizeof(letters) == 32 + 1, "a letter holds five bits");
	randombytes_buf(text, count);
	for (size_t i = 0; i < count; i++)
		text[i] = letters[(uint8_t)text[i] & 31];
	text[count] = 0;
}

void request_hash(const char *secret, uint8_t hash[32])
{
	crypto_hash_sha256(hash, (const uint8_t *)secret, strlen(secret));
}
