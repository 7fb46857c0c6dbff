/* HTTPS to the server: see agent_http.h. */
#include "agent_http.h"

#include <curl/curl.h>
#include <errno.h>
#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>
#include <unistd.h>

#include "trust/strict_json.h"

#define CONNECT_SECONDS 20L
#define STALL_SECONDS	30L /* fewer than STALL_BYTES a second for so long: give up, try again */
#define STALL_BYTES	64L
#define URL_MAX		1024
#define PACE_SLICE_NS	50000000

struct agent_http {
	CURL *curl;
	char server[512], ca[512], certificate[512], key[512];
	struct pace *pace;
	bool cancelled; /* by the tick, while it waited for its turn */
	int (*tick)(void *context);
	void *tick_context;
	char error[320];
};

struct agent_http *agent_http_new(const char *server, const char *ca, const char *certificate,
				  const char *key)
{
	struct agent_http *http = calloc(1, sizeof(*http));

	if (!http)
		return NULL;
	http->curl = curl_easy_init();
	if (!http->curl) {
		free(http);
		return NULL;
	}
	snprintf(http->server, sizeof(http->server), "%s", server);
	snprintf(http->ca, sizeof(http->ca), "%s", ca ? ca : "");
	snprintf(http->certificate, sizeof(http->certificate), "%s",
		 certificate ? certificate : "");
	snprintf(http->key, sizeof(http->key), "%s", key ? key : "");
	return http;
}

void agent_http_close(struct agent_http *http)
{
	if (!http)
		return;
	curl_easy_cleanup(http->curl);
	free(http);
}

void agent_http_set_pace(struct agent_http *http, struct pace *pace)
{
	http->pace = pace;
}

void agent_http_set_tick(struct agent_http *http, int (*tick)(void *context), void *context)
{
	http->tick = tick;
	http->tick_context = context;
}

const char *agent_http_error(const struct agent_http *http)
{
	return http->error;
}

void agent_http_free(struct agent_http_answer *answer)
{
	free(answer->body);
	answer->body = NULL;
	answer->body_bytes = 0;
}

/** What one transfer writes into: a growing buffer, or a fixed one. */
struct sink {
	struct agent_http_answer *answer;
	size_t max;
	unsigned char *fixed; /* range fetches */
	size_t fixed_have, fixed_size;
	struct agent_http *http;
};

/** Waits until what arrived is paid for. False when the transfer is to end. */
static bool keep_pace(struct agent_http *http, size_t bytes)
{
	struct timespec now;
	int64_t wait;

	if (!http->pace)
		return true;
	clock_gettime(CLOCK_MONOTONIC, &now);
	wait = pace_take(http->pace, bytes, (int64_t)now.tv_sec * 1000000000 + now.tv_nsec);
	for (; wait > 0; wait -= PACE_SLICE_NS) {
		struct timespec slice = {.tv_nsec = wait < PACE_SLICE_NS ? (long)wait : PACE_SLICE_NS};

		if (http->tick && http->tick(http->tick_context) != 0) {
			http->cancelled = true;
			return false;
		}
		nanosleep(&slice, NULL);
	}
	return true;
}

static size_t on_body(char *data, size_t one, size_t size, void *context)
{
	struct sink *sink = context;
	struct agent_http_answer *answer = sink->answer;
	unsigned char *grown;
	long status = 0;

	if (!keep_pace(sink->http, size))
		return 0;
	curl_easy_getinfo(sink->http->curl, CURLINFO_RESPONSE_CODE, &status);
	/* Only an answer to the range itself goes into the caller's buffer; a problem document does
	 * not. */
	if (sink->fixed && status == 206) {
		if (size > sink->fixed_size - sink->fixed_have)
			return 0;
		memcpy(sink->fixed + sink->fixed_have, data, size);
		sink->fixed_have += size;
		return size;
	}
	if (size > sink->max - answer->body_bytes)
		return 0;
	grown = realloc(answer->body, answer->body_bytes + size + 1);
	if (!grown)
		return 0;
	memcpy(grown + answer->body_bytes, data, size);
	answer->body = grown;
	answer->body_bytes += size;
	grown[answer->body_bytes] = '\0';
	return size;
}

static void copy_value(char *to, size_t capacity, const char *value, size_t size)
{
	while (size > 0 && (*value == ' ' || *value == '\t')) {
		value++;
		size--;
	}
	while (size > 0 &&
	       (value[size - 1] == '\r' || value[size - 1] == '\n' || value[size - 1] == ' '))
		size--;
	if (size < capacity) {
		memcpy(to, value, size);
		to[size] = '\0';
	}
}

