/* http_reply.c: see http_reply.h. Conditional requests and ranges follow RFC 9110, sections 13
 * and 14. */
#include "server/http_reply.h"
#include "trust/strict_json.h"

#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define BLOCK_BYTES 65536

void http_reply_release(struct request *request)
{
	struct reply *reply = &request->reply;

	json_decref(reply->json);
	free(reply->text);
	if (reply->has_object)
		request->server->objects->release(request->server->objects_handle, &reply->object);
	memset(reply, 0, sizeof(*reply));
}

static void make_text(struct reply *reply)
{
	if (reply->text || !reply->json)
		return;
	reply->text = strict_json_write(reply->json);
}

void http_reply_etag(struct request *request, char etag[96])
{
	struct reply *reply = &request->reply;
	uint8_t hash[32];

	if (!reply->etag[0]) {
		make_text(reply);
		crypto_hash_sha256(hash, (const uint8_t *)(reply->text ? reply->text : ""),
				   !reply->text	       ? 0
				   : reply->text_bytes ? reply->text_bytes
						       : strlen(reply->text));
		reply->etag[0] = '"';
		sodium_bin2hex(reply->etag + 1, 33, hash, 16);
		strcat(reply->etag, "\"");
	}
	memcpy(etag, reply->etag, sizeof(reply->etag));
}

bool http_reply_matches(const char *header, const char *etag)
{
	size_t length = strlen(etag);

	if (!header)
		return false;
	while (*header) {
		header += strspn(header, " \t,");
		if (!strncmp(header, "W/", 2))
			header += 2;
		if (*header == '*' ||
		    (!strncmp(header, etag, length) && strchr(" \t,", header[length])))
			return true;
		header += strcspn(header, ",");
	}
	return false;
}

int http_reply_range(const char *header, uint64_t size_bytes, uint64_t *first_byte,
		     uint64_t *byte_count)
{
	uint64_t first, last = size_bytes - 1;
	const char *dash;

	if (!header || strncmp(header, "bytes=", 6))
		return 0;
	header += 6;
	dash = strchr(header, '-');
	if (!dash || strspn(header, "0123456789-") != strlen(header) || strchr(dash + 1, '-') ||
	    strlen(header) > 40)
		return 0;
	if (dash == header) {
		uint64_t suffix = strtoull(dash + 1, NULL, 10);

		if (!dash[1])
			return 0;
		if (!suffix || !size_bytes)
			return -ERANGE;
		first = suffix > size_bytes ? 0 : size_bytes - suffix;
	} else {
		first = strtoull(header, NULL, 10);
		if (dash[1]) {
			uint64_t asked = strtoull(dash + 1, NULL, 10);

			if (asked < first)
				return 0;
			if (asked < last)
				last = asked;
		}
		if (first >= size_bytes)
			return -ERANGE;
	}
	*first_byte = first;
	*byte_count = last - first + 1;
	return 1;
}

/* An object that the driver reads for us. */
struct reader {
	struct server *server;
	struct object object;
	uint64_t first_byte;
};

static ssize_t read_block(void *context, uint64_t position, char *buffer, size_t bytes)
{
	struct reader *reader = context;
	ssize_t got = reader->server->objects->read(reader->server->objects_handle, &reader->object,
						    reader->first_byte + position, buffer, bytes);

	return got > 0 ? got : MHD_CONTENT_READER_END_WITH_ERROR;
}

static void read_end(void *context)
{
	struct reader *reader = context;

	reader->server->objects->release(reader->server->objects_handle, &reader->object);
	free(reader);
}

static struct MHD_Response *object_response(struct request *request)
{
	struct reply *reply = &request->reply;
	struct MHD_Response *response;
	struct reader *reader;

