/* remote.c: calls to the server over libcurl; see remote.h. */
#include "remote.h"
#include "remote_private.h"
#include "settings.h"
#include "trust/strict_json.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define ANSWER_MAX (64u << 20)

int remote_fail(const struct remote *remote, const char *format, ...)
{
	char text[1024];
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(text, sizeof(text), format, arguments);
	va_end(arguments);
	return cli_fail(remote->context, "%s", text);
}

size_t remote_take(char *data, size_t size, size_t count, void *context)
{
	struct remote_answer *answer = context;
	size_t bytes = size * count;
	char *larger;

	if (answer->byte_count + bytes > ANSWER_MAX)
		return 0;
	larger = realloc(answer->bytes, answer->byte_count + bytes + 1);
	if (!larger)
		return 0;
	memcpy(larger + answer->byte_count, data, bytes);
	answer->bytes = larger;
	answer->byte_count += bytes;
	answer->bytes[answer->byte_count] = 0;
	return bytes;
}

struct remote *remote_new(const struct cli_context *context, json_t *session)
{
	struct remote *remote = calloc(1, sizeof(*remote));

	if (!remote)
		return NULL;
	remote->context = context;
	remote->session = session;
	remote->curl = curl_easy_init();
	if (!remote->curl) {
		free(remote);
		return NULL;
	}
	return remote;
}

int remote_open(const struct cli_context *context, struct remote **remote)
{
	char path[4096], *text;
	json_t *session;
	size_t text_bytes;

	if (signing_key_start() || settings_path("session.json", path))
		return cli_fail(context, "no random numbers, or no home directory");
	if (settings_read(path, 65536, &text, &text_bytes))
		return cli_fail(context, "not logged in; bulkhead server login URL");
	if (strict_json_parse(text, text_bytes, 65536, &session)) {
		free(text);
		return cli_fail(context, "%s: damaged; bulkhead server login URL", path);
	}
	free(text);
	*remote = remote_new(context, session);
	if (!*remote || !remote_value(*remote, "url") || !remote_value(*remote, "ca")) {
		remote_close(*remote);
		return cli_fail(context, "%s: damaged; bulkhead server login URL", path);
	}
	return CLI_OK;
}

void remote_close(struct remote *remote)
{
	if (!remote)
		return;
	curl_easy_cleanup(remote->curl);
	json_decref(remote->session);
	free(remote->memory);
	free(remote);
}

const char *remote_value(const struct remote *remote, const char *key)
{
	return json_string_value(json_object_get(remote->session, key));
}

const char *remote_url(const struct remote *remote)
{
	return remote_value(remote, "url");
}

static void set_up(struct remote *remote, const char *method, const char *path,
		   struct remote_answer *answer, struct curl_slist **headers, const char *type)
{
	CURL *curl = remote->curl;
	const char *ca = remote_value(remote, "ca"), *token = remote_value(remote, "token");
	struct curl_blob blob = {(void *)ca, ca ? strlen(ca) : 0, CURL_BLOB_COPY};
	char url[4096], header[512];

	snprintf(url, sizeof(url), "%s%s", remote_url(remote), path);
	curl_easy_reset(curl);
	curl_easy_setopt(curl, CURLOPT_URL, url);
	curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, method);
	curl_easy_setopt(curl, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_3);
	curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "https");
	curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT, 20L);
	curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, remote_take);
	curl_easy_setopt(curl, CURLOPT_WRITEDATA, answer);
	curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, remote->error);
	if (ca) {
		curl_easy_setopt(curl, CURLOPT_CAINFO_BLOB, &blob);
	} else {
		/* Before the first log-in nothing is known; remote_login.c compares the pin and
		 * sends no secret. */
		curl_easy_setopt(curl, CURLOPT_SSL_VERIFYPEER, 0L);
		curl_easy_setopt(curl, CURLOPT_SSL_VERIFYHOST, 0L);
	}
	if (token && ca) {
		snprintf(header, sizeof(header), "Authorization: Bearer %s", token);
		*headers = curl_slist_append(*headers, header);
	}
	if (type) {
		snprintf(header, sizeof(header), "Content-Type: %s", type);
		*headers = curl_slist_append(*headers, header);
	}
	*headers = curl_slist_append(*headers, "Expect:");
	curl_easy_setopt(curl, CURLOPT_HTTPHEADER, *headers);
}

