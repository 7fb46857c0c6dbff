/* health.c: what machines ask about the server itself: alive, ready, metrics, its description. */
#include "server/handlers.h"
#include "server/http_handshake.h"
#include "server/openapi.h"
#include "server/version.h"

#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SEEN_SECONDS 3600

int health_live(struct request *request)
{
	return reply_json(request, 200, json_pack("{s:s}", "status", "ok"));
}

int health_ready(struct request *request)
{
	json_t *row;
	int status = storage_row(request->storage, QUERY_PROBE, STORAGE_NONE, &row);

	if (!status)
		json_decref(row);
	if (!status)
		status = request->server->objects->probe(request->server->objects_handle);
	if (status)
		return problem(request, 503, "not-ready",
			       "the data directory cannot be written: %s", strerror(-status));
	return reply_json(request, 200, json_pack("{s:s}", "status", "ready"));
}

int health_openapi(struct request *request)
{
	return reply_text(request, 200, strndup((const char *)openapi_json, openapi_json_bytes),
			  NULL);
}

int health_server(struct request *request)
{
	const struct server *server = request->server;
	char key[64], pin_text[65];
	uint8_t pin[32];
	json_t *row;
	int status = storage_row(request->storage, QUERY_DOCUMENT_VERSIONS, STORAGE_NONE, &row);

	if (status)
		return status;
	authority_pin(server->authority, pin);
	sodium_bin2hex(pin_text, sizeof(pin_text), pin, sizeof(pin));
	sodium_bin2base64(key, sizeof(key), server->key.public_half.bytes, 32,
			  sodium_base64_VARIANT_ORIGINAL);
	status =
	    reply_json(request, 200,
		       json_pack("{s:s, s:I, s:s, s:s, s:O, s:s, s:s}", "version", BULKHEAD_VERSION,
				 "time", (json_int_t)request->now, "ca_sha256", pin_text, "ca",
				 authority_ca(server->authority), "roles",
				 json_object_get(row, "roles"), "server_key", key, "packs_url",
				 server->options.packs_url ? server->options.packs_url : ""));
	json_decref(row);
	return status;
}

/* OpenMetrics 1.0 text. */
int health_metrics(struct request *request)
{
	struct server *server = request->server;
	json_t *row;
	char *text = NULL;
	int written, status;

	status = storage_row(request->storage, QUERY_COUNTS,
			     STORAGE(SV_INT(request->now - SEEN_SECONDS)), &row);
	if (status)
		return status;
#define COUNT(key) (long)json_integer_value(json_object_get(row, key))
	written = asprintf(
	    &text,
	    "# TYPE bulkhead_requests counter\nbulkhead_requests_total %lu\n"
	    "# TYPE bulkhead_requests_refused counter\nbulkhead_requests_refused_total %lu\n"
	    "# TYPE bulkhead_requests_failed counter\nbulkhead_requests_failed_total %lu\n"
	    "# TYPE bulkhead_polls counter\nbulkhead_polls_total %lu\n"
	    "# TYPE bulkhead_polls_unchanged counter\nbulkhead_polls_unchanged_total %lu\n"
	    "# TYPE bulkhead_pack_bytes counter\n# UNIT bulkhead_pack_bytes bytes\n"
	    "bulkhead_pack_bytes_total %lu\n"
	    "# TYPE bulkhead_devices gauge\nbulkhead_devices %ld\n"
	    "# TYPE bulkhead_devices_seen_last_hour gauge\nbulkhead_devices_seen_last_hour %ld\n"
	    "# TYPE bulkhead_users gauge\nbulkhead_users %ld\n"
	    "# TYPE bulkhead_images gauge\nbulkhead_images %ld\n"
	    "# TYPE bulkhead_backups gauge\nbulkhead_backups %ld\n"
	    "# TYPE bulkhead_commands_open gauge\nbulkhead_commands_open %ld\n"
	    "# TYPE bulkhead_audit_entries counter\nbulkhead_audit_entries_total %ld\n"
	    "# TYPE bulkhead_handshakes_waiting gauge\nbulkhead_handshakes_waiting %zu\n"
	    "# EOF\n",
	    atomic_load(&server->counters.requests), atomic_load(&server->counters.refused),
	    atomic_load(&server->counters.failed), atomic_load(&server->counters.polls),
	    atomic_load(&server->counters.polls_unchanged),
	    atomic_load(&server->counters.packs_bytes), COUNT("devices"), COUNT("devices_seen"),
	    COUNT("users"), COUNT("images"), COUNT("backups"), COUNT("commands"), COUNT("audit"),
	    handshakes_asleep(server->handshakes));
#undef COUNT
	json_decref(row);
	return written < 0
		   ? -ENOMEM
		   : reply_text(request, 200, text,
				"application/openmetrics-text; version=1.0.0; charset=utf-8");
}