	if (reply->object.fd >= 0) {
		response = MHD_create_response_from_fd_at_offset64(
		    reply->byte_count, reply->object.fd, reply->first_byte);
	} else {
		reader = calloc(1, sizeof(*reader));
		if (!reader)
			return NULL;
		*reader = (struct reader){request->server, reply->object, reply->first_byte};
		response = MHD_create_response_from_callback(reply->byte_count, BLOCK_BYTES,
							     read_block, reader, read_end);
	}
	/* Whoever sends it closes it now. */
	if (response)
		reply->has_object = false;
	return response;
}

/* Settles 200, 206, 304 or 416 for an object. */
static void prepare_object(struct request *request)
{
	struct reply *reply = &request->reply;
	const char *condition = request_header(request, "If-Range");
	int range = 0;

	reply->first_byte = 0;
	reply->byte_count = reply->object.size_bytes;
	if (reply->status != 200)
		return;
	if (!condition || !strcmp(condition, reply->etag))
		range = http_reply_range(request_header(request, "Range"), reply->object.size_bytes,
					 &reply->first_byte, &reply->byte_count);
	reply_header(request, "Accept-Ranges", "bytes");
	if (range < 0) {
		uint64_t size_bytes = reply->object.size_bytes;

		problem(request, 416, "bad-range", "the object has %lu bytes", size_bytes);
		reply_header(request, "Content-Range", "bytes */%lu", size_bytes);
	} else if (range) {
		reply->status = 206;
		reply_header(request, "Content-Range", "bytes %lu-%lu/%lu", reply->first_byte,
			     reply->first_byte + reply->byte_count - 1, reply->object.size_bytes);
	}
	if (reply->has_object)
		atomic_fetch_add(&request->server->counters.packs_bytes, reply->byte_count);
}

static bool not_modified(struct request *request)
{
	struct reply *reply = &request->reply;
	char etag[96];

	if (reply->status != 200 ||
	    (strcmp(request->method, "GET") && strcmp(request->method, "HEAD")))
		return false;
	http_reply_etag(request, etag);
	return http_reply_matches(request_header(request, "If-None-Match"), etag);
}

static struct MHD_Response *text_response(struct reply *reply)
{
	struct MHD_Response *response;

	make_text(reply);
	if (!reply->text)
		return MHD_create_response_from_buffer(0, (void *)"", MHD_RESPMEM_PERSISTENT);
	response = MHD_create_response_from_buffer(reply->text_bytes ? reply->text_bytes
								     : strlen(reply->text),
						   reply->text, MHD_RESPMEM_MUST_FREE);
	if (response)
		reply->text = NULL;
	return response;
}

static void add_headers(struct request *request, struct MHD_Response *response, bool has_body)
{
	struct reply *reply = &request->reply;

	if (has_body)
		MHD_add_response_header(response, "Content-Type",
					reply->type ? reply->type : "application/json");
	if (reply->etag[0])
		MHD_add_response_header(response, "ETag", reply->etag);
	MHD_add_response_header(response, "Cache-Control",
				reply->is_immutable ? "public, max-age=31536000, immutable"
				: reply->etag[0]    ? "no-cache"
						    : "no-store");
	MHD_add_response_header(response, "X-Content-Type-Options", "nosniff");
	for (size_t i = 0; i < reply->header_count; i++)
		MHD_add_response_header(response, reply->headers[i].name, reply->headers[i].value);
}

enum MHD_Result http_reply_send(struct request *request)
{
	struct reply *reply = &request->reply;
	struct MHD_Response *response;
	enum MHD_Result result;
	bool has_body = true;

	if (not_modified(request)) {
		reply->status = 304;
		has_body = false;
		response = MHD_create_response_from_buffer(0, (void *)"", MHD_RESPMEM_PERSISTENT);
	} else {
		if (reply->has_object)
			prepare_object(request);
		has_body = reply->has_object || reply->json || reply->text;
		response = reply->has_object ? object_response(request) : text_response(reply);
	}
	if (!response)
		return MHD_NO;
	add_headers(request, response, has_body);
	result = MHD_queue_response(request->connection, (unsigned int)reply->status, response);
	MHD_destroy_response(response);
	return result;
}
