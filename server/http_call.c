/*
 * http_call.c: one call from its first header to its last byte. Order: route, limits, who asks,
 * body, then (for a change) transaction, handler, audit entry, commit; answer.
 */
#include "server/http_call.h"
#include "server/caller.h"
#include "server/handlers.h"
#include "server/http_reply.h"
#include "server/journal.h"
#include "server/request.h"
#include "trust/strict_json.h"

#include <errno.h>
#include <gnutls/gnutls.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What stays of a call between libmicrohttpd's callbacks. */
struct call {
	struct request request;
	struct peer own_peer; /* where the listener keeps none */
	bool is_answered;
	int upload_status;
};

void http_call_connection(void *context, struct MHD_Connection *connection, void **peer,
			  enum MHD_ConnectionNotificationCode code)
{
	const struct server *server = context;
	const union MHD_ConnectionInfo *info;
	struct peer *made;

	if (code == MHD_CONNECTION_NOTIFY_STARTED) {
		*peer = made = calloc(1, sizeof(*made));
		if (made)
			handshake_begin(server->handshakes, &made->handshake, connection);
		info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_GNUTLS_SESSION);
		/* A resumed session spares both sides the signatures; the peer's certificate
		 * travels in the ticket. */
		if (info && info->tls_session && server->ticket_key)
			gnutls_session_ticket_enable_server(info->tls_session, server->ticket_key);
	} else {
		free(*peer);
		*peer = NULL;
	}
}

void http_call_completed(void *context, struct MHD_Connection *connection, void **state,
			 enum MHD_RequestTerminationCode code)
{
	struct call *call = *state;
	struct request *request;

	if (!call)
		return;
	request = &call->request;
	/* A connection that broke: keep what arrived, the client may go on from there. */
	if (request->put_is_open)
		request->server->objects->put_pause(request->server->objects_handle, &request->put);
	http_reply_release(request);
	json_decref(request->body);
	json_decref(request->device);
	dsse_release(&request->envelope);
	free(request->raw);
	free(call);
	*state = NULL;
}

static struct peer *peer_of(struct call *call)
{
	const union MHD_ConnectionInfo *info =
	    MHD_get_connection_info(call->request.connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);

	return info && info->socket_context ? info->socket_context : &call->own_peer;
}

static void borrow(struct request *request)
{
	request->storage = server_storage(request->server);
}

static void give_back(struct request *request)
{
	server_storage_return(request->server, request->storage);
	request->storage = NULL;
}

/* The length a client announced, or -1. */
static int64_t announced_length(const struct request *request)
{
	const char *text = request_header(request, "Content-Length");

	return text && strspn(text, "0123456789") == strlen(text) && strlen(text) < 19
		   ? strtoll(text, NULL, 10)
		   : -1;
}

static int upload_start(struct request *request)
{
	int64_t length = announced_length(request), first = 0, last, total;
	const char *range = request_header(request, "Content-Range");
	char key[OBJECTS_KEY_MAX];
	uint64_t partial;
	int end = 0, status;

	if (length < 0)
		return problem(request, 411, "no-length", "an upload needs a Content-Length");
	last = length - 1;
	total = length;
	if (range &&
	    (sscanf(range, "bytes %ld-%ld/%ld%n", &first, &last, &total, &end) != 3 || range[end] ||
	     first < 0 || last < first || total <= last || last - first + 1 != length))
		return problem(request, 400, "bad-range",
			       "Content-Range must be: bytes FIRST-LAST/TOTAL");
	if (total > (int64_t)request->route->body_max)
		return problem(request, 413, "too-long", "a pack is at most %zu bytes",
			       request->route->body_max);
	status = packs_key(request, key);
	if (status)
		return status;
	partial = request->server->objects->partial(request->server->objects_handle, key);
	status = request->server->objects->put_start(request->server->objects_handle, key,
						     (uint64_t)first, &request->put);
	if (status == -ESTALE) {
		problem(request, 409, "wrong-offset", "go on at byte %lu", partial);
		reply_header(request, "Bulkhead-Upload-Offset", "%lu", partial);
		return -ECANCELED;
	}
	if (status == -EBUSY)
		return problem(request, 409, "upload-runs",
			       "somebody uploads this pack now; ask again later");
	if (status)
		return problem_from(request, status);
	request->put_is_open = true;
	request->upload_total = (uint64_t)total;
	request->upload_end = (uint64_t)last + 1;
	return 0;
}