static size_t on_header(char *data, size_t one, size_t size, void *context)
{
	struct agent_http_answer *answer = ((struct sink *)context)->answer;
	char number[24] = "";
	const char *colon = memchr(data, ':', size);
	size_t name, rest;

	if (!colon)
		return size;
	name = (size_t)(colon - data);
	rest = size - name - 1;
	if (name == 4 && strncasecmp(data, "ETag", name) == 0)
		copy_value(answer->etag, sizeof(answer->etag), colon + 1, rest);
	else if (name == 19 && strncasecmp(data, "Bulkhead-Audit-Head", name) == 0)
		copy_value(answer->audit_head, sizeof(answer->audit_head), colon + 1, rest);
	else if (name == 22 && strncasecmp(data, "Bulkhead-Upload-Offset", name) == 0) {
		copy_value(number, sizeof(number), colon + 1, rest);
		answer->upload_offset = strtoll(number, NULL, 10);
	} else if (name == 11 && strncasecmp(data, "Retry-After", name) == 0) {
		copy_value(number, sizeof(number), colon + 1, rest);
		answer->retry_after = strtoll(number, NULL, 10);
	}
	return size;
}

static int on_progress(void *context, curl_off_t total, curl_off_t now, curl_off_t up_total,
		       curl_off_t up_now)
{
	struct agent_http *http = context;

	return http->tick ? http->tick(http->tick_context) : 0;
}

static void prepare(struct agent_http *http, const char *url, struct sink *sink)
{
	CURL *curl = http->curl;

	curl_easy_reset(curl);
	curl_easy_setopt(curl, CURLOPT_URL, url);
	curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "https");
	curl_easy_setopt(curl, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_3);
	if (*http->ca) {
		curl_easy_setopt(curl, CURLOPT_CAINFO, http->ca);
		curl_easy_setopt(curl, CURLOPT_CAPATH, NULL);
	}
	if (*http->certificate) {
		curl_easy_setopt(curl, CURLOPT_SSLCERT, http->certificate);
		curl_easy_setopt(curl, CURLOPT_SSLKEY, http->key);
	}
	curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT, CONNECT_SECONDS);
	curl_easy_setopt(curl, CURLOPT_LOW_SPEED_LIMIT, STALL_BYTES);
	curl_easy_setopt(curl, CURLOPT_LOW_SPEED_TIME, STALL_SECONDS);
	curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, on_header);
	curl_easy_setopt(curl, CURLOPT_HEADERDATA, sink);
	curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_body);
	curl_easy_setopt(curl, CURLOPT_WRITEDATA, sink);
	curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L);
	curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, on_progress);
	curl_easy_setopt(curl, CURLOPT_XFERINFODATA, http);
	/* What arrives goes by the shared budget (keep_pace); only one connection sends at a time. */
	if (http->pace)
		curl_easy_setopt(curl, CURLOPT_MAX_SEND_SPEED_LARGE, (curl_off_t)pace_get(http->pace));
	http->cancelled = false;
	curl_easy_setopt(curl, CURLOPT_USERAGENT, "bulkhead-agent");
}

/* What a person can do where no answer came. */
static const char *remedy(CURLcode code)
{
	switch (code) {
	case CURLE_COULDNT_CONNECT:
	case CURLE_COULDNT_RESOLVE_HOST:
		return "; see that the server runs and this PC reaches it";
	case CURLE_SSL_CONNECT_ERROR:
	case CURLE_GOT_NOTHING:
	case CURLE_SEND_ERROR:
	case CURLE_RECV_ERROR:
	case CURLE_PARTIAL_FILE:
	case CURLE_OPERATION_TIMEDOUT:
		return "; see that the server runs, then ask again; what has arrived is kept";
	default:
		return "";
	}
}

static int perform(struct agent_http *http, struct agent_http_answer *answer)
{
	char detail[CURL_ERROR_SIZE] = "";
	CURLcode code;

	curl_easy_setopt(http->curl, CURLOPT_ERRORBUFFER, detail);
	code = curl_easy_perform(http->curl);
	curl_easy_setopt(http->curl, CURLOPT_ERRORBUFFER, NULL);
	curl_easy_getinfo(http->curl, CURLINFO_RESPONSE_CODE, &answer->status);
	if (code == CURLE_OK)
		return 0;
	snprintf(http->error, sizeof(http->error), "%.120s: %.100s%s", http->server,
		 detail[0] ? detail : curl_easy_strerror(code), remedy(code));
	if (http->cancelled)
		return -ECANCELED;
	switch (code) {
	case CURLE_ABORTED_BY_CALLBACK:
		return -ECANCELED;
	case CURLE_OUT_OF_MEMORY:
		return -ENOMEM;
	case CURLE_WRITE_ERROR:
		return -EMSGSIZE;
	case CURLE_PEER_FAILED_VERIFICATION:
	case CURLE_SSL_CERTPROBLEM:
		return -EKEYREJECTED;
	default:
		return -EIO;
	}
}