/* No answer came: what can be done about it depends on where it failed. */
static int no_answer(struct remote *remote, CURLcode result)
{
	const char *remedy = "ask again; what has arrived is kept";

	if (result == CURLE_COULDNT_RESOLVE_HOST || result == CURLE_COULDNT_CONNECT ||
	    result == CURLE_OPERATION_TIMEDOUT)
		remedy = "see that the server runs and this computer reaches it";
	else if (result == CURLE_SSL_CONNECT_ERROR)
		/* Not only another kind of server: also one that dies while it shakes hands. */
		remedy = "see that the server runs there, then ask again";
	else if (result == CURLE_PEER_FAILED_VERIFICATION)
		remedy =
		    "this is not the server you logged in to; if it was made anew, log in again";
	return remote_fail(remote, "%s: %s; %s", remote_url(remote),
			   *remote->error ? remote->error : curl_easy_strerror(result), remedy);
}

int remote_perform(struct remote *remote, const char *method, const char *path, const char *text,
		   const char *type, struct remote_answer *answer)
{
	struct curl_slist *headers = NULL;
	CURLcode result;

	memset(answer, 0, sizeof(*answer));
	set_up(remote, method, path, answer, &headers, text ? type : NULL);
	if (text) {
		curl_easy_setopt(remote->curl, CURLOPT_POSTFIELDS, text);
		curl_easy_setopt(remote->curl, CURLOPT_POSTFIELDSIZE_LARGE,
				 (curl_off_t)strlen(text));
	}
	result = curl_easy_perform(remote->curl);
	curl_slist_free_all(headers);
	if (result) {
		free(answer->bytes);
		answer->bytes = NULL;
		return no_answer(remote, result);
	}
	curl_easy_getinfo(remote->curl, CURLINFO_RESPONSE_CODE, &answer->status);
	return CLI_OK;
}

/* What the server said, in its own words. */
static int refuse(struct remote *remote, const struct remote_answer *answer)
{
	const char *detail = NULL;
	json_t *problem = NULL;

	if (answer->bytes && !strict_json_parse(answer->bytes, answer->byte_count, 65536, &problem))
		detail = json_string_value(json_object_get(problem, "detail"));
	if (detail)
		remote_fail(remote, "%s", detail);
	else
		remote_fail(remote, "%s: the server answered %ld", remote_url(remote),
			    answer->status);
	json_decref(problem);
	return CLI_FAILED;
}

/* Sends a call and reads its answer. @may_lack: 404 gives NULL. */
static int exchange(struct remote *remote, const char *method, const char *path, const char *text,
		    const char *type, bool may_lack, json_t **reply)
{
	struct remote_answer answer;
	json_t *parsed = NULL;
	int status = remote_perform(remote, method, path, text, type, &answer);

	if (reply)
		*reply = NULL;
	if (status)
		return status;
	if (may_lack && answer.status == 404) {
		status = CLI_OK;
	} else if (answer.status < 200 || answer.status > 299) {
		status = refuse(remote, &answer);
	} else if (reply && answer.byte_count) {
		if (strict_json_parse(answer.bytes, answer.byte_count, STRICT_JSON_BYTES_MAX,
				      &parsed))
			status = remote_fail(remote, "%s%s: the answer is no JSON",
					     remote_url(remote), path);
		*reply = parsed;
	}
	free(answer.bytes);
	return status;
}

int remote_send(struct remote *remote, const char *method, const char *path, const char *text,
		const char *type, json_t **reply)
{
	return exchange(remote, method, path, text, type, false, reply);
}

int remote_call(struct remote *remote, const char *method, const char *path, const json_t *body,
		json_t **reply)
{
	char *text = body ? strict_json_write(body) : NULL;
	int status;

	if (body && !text)
		return remote_fail(remote, "out of memory");
	/* A call that changes something and has no fields still has a body of its own length. */
	status = exchange(remote, method, path,
			  text			  ? text
			  : strcmp(method, "GET") ? ""
						  : NULL,
			  "application/json", false, reply);
	free(text);
	return status;
}