static void note_refusal(struct request *request)
{
	const char *type = json_string_value(json_object_get(request->reply.json, "type"));

	if (!request->route->is_audited || storage_begin(request->storage))
		return;
	if (journal_append(request, type ? strrchr(type, ':') + 1 : "failed") ||
	    storage_commit(request->storage))
		storage_rollback(request->storage);
}

/* Everything that can be refused before the body comes. */
static int start(struct call *call, const char *url, const char *method)
{
	struct request *request = &call->request;
	bool other_method;
	int status;

	request->method = method;
	request->route = route_find(strcmp(method, "HEAD") ? method : "GET", url,
				    request->parameters, &request->parameter_count, &other_method);
	if (!request->route)
		return other_method ? problem(request, 405, "method",
					      "this path takes other methods; see "
					      "/api/v1/openapi.json")
				    : problem(request, 404, "no-such-call",
					      "there is no such path; see /api/v1/openapi.json");
	borrow(request);
	status = caller_admit(request, peer_of(call));
	if (status && request->account[0])
		note_refusal(request);
	give_back(request);
	if (status)
		return status;
	if (request->route->body == BODY_UPLOAD)
		return upload_start(request);
	if (announced_length(request) > (int64_t)request->route->body_max)
		return problem(request, 413, "too-long", "this call takes at most %zu bytes",
			       request->route->body_max);
	return 0;
}

static int take_upload(struct call *call, const char *data, size_t bytes)
{
	struct request *request = &call->request;

	if (request->put.offset_bytes + bytes > request->upload_end)
		return -EMSGSIZE;
	return request->server->objects->put_write(request->server->objects_handle, &request->put,
						   data, bytes);
}

static int take_bytes(struct request *request, const char *data, size_t bytes)
{
	size_t capacity = request->raw_capacity;
	char *larger;

	if (request->raw_bytes + bytes > request->route->body_max)
		return -EMSGSIZE;
	while (request->raw_bytes + bytes + 1 > capacity)
		capacity = capacity ? capacity * 2 : 4096;
	if (capacity != request->raw_capacity) {
		larger = realloc(request->raw, capacity);
		if (!larger)
			return -ENOMEM;
		request->raw = larger;
		request->raw_capacity = capacity;
	}
	memcpy(request->raw + request->raw_bytes, data, bytes);
	request->raw_bytes += bytes;
	request->raw[request->raw_bytes] = 0;
	return 0;
}

static int read_body(struct request *request)
{
	const struct route *route = request->route;
	char wrong[256];

	switch (route->body) {
	case BODY_NONE:
	case BODY_TEXT:
	case BODY_UPLOAD:
		return 0;
	case BODY_ENVELOPE:
		if (dsse_parse(request->raw ? request->raw : "", request->raw_bytes,
			       &request->envelope))
			return problem(request, 400, "no-envelope",
				       "the body must be a signed envelope (DSSE v1) as JSON");
		return 0;
	case BODY_JSON:
		if (strict_json_parse(request->raw ? request->raw : "", request->raw_bytes,
				      route->body_max, &request->body))
			return problem(request, 400, "no-json",
				       "the body must be JSON without duplicate keys or fractions");
		if (!route_body_fits(route->fields, request->body, wrong, sizeof(wrong)))
			return problem(request, 422, "bad-field", "%s", wrong);
		return 0;
	}
	return -EINVAL;
}

/* If-Match: the caller wants to change exactly what it saw. Its GET says whether that is still
 * there. */
