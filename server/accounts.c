/* accounts.c: administrators' accounts, sessions and API tokens. Passwords are kept as Argon2id,
 * tokens as SHA-256. */
#include "server/handlers.h"
#include "server/password.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#define SESSION_SECONDS	   (12 * 3600)
#define API_TOKEN_DAYS_MAX 400
#define DAY		   86400

int accounts_login_prepare(struct request *request)
{
	json_t *row = NULL;
	int status = storage_row(request->storage, QUERY_ACCOUNT_FIND,
				 STORAGE(SV_TEXT(request_text(request, "name"))), &row);
	bool good;

	if (status && status != -ENOENT)
		return status;
	/* An unknown name costs as much time as a wrong password. */
	good = password_matches(request->server,
				row ? json_string_value(json_object_get(row, "password")) : NULL,
				request_text(request, "password")) &&
	       row && json_is_true(json_object_get(row, "active"));
	request_audit(request, request_text(request, "name"), "%s", "");
	request->device = row; /* kept for the handler; freed with the request */
	return good ? 0 : problem(request, 401, "bad-login", "the name or the password is wrong");
}

static int add_session(struct request *request, const char *account, const char *label,
		       int64_t expires, char secret[64], char id[32])
{
	uint8_t hash[32];

	request_random(secret, 32);
	request_random(id, 10);
	request_hash(secret, hash);
	return storage_run(request->storage, QUERY_SESSION_ADD,
			   STORAGE(SV_BLOB(hash, 32), SV_TEXT(id), SV_TEXT(account), SV_TEXT(label),
				   SV_INT(request->now), SV_INT(expires)));
}

int accounts_login(struct request *request)
{
	const char *name = request_text(request, "name");
	int64_t expires = request->now + SESSION_SECONDS;
	char secret[64], id[32];
	int status =
	    storage_run(request->storage, QUERY_SESSION_EXPIRE, STORAGE(SV_INT(request->now)));

	if (!status)
		status = add_session(request, name, "", expires, secret, id);
	if (status)
		return status;
	return reply_json(
	    request, 201,
	    json_pack("{s:s, s:I, s:O, s:O}", "token", secret, "expires", (json_int_t)expires,
		      "role", json_object_get(request->device, "role"), "must_change_password",
		      json_object_get(request->device, "must_change")));
}

int accounts_logout(struct request *request)
{
	uint8_t hash[32];
	int status;

	request_hash(request_header(request, "Authorization") + 7, hash);
	status = storage_run(request->storage, QUERY_SESSION_REMOVE, STORAGE(SV_BLOB(hash, 32)));
	return status ? status : reply_empty(request, 204);
}

int accounts_me(struct request *request)
{
	json_t *row;
	int status = storage_row(request->storage, QUERY_ACCOUNT_FIND,
				 STORAGE(SV_TEXT(request->account)), &row);

	if (status)
		return status;
	json_object_del(row, "password");
	return reply_json(request, 200, row);
}

int accounts_password_prepare(struct request *request)
{
	json_t *row;
	int status = storage_row(request->storage, QUERY_ACCOUNT_FIND,
				 STORAGE(SV_TEXT(request->account)), &row);
	bool good;

	if (status)
		return status;
	good =
	    password_matches(request->server, json_string_value(json_object_get(row, "password")),
			     request_text(request, "old"));
	json_decref(row);
	if (!good)
		return problem(request, 403, "bad-login", "the old password is wrong");
	return password_hash(request, request_text(request, "new"));
}

int accounts_password(struct request *request)
{
	int status = storage_run(request->storage, QUERY_ACCOUNT_PASSWORD,
				 STORAGE(SV_TEXT(request->account), SV_TEXT(request->raw)));

	/* Whoever stole an older session is out. */
	if (!status)
		status = storage_run(request->storage, QUERY_SESSION_REMOVE_ALL,
				     STORAGE(SV_TEXT(request->account)));
	request_audit(request, request->account, "%s", "");
	return status ? status : reply_empty(request, 204);
}

