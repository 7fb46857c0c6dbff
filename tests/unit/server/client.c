/* client.c: see client.h. */
#include "client.h"

#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

void client_open(struct client *client, int port, const char *ca)
{
	memset(client, 0, sizeof(*client));
	client->curl = curl_easy_init();
	client->port = port;
	client->ca = ca;
}

void client_close(struct client *client)
{
	if (client->curl)
		curl_easy_cleanup(client->curl);
	free(client->certificate);
	free(client->key);
	free(client->body);
	memset(client, 0, sizeof(*client));
}

static size_t take_body(char *data, size_t size, size_t count, void *context)
{
	struct client *client = context;
	char *larger = realloc(client->body, client->body_bytes + size * count + 1);

	if (!larger)
		return 0;
	memcpy(larger + client->body_bytes, data, size * count);
	client->body = larger;
	client->body_bytes += size * count;
	client->body[client->body_bytes] = 0;
	return size * count;
}

static size_t take_header(char *data, size_t size, size_t count, void *context)
{
	struct client *client = context;
	size_t used = strlen(client->headers);

	if (used + size * count < sizeof(client->headers))
		memcpy(client->headers + used, data, size * count);
	return size * count;
}

static void set_tls(struct client *client)
{
	struct curl_blob ca = {(void *)client->ca, strlen(client->ca), CURL_BLOB_COPY};
	struct curl_blob blob = {NULL, 0, CURL_BLOB_COPY};

	curl_easy_setopt(client->curl, CURLOPT_CAINFO_BLOB, &ca);
	if (!client->certificate)
		return;
	blob.data = client->certificate;
	blob.len = strlen(client->certificate);
	curl_easy_setopt(client->curl, CURLOPT_SSLCERT_BLOB, &blob);
	blob.data = client->key;
	blob.len = strlen(client->key);
	curl_easy_setopt(client->curl, CURLOPT_SSLKEY_BLOB, &blob);
}

long client_send(struct client *client, const char *method, const char *path, const void *bytes,
		 size_t byte_count, const char *extra, const char *more)
{
	struct curl_slist *headers = curl_slist_append(NULL, "Expect:");
	char url[1024], authorization[200];

	free(client->body);
	client->body = NULL;
	client->body_bytes = 0;
	client->status = 0;
	memset(client->headers, 0, sizeof(client->headers));
	curl_easy_reset(client->curl);
	snprintf(url, sizeof(url), "https://127.0.0.1:%d%s", client->port, path);
	curl_easy_setopt(client->curl, CURLOPT_URL, url);
	curl_easy_setopt(client->curl, CURLOPT_CUSTOMREQUEST, method);
	curl_easy_setopt(client->curl, CURLOPT_TIMEOUT, 60L);
	curl_easy_setopt(client->curl, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(client->curl, CURLOPT_FORBID_REUSE, client->keep_connection ? 0L : 1L);
	curl_easy_setopt(client->curl, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_3);
	curl_easy_setopt(client->curl, CURLOPT_WRITEFUNCTION, take_body);
	curl_easy_setopt(client->curl, CURLOPT_WRITEDATA, client);
	curl_easy_setopt(client->curl, CURLOPT_HEADERFUNCTION, take_header);
	curl_easy_setopt(client->curl, CURLOPT_HEADERDATA, client);
	set_tls(client);
	if (!strcmp(method, "HEAD"))
		curl_easy_setopt(client->curl, CURLOPT_NOBODY, 1L);
	if (*client->token) {
		snprintf(authorization, sizeof(authorization), "Authorization: Bearer %s",
			 client->token);
		headers = curl_slist_append(headers, authorization);
	}
	if (extra)
		headers = curl_slist_append(headers, extra);
	if (more)
		headers = curl_slist_append(headers, more);
	if (bytes) {
		curl_easy_setopt(client->curl, CURLOPT_POSTFIELDS, bytes);
		curl_easy_setopt(client->curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)byte_count);
	}
	curl_easy_setopt(client->curl, CURLOPT_HTTPHEADER, headers);
	if (!curl_easy_perform(client->curl))
		curl_easy_getinfo(client->curl, CURLINFO_RESPONSE_CODE, &client->status);
	curl_slist_free_all(headers);
	return client->status;
}

long client_call(struct client *client, const char *method, const char *path, const char *body,
		 const char *extra)
{
	if (!body && strcmp(method, "GET") && strcmp(method, "HEAD"))
		body = "";
	return client_send(client, method, path, body, body ? strlen(body) : 0, extra, NULL);
}

json_t *client_json(const struct client *client)
{
	return client->body ? json_loads(client->body, 0, NULL) : NULL;
}

const char *client_text(const struct client *client, const char *key, char *out)
{
	json_t *root = client_json(client);
	const char *text = json_string_value(json_object_get(root, key));

	snprintf(out, 512, "%s", text ? text : "");
	json_decref(root);
	return out;
}

long long client_number(const struct client *client, const char *key)
{
	json_t *root = client_json(client), *value = json_object_get(root, key);
	long long number = json_is_integer(value) ? json_integer_value(value) : -1;

	json_decref(root);
	return number;
}

const char *client_header(const struct client *client, const char *name, char *out)
{
	const char *line = client->headers;
	size_t length = strlen(name);

	*out = 0;
	while (line && *line) {
		if (!strncasecmp(line, name, length) && line[length] == ':') {
			line += length + 1;
			line += strspn(line, " ");
			snprintf(out, 512, "%.*s", (int)strcspn(line, "\r\n"), line);
			break;
		}
		line = strchr(line, '\n');
		line = line ? line + 1 : NULL;
	}
	return out;
}

const char *client_problem(const struct client *client, char *out)
{
	char type[512];

	client_text(client, "type", type);
	snprintf(out, 512, "%s", strrchr(type, ':') ? strrchr(type, ':') + 1 : "");
	return out;
}

static char *bio_text(BIO *bio)
{
	char *data, *text;
	long bytes = BIO_get_mem_data(bio, &data);

	text = strndup(data, (size_t)bytes);
	BIO_free(bio);
	return text;
}

void client_request(char **key, char **csr)
{
	EVP_PKEY *made = EVP_EC_gen("P-256");
	X509_REQ *request = X509_REQ_new();
	BIO *bio = BIO_new(BIO_s_mem());

	PEM_write_bio_PrivateKey(bio, made, NULL, NULL, 0, NULL, NULL);
	*key = bio_text(bio);
	X509_REQ_set_pubkey(request, made);
	X509_REQ_sign(request, made, EVP_sha256());
	bio = BIO_new(BIO_s_mem());
	PEM_write_bio_X509_REQ(bio, request);
	*csr = bio_text(bio);
	X509_REQ_free(request);
	EVP_PKEY_free(made);
}

long client_enrol(struct client *client, const char *secret, const char *name)
{
	json_t *body, *reply;
	char *csr, *text;
	long status;

	client_request(&client->key, &csr);
	body = json_pack("{s:s, s:s, s:s}", "token", secret, "csr", csr, "name", name);
	text = json_dumps(body, 0);
	status = client_call(client, "POST", "/api/v1/enrol", text, NULL);
	if (status == 201) {
		reply = client_json(client);
		client->certificate =
		    strdup(json_string_value(json_object_get(reply, "certificate")));
		snprintf(client->device, sizeof(client->device), "%s",
			 json_string_value(json_object_get(reply, "device")));
		json_decref(reply);
	}
	json_decref(body);
	free(text);
	free(csr);
	return status;
}
