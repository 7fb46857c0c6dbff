/*
 * enrolment.c: how a PC becomes a device: a one-time token and a certificate request in, a
 * certificate out. The same token with the same request always gives the same device, so an answer
 * that got lost costs nothing.
 */
#include "server/handlers.h"
#include "server/journal.h"
#include "trust/strict_json.h"

#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define HOUR 3600

static const char *text_of(const json_t *row, const char *key)
{
	return json_string_value(json_object_get(row, key));
}

/* Certifies the key of a device's request, or answers why not. */
static int certify(struct request *request, const char *csr, const char *device,
		   struct authority_certificate *certificate)
{
	int status = authority_certify(request->server->authority, csr, device, request->now,
				       certificate);

	if (status == -EBADMSG || status == -EKEYREJECTED)
		return problem(request, 422, "bad-csr",
			       "the certificate request must be PEM, for an EC P-256 or P-384 key, "
			       "signed by that key");
	return status;
}

/* Makes the device of an enrolment; part of the running transaction. */
static int create_device(struct request *request, const json_t *enrolment, char id[32])
{
	struct authority_certificate certificate;
	const char *user = text_of(enrolment, "user"), *group = text_of(enrolment, "scope");
	int status;

	memcpy(id, "d-", 2);
	request_random(id + 2, 10);
	status = certify(request, text_of(enrolment, "csr"), id, &certificate);
	if (status)
		return status;
	status =
	    storage_run(request->storage, QUERY_DEVICE_ADD,
			STORAGE(SV_TEXT(id), SV_TEXT(text_of(enrolment, "name")), SV_TEXT(user),
				SV_INT(request->now), SV_TEXT(text_of(enrolment, "tpm")),
				SV_TEXT(text_of(enrolment, "hardware")), SV_TEXT(certificate.pem),
				SV_BLOB(certificate.hash, 32), SV_INT(certificate.expires)));
	free(certificate.pem);
	if (!status && group && user)
		status = storage_run(request->storage, QUERY_MEMBER_ADD,
				     STORAGE(SV_TEXT(group), SV_TEXT(user)));
	if (!status)
		status = request_touch(request);
	if (!status)
		status = storage_run(
		    request->storage, QUERY_ENROLMENT_SET,
		    STORAGE(SV_TEXT(text_of(enrolment, "id")), SV_TEXT("done"), SV_TEXT(id)));
	return status;
}

static int roles_version(struct storage *storage, int64_t *version)
{
	json_t *row;
	int status = storage_row(storage, QUERY_DOCUMENT_VERSIONS, STORAGE_NONE, &row);

	if (status)
		return status;
	*version = json_integer_value(json_object_get(row, "roles"));
	json_decref(row);
	return 0;
}

/* What an enrolment has come to. */
static int answer(struct request *request, const char *enrolment, const char *device,
		  const char *state, int created)
{
	int64_t roles;
	json_t *row;
	int status;

	if (!strcmp(state, "refused"))
		return problem(request, 403, "enrolment-refused",
			       "an administrator refused this PC");
	if (!device)
		return reply_json(request, 202, json_pack("{s:s}", "enrolment", enrolment));
	status = roles_version(request->storage, &roles);
	if (!status)
		status = storage_row(request->storage, QUERY_DEVICE_CERTIFICATE_GET,
				     STORAGE(SV_TEXT(device)), &row);
	if (status)
		return status;
	status = reply_json(request, created,
			    json_pack("{s:s, s:O, s:s, s:s, s:I}", "device", device, "certificate",
				      json_object_get(row, "certificate"), "ca",
				      authority_ca(request->server->authority), "enrolment",
				      enrolment, "roles", (json_int_t)roles));
	json_decref(row);
	return status;
}

static int find_token(struct request *request, const char *secret, json_t **token)
{
	uint8_t hash[32];
	int status;

	request_hash(secret, hash);
	status = storage_row(request->storage, QUERY_TOKEN_FIND,
			     STORAGE(SV_BLOB(hash, 32), SV_INT(request->now)), token);
	return status == -ENOENT
		   ? problem(request, 401, "bad-token",
			     "this enrolment token is unknown or has expired; ask for a new one")
		   : status;
}