int remote_look(struct remote *remote, const char *path, json_t **reply)
{
	return exchange(remote, "GET", path, NULL, NULL, true, reply);
}

int remote_list(struct remote *remote, const char *path, json_t **items)
{
	char next[256] = "", full[4096], *escaped;
	json_t *all = json_array(), *page;
	int status;

	do {
		escaped = curl_easy_escape(remote->curl, next, 0);
		snprintf(full, sizeof(full), "%s%climit=500%s%s", path,
			 strchr(path, '?') ? '&' : '?', *next ? "&after=" : "",
			 *next ? escaped : "");
		curl_free(escaped);
		status = remote_call(remote, "GET", full, NULL, &page);
		if (status)
			break;
		json_array_extend(all, json_object_get(page, "items"));
		if (strict_json_string(page, "next", next, sizeof(next)))
			*next = 0;
		json_decref(page);
	} while (*next);
	if (status)
		json_decref(all);
	else
		*items = all;
	return status;
}

int remote_download(struct remote *remote, const char *path, uint8_t **bytes, size_t *byte_count)
{
	struct remote_answer answer;
	int status = remote_perform(remote, "GET", path, NULL, NULL, &answer);

	if (!status && answer.status != 200)
		status = refuse(remote, &answer);
	if (status) {
		free(answer.bytes);
		return status;
	}
	*bytes = (uint8_t *)answer.bytes;
	*byte_count = answer.byte_count;
	return CLI_OK;
}

struct upload {
	FILE *file;
	uint64_t done_bytes;
	void (*progress)(void *context, uint64_t done_bytes);
	void *context;
};

static size_t give(char *buffer, size_t size, size_t count, void *context)
{
	struct upload *upload = context;
	size_t got = fread(buffer, 1, size * count, upload->file);

	upload->done_bytes += got;
	if (upload->progress)
		upload->progress(upload->context, upload->done_bytes);
	return got;
}

static int send_part(struct remote *remote, const char *path, struct upload *upload,
		     uint64_t total_bytes, const char *sha256, struct remote_answer *answer)
{
	struct curl_slist *headers = NULL;
	char header[128];
	CURLcode result;

	memset(answer, 0, sizeof(*answer));
	set_up(remote, "PUT", path, answer, &headers, "application/octet-stream");
	snprintf(header, sizeof(header), "Bulkhead-SHA-256: %s", sha256);
	headers = curl_slist_append(headers, header);
	curl_easy_setopt(remote->curl, CURLOPT_HTTPHEADER, headers);
	curl_easy_setopt(remote->curl, CURLOPT_UPLOAD, 1L);
	curl_easy_setopt(remote->curl, CURLOPT_READFUNCTION, give);
	curl_easy_setopt(remote->curl, CURLOPT_READDATA, upload);
	curl_easy_setopt(remote->curl, CURLOPT_INFILESIZE_LARGE, (curl_off_t)total_bytes);
	result = curl_easy_perform(remote->curl);
	curl_slist_free_all(headers);
	if (result)
		return no_answer(remote, result);
	curl_easy_getinfo(remote->curl, CURLINFO_RESPONSE_CODE, &answer->status);
	return CLI_OK;
}

int remote_upload(struct remote *remote, const char *path, const char *file, const char *sha256,
		  void (*progress)(void *context, uint64_t done_bytes), void *progress_context)
{
	struct upload upload = {.progress = progress, .context = progress_context};
	struct remote_answer answer = {0};
	struct stat info;
	int status;

	upload.file = fopen(file, "re");
	if (!upload.file || fstat(fileno(upload.file), &info)) {
		status = remote_fail(remote, "%s: %s", file, strerror(errno));
		if (upload.file)
			fclose(upload.file);
		return status;
	}
	status = send_part(remote, path, &upload, (uint64_t)info.st_size, sha256, &answer);
	if (!status && (answer.status < 200 || answer.status > 299))
		status = refuse(remote, &answer);
	free(answer.bytes);
	fclose(upload.file);
	return status;
}