static int check_match(struct request *request, const char *url)
{
	const char *wanted = request_header(request, "If-Match");
	const struct route *route = request->route, *reading;
	char parameters[REQUEST_PARAMETERS_MAX][80], etag[96];
	bool other_method;
	size_t count;
	int status;

	if (!wanted || !strcmp(request->method, "GET"))
		return 0;
	reading = route_find("GET", url, parameters, &count, &other_method);
	if (!reading)
		return 0;
	request->route = reading;
	status = reading->handler(request);
	request->route = route;
	if (status)
		return status;
	http_reply_etag(request, etag);
	http_reply_release(request);
	return strcmp(wanted, etag)
		   ? problem(request, 412, "changed-meanwhile",
			     "somebody changed it since you read it; read it again")
		   : 0;
}

static int run_change(struct request *request, const char *url)
{
	int status = storage_begin(request->storage);

	if (status)
		return status;
	status = check_match(request, url);
	if (!status)
		status = request->route->handler(request);
	if (!status && request->route->is_audited)
		status = journal_append(request, "ok");
	if (!status)
		status = storage_commit(request->storage);
	if (status)
		storage_rollback(request->storage);
	return status;
}

/* The body is complete: do what was asked. */
static void run(struct call *call, const char *url)
{
	struct request *request = &call->request;
	bool is_change =
	    strcmp(request->route->method, "GET") && request->route->body != BODY_UPLOAD;
	int status = call->upload_status ? call->upload_status : read_body(request);

	borrow(request);
	if (!status && request->route->prepare)
		status = request->route->prepare(request);
	if (!status)
		status = is_change ? run_change(request, url) : request->route->handler(request);
	if (status && status != -ECANCELED)
		problem_from(request, status);
	if (status && is_change)
		note_refusal(request);
	if (request->caller == CALLER_DEVICE)
		journal_head_header(request);
	give_back(request);
}

static enum MHD_Result answer(struct call *call)
{
	struct request *request = &call->request;

	call->is_answered = true;
	atomic_fetch_add(&request->server->counters.requests, 1);
	if (request->reply.status >= 500)
		atomic_fetch_add(&request->server->counters.failed, 1);
	else if (request->reply.status >= 400)
		atomic_fetch_add(&request->server->counters.refused, 1);
	return http_reply_send(request);
}

static struct call *call_new(struct server *server, struct MHD_Connection *connection)
{
	struct call *call = calloc(1, sizeof(*call));

	if (call) {
		call->request.server = server;
		call->request.connection = connection;
		call->request.now = server_now(server);
		caller_address(&call->request);
	}
	return call;
}

enum MHD_Result http_call_handle(void *context, struct MHD_Connection *connection, const char *url,
				 const char *method, const char *version, const char *upload,
				 size_t *upload_bytes, void **state)
{
	struct call *call = *state;

	if (!call) {
		call = call_new(context, connection);
		if (!call)
			return MHD_NO;
		*state = call;
		return start(call, url, method) ? answer(call) : MHD_YES;
	}
	if (*upload_bytes) {
		if (!call->upload_status && !call->is_answered)
			call->upload_status =
			    call->request.route->body == BODY_UPLOAD
				? take_upload(call, upload, *upload_bytes)
				: take_bytes(&call->request, upload, *upload_bytes);
		*upload_bytes = 0;
		return MHD_YES;
	}
	if (call->is_answered)
		return MHD_YES;
	run(call, url);
	return answer(call);
}

enum MHD_Result http_call_handle_packs(void *context, struct MHD_Connection *connection,
				       const char *url, const char *method, const char *version,
				       const char *upload, size_t *upload_bytes, void **state)
{
	if (!*state && strncmp(url, "/packs/", 7)) {
		struct call *call = call_new(context, connection);

		if (!call)
			return MHD_NO;
		*state = call;
		call->request.method = method;
		problem(&call->request, 404, "no-such-call", "only packs are served here");
		return answer(call);
	}
	return http_call_handle(context, connection, url, method, version, upload, upload_bytes,
				state);
}