static int add_enrolment(struct request *request, const json_t *token, const uint8_t csr_hash[32])
{
	const json_t *hardware = json_object_get(request->body, "hardware");
	const char *tpm = request_text(request, "tpm");
	char *hardware_text = hardware ? strict_json_write(hardware) : strdup("{}");
	char id[32], device[32];
	json_t *enrolment = NULL;
	int status;

	memcpy(id, "e-", 2);
	request_random(id + 2, 10);
	status =
	    storage_run(request->storage, QUERY_TOKEN_USE, STORAGE(SV_TEXT(text_of(token, "id"))));
	if (!status && !request->storage->changed)
		status = problem(request, 401, "token-spent",
				 "this enrolment token is used up; ask for a new one");
	if (!status)
		status = storage_run(
		    request->storage, QUERY_ENROLMENT_ADD,
		    STORAGE(SV_TEXT(id), SV_TEXT(text_of(token, "id")), SV_BLOB(csr_hash, 32),
			    SV_TEXT(request_text(request, "csr")),
			    SV_TEXT(request_text(request, "name")), SV_TEXT(tpm ? tpm : "none"),
			    SV_TEXT(hardware_text), SV_TEXT("waiting"), SV_TEXT(NULL),
			    SV_INT(request->now)));
	free(hardware_text);
	if (!status)
		status = storage_row(request->storage, QUERY_ENROLMENT_GET, STORAGE(SV_TEXT(id)),
				     &enrolment);
	if (status)
		return status;
	request_audit(request, id, "%s", request_text(request, "name"));
	if (json_is_true(json_object_get(token, "approval"))) {
		status = answer(request, id, NULL, "waiting", 202);
	} else {
		status = create_device(request, enrolment, device);
		if (!status) {
			request_audit(request, device, "%s", request_text(request, "name"));
			status = answer(request, id, device, "done", 201);
		}
	}
	json_decref(enrolment);
	return status;
}

int enrolment_enrol(struct request *request)
{
	json_t *token, *earlier;
	uint8_t csr_hash[32];
	int status = find_token(request, request_text(request, "token"), &token);

	if (status)
		return status;
	request_hash(request_text(request, "csr"), csr_hash);
	status =
	    storage_row(request->storage, QUERY_ENROLMENT_FIND,
			STORAGE(SV_TEXT(text_of(token, "id")), SV_BLOB(csr_hash, 32)), &earlier);
	if (!status) {
		request_audit(request, text_of(earlier, "id"), "asked again");
		status = answer(request, text_of(earlier, "id"), text_of(earlier, "device"),
				text_of(earlier, "state"), 201);
		json_decref(earlier);
	} else if (status == -ENOENT) {
		status = add_enrolment(request, token, csr_hash);
	}
	json_decref(token);
	return status;
}

int enrolment_result(struct request *request)
{
	const char *header = request_header(request, "Authorization");
	uint8_t hash[32], kept[32];
	json_t *enrolment;
	int status;

	if (!header || strncasecmp(header, "Bearer ", 7))
		return problem(request, 401, "no-token",
			       "pass the enrolment token's secret as bearer token");
	request_hash(header + 7, hash);
	status = storage_row(request->storage, QUERY_ENROLMENT_GET,
			     STORAGE(SV_TEXT(request->parameters[0])), &enrolment);
	if (status)
		return status;
	if (strict_json_bytes(enrolment, "token_hash", kept, sizeof(kept)) ||
	    sodium_memcmp(hash, kept, sizeof(hash)))
		status =
		    problem(request, 401, "bad-token", "this enrolment began with another token");
	else
		status = answer(request, text_of(enrolment, "id"), text_of(enrolment, "device"),
				text_of(enrolment, "state"), 200);
	json_decref(enrolment);
	return status;
}

int enrolment_list(struct request *request)
{
	json_t *rows;
	int status = storage_rows(request->storage, QUERY_ENROLMENT_LIST, STORAGE_NONE, &rows);

	return status ? status : reply_json(request, 200, json_pack("{s:o}", "items", rows));
}