static void begin(struct agent_http_answer *answer)
{
	memset(answer, 0, sizeof(*answer));
	answer->upload_offset = -1;
}

int agent_http_call(struct agent_http *http, const char *method, const char *path,
		    const char *const *headers, const void *body, size_t body_bytes,
		    size_t body_max, struct agent_http_answer *answer)
{
	struct sink sink = {.answer = answer, .max = body_max, .http = http};
	struct curl_slist *list = curl_slist_append(NULL, "Expect:");
	char url[URL_MAX];
	int result;

	begin(answer);
	if (snprintf(url, sizeof(url), "%s%s", http->server, path) >= (int)sizeof(url) || !list) {
		curl_slist_free_all(list);
		return -ENAMETOOLONG;
	}
	prepare(http, url, &sink);
	for (; headers && *headers; headers++)
		list = curl_slist_append(list, *headers);
	if (body) {
		curl_easy_setopt(http->curl, CURLOPT_POSTFIELDS, body);
		curl_easy_setopt(http->curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)body_bytes);
	}
	curl_easy_setopt(http->curl, CURLOPT_CUSTOMREQUEST, method);
	curl_easy_setopt(http->curl, CURLOPT_HTTPHEADER, list);
	result = perform(http, answer);
	curl_easy_setopt(http->curl, CURLOPT_HTTPHEADER, NULL);
	curl_slist_free_all(list);
	if (result != 0)
		agent_http_free(answer);
	return result;
}

int agent_http_check(struct agent_http *http, const struct agent_http_answer *answer)
{
	static const struct {
		long status;
		int result;
	} meanings[] = {{400, -EINVAL}, {401, -EACCES}, {403, -EACCES}, {404, -ENOENT},
			{409, -EEXIST}, {410, -ENOENT}, {412, -ESTALE}, {413, -EMSGSIZE},
			{422, -EINVAL}, {429, -EAGAIN}, {503, -EAGAIN}, {507, -ENOSPC}};
	json_t *problem = NULL;
	const char *detail = NULL;
	int result = -EPROTO;

	if (answer->status >= 200 && answer->status < 300)
		return 0;
	if (answer->body &&
	    strict_json_parse((const char *)answer->body, answer->body_bytes, 65536, &problem) == 0)
		detail = json_string_value(json_object_get(problem, "detail"));
	snprintf(http->error, sizeof(http->error), "%.120s answered %ld%s%.160s", http->server,
		 answer->status, detail ? ": " : "", detail ? detail : "");
	json_decref(problem);
	for (size_t i = 0; i < sizeof(meanings) / sizeof(meanings[0]); i++)
		if (meanings[i].status == answer->status)
			result = meanings[i].result;
	return result;
}

int agent_http_fetch_range(struct agent_http *http, const char *path, uint64_t offset, void *buffer,
			   size_t size, int tries)
{
	struct agent_http_answer answer;
	struct sink sink = {.answer = &answer,
			    .max = 65536,
			    .fixed = buffer,
			    .fixed_size = size,
			    .http = http};
	char url[URL_MAX], range[64];
	int result = -EINVAL;

	if (snprintf(url, sizeof(url), "%s%s", http->server, path) >= (int)sizeof(url))
		return -ENAMETOOLONG;
	for (int i = 0; i < tries && sink.fixed_have < size; i++) {
		size_t before = sink.fixed_have;

		begin(&answer);
		prepare(http, url, &sink);
		snprintf(range, sizeof(range), "%llu-%llu",
			 (unsigned long long)(offset + sink.fixed_have),
			 (unsigned long long)(offset + size - 1));
		curl_easy_setopt(http->curl, CURLOPT_RANGE, range);
		result = perform(http, &answer);
		curl_easy_setopt(http->curl, CURLOPT_RANGE, NULL);
		if (result == 0 && answer.status != 206) {
			result = agent_http_check(http, &answer);
			if (result == 0) {
				result = -EPROTO;
				snprintf(http->error, sizeof(http->error),
					 "%.120s does not answer ranges", http->server);
			}
		}
		agent_http_free(&answer);
		/* What cannot get better ends here; a loss on the way is tried again where it
		 * stopped. */
		if (result == -ENOENT || result == -EACCES || result == -ECANCELED ||
		    result == -EMSGSIZE || result == -EKEYREJECTED)
			return result;
		if (sink.fixed_have > before)
			i = 0;
		else if (result != 0 && i + 1 < tries)
			usleep(100000u << (i < 5 ? i : 5));
	}
	return sink.fixed_have == size ? 0 : result ? result : -EIO;
}