int accounts_list(struct request *request)
{
	const char *after = request_query(request, "after");
	json_t *rows;
	int status = storage_rows(
	    request->storage, QUERY_ACCOUNT_LIST,
	    STORAGE(SV_TEXT(after ? after : ""), SV_INT(request_limit(request))), &rows);

	return status ? status : reply_page(request, rows, "name");
}

int accounts_add_prepare(struct request *request)
{
	return password_hash(request, request_text(request, "password"));
}

int accounts_add(struct request *request)
{
	const char *name = request_text(request, "name"), *role = request_text(request, "role");
	int status = storage_run(request->storage, QUERY_ACCOUNT_ADD,
				 STORAGE(SV_TEXT(name), SV_TEXT(role), SV_TEXT(request->raw),
					 SV_INT(1), SV_INT(request->now)));

	request_audit(request, name, "role %s", role);
	return status
		   ? status
		   : reply_json(request, 201, json_pack("{s:s, s:s}", "name", name, "role", role));
}

/* Nobody could let anybody in again. */
static int keep_an_owner(struct request *request)
{
	json_t *row;
	int64_t owners;
	int status = storage_row(request->storage, QUERY_ACCOUNT_OWNERS, STORAGE_NONE, &row);

	if (status)
		return status;
	owners = json_integer_value(json_object_get(row, "owners"));
	json_decref(row);
	return owners ? 0
		      : problem(request, 409, "last-owner",
				"this is the last owner; make another one first");
}

int accounts_change(struct request *request)
{
	const json_t *active = json_object_get(request->body, "active");
	struct storage_value active_value = active ? SV_INT(json_is_true(active)) : SV_TEXT(NULL);
	int status = storage_run(request->storage, QUERY_ACCOUNT_CHANGE,
				 STORAGE(SV_TEXT(request->parameters[0]),
					 SV_TEXT(request_text(request, "role")), active_value));

	if (!status && !request->storage->changed)
		return -ENOENT;
	if (!status)
		status = keep_an_owner(request);
	if (!status && active && !json_is_true(active))
		status = storage_run(request->storage, QUERY_SESSION_REMOVE_ALL,
				     STORAGE(SV_TEXT(request->parameters[0])));
	return status ? status : reply_empty(request, 204);
}

int accounts_remove(struct request *request)
{
	int status = storage_run(request->storage, QUERY_ACCOUNT_REMOVE,
				 STORAGE(SV_TEXT(request->parameters[0])));

	if (!status && !request->storage->changed)
		return -ENOENT;
	if (!status)
		status = keep_an_owner(request);
	return status ? status : reply_empty(request, 204);
}

int accounts_tokens(struct request *request)
{
	json_t *rows;
	int status = storage_rows(request->storage, QUERY_SESSION_LIST,
				  STORAGE(SV_TEXT(request->account), SV_INT(request->now)), &rows);

	return status ? status : reply_json(request, 200, json_pack("{s:o}", "items", rows));
}

int accounts_token_add(struct request *request)
{
	int64_t days = request_integer(request, "days", 90);
	int64_t expires = request->now + days * DAY;
	char secret[64], id[32];
	int status;

	if (days < 1 || days > API_TOKEN_DAYS_MAX)
		return problem(request, 422, "bad-field", "days must be 1 to %d",
			       API_TOKEN_DAYS_MAX);
	status = add_session(request, request->account, request_text(request, "label"), expires,
			     secret, id);
	request_audit(request, request->account, "token %s", id);
	return status ? status
		      : reply_json(request, 201,
				   json_pack("{s:s, s:s, s:I}", "id", id, "token", secret,
					     "expires", (json_int_t)expires));
}

int accounts_token_remove(struct request *request)
{
	int status =
	    storage_run(request->storage, QUERY_SESSION_REMOVE_ID,
			STORAGE(SV_TEXT(request->account), SV_TEXT(request->parameters[0])));

	if (!status && !request->storage->changed)
		return -ENOENT;
	return status ? status : reply_empty(request, 204);
}