int enrolment_decide(struct request *request)
{
	json_t *enrolment;
	char device[32];
	int status = storage_row(request->storage, QUERY_ENROLMENT_GET,
				 STORAGE(SV_TEXT(request->parameters[0])), &enrolment);

	if (status)
		return status;
	if (strcmp(text_of(enrolment, "state"), "waiting")) {
		status =
		    problem(request, 409, "decided", "this enrolment has been decided already");
	} else if (request_boolean(request, "approve")) {
		status = create_device(request, enrolment, device);
		if (!status)
			status = reply_json(request, 200, json_pack("{s:s}", "device", device));
	} else {
		status = storage_run(
		    request->storage, QUERY_ENROLMENT_SET,
		    STORAGE(SV_TEXT(request->parameters[0]), SV_TEXT("refused"), SV_TEXT(NULL)));
		if (!status)
			status = reply_json(request, 200, json_object());
	}
	request_audit(request, request->parameters[0], "%s",
		      request_boolean(request, "approve") ? "approved" : "refused");
	json_decref(enrolment);
	return status;
}

int enrolment_tokens(struct request *request)
{
	json_t *rows;
	int status =
	    storage_rows(request->storage, QUERY_TOKEN_LIST, STORAGE(SV_INT(request->now)), &rows);

	return status ? status : reply_json(request, 200, json_pack("{s:o}", "items", rows));
}

int enrolment_token_add(struct request *request)
{
	int64_t hours = request_integer(request, "hours", 24),
		uses = request_integer(request, "uses", 1);
	int64_t expires = request->now + hours * HOUR;
	char id[32] = "t-", secret[64];
	uint8_t hash[32], pin[32];
	char pin_text[65];
	int status;

	if (!hours || !uses)
		return problem(request, 422, "bad-field", "hours and uses must be at least 1");
	request_random(id + 2, 10);
	request_random(secret, 20);
	request_hash(secret, hash);
	status = storage_run(request->storage, QUERY_TOKEN_ADD,
			     STORAGE(SV_TEXT(id), SV_BLOB(hash, 32),
				     SV_TEXT(request_text(request, "group")),
				     SV_TEXT(request_text(request, "user")), SV_INT(uses),
				     SV_INT(expires), SV_INT(request_boolean(request, "approval")),
				     SV_TEXT(request->account), SV_INT(request->now)));
	if (status)
		return status;
	authority_pin(request->server->authority, pin);
	sodium_bin2hex(pin_text, sizeof(pin_text), pin, sizeof(pin));
	request_audit(request, id, "uses %ld, hours %ld", (long)uses, (long)hours);
	return reply_json(request, 201,
			  json_pack("{s:s, s:s, s:I, s:s}", "id", id, "secret", secret, "expires",
				    (json_int_t)expires, "ca_sha256", pin_text));
}

int enrolment_token_remove(struct request *request)
{
	int status = storage_run(request->storage, QUERY_TOKEN_REMOVE,
				 STORAGE(SV_TEXT(request->parameters[0])));

	if (!status && !request->storage->changed)
		return -ENOENT;
	return status ? status : reply_empty(request, 204);
}

/* The certificate before stays good as well, or a lost answer would lock the device out. */
int enrolment_renew(struct request *request)
{
	struct authority_certificate certificate;
	int status = certify(request, request_text(request, "csr"), request_device(request),
			     &certificate);

	if (status)
		return status;
	status = storage_run(request->storage, QUERY_DEVICE_CERTIFICATE_SET,
			     STORAGE(SV_TEXT(request_device(request)), SV_TEXT(certificate.pem),
				     SV_BLOB(certificate.hash, 32), SV_INT(certificate.expires),
				     SV_INT(json_integer_value(json_object_get(request->device, "by_previous")))));
	if (!status)
		status = reply_json(request, 201,
				    json_pack("{s:s, s:s}", "certificate", certificate.pem, "ca",
					      authority_ca(request->server->authority)));
	free(certificate.pem);
	request_audit(request, request_device(request), "%s", "");
	return status;
}
