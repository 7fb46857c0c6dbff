/*
 * remote_login.c: meeting a server for the first time. Its authority is believed only by its
 * fingerprint: given with
 * --ca, or read and confirmed by the person at the terminal; no password leaves before that.
 */
#include "remote_private.h"
#include "settings.h"
#include "trust/strict_json.h"

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static bool fingerprint(const char *pem, char text[65])
{
	BIO *bio = BIO_new_mem_buf(pem, -1);
	X509 *certificate = PEM_read_bio_X509(bio, NULL, NULL, NULL);
	unsigned int bytes = 32;
	uint8_t hash[32];
	bool good = certificate && X509_digest(certificate, EVP_sha256(), hash, &bytes);

	if (good)
		sodium_bin2hex(text, 65, hash, sizeof(hash));
	X509_free(certificate);
	BIO_free(bio);
	return good;
}

/* True if the person at the terminal says that the fingerprint is the server's. */
static bool confirm(const char *url, const char *found)
{
	char answer[8] = "";

	if (!isatty(STDIN_FILENO) || !isatty(STDERR_FILENO))
		return false;
	fprintf(stderr,
		"%s has the certificate authority\n  %s\nThe server printed it when it started. "
		"The same? [y/N] ",
		url, found);
	return fgets(answer, sizeof(answer), stdin) && (answer[0] == 'y' || answer[0] == 'Y');
}

static int meet(struct remote *remote, const char *expected)
{
	const char *ca;
	json_t *info;
	char found[65];
	int status = remote_call(remote, "GET", "/api/v1/server", NULL, &info);

	if (status)
		return status;
	ca = json_string_value(json_object_get(info, "ca"));
	if (!ca || !fingerprint(ca, found))
		status = remote_fail(remote, "%s: this is no Bulkhead server", remote_url(remote));
	else if (expected && strcmp(expected, found))
		status = remote_fail(
		    remote,
		    "%s: its certificate authority is %s, not the expected one; somebody may stand "
		    "between",
		    remote_url(remote), found);
	else if (!expected && !confirm(remote_url(remote), found))
		status = remote_fail(
		    remote,
		    "%s: not confirmed; pass --ca with the fingerprint that the server printed",
		    remote_url(remote));
	if (!status) {
		json_object_set(remote->session, "ca", json_object_get(info, "ca"));
		json_object_set_new(remote->session, "ca_sha256", json_string(found));
	}
	json_decref(info);
	return status;
}

static int save(struct remote *remote)
{
	char path[4096], *text = strict_json_write(remote->session);
	int status = text ? settings_path("session.json", path) : -1;

	if (!status)
		status = settings_write(path, text);
	free(text);
	return status ? remote_fail(remote, "%s: %s", path, strerror(-status)) : CLI_OK;
}

/* A one-time password opens only the door to a password of one's own. */
static int change_password(struct remote *remote, const char *old, const char *file,
			   const char *name)
{
	char chosen[512], again[512];
	json_t *body, *reply = NULL;
	int status = settings_secret("New password (12 characters or more)", file, chosen);

	if (status)
		return remote_fail(
		    remote, "no terminal to choose a password; pass --new-password-file FILE");
	if (!file && (settings_secret("Once more", NULL, again) || strcmp(chosen, again)))
		return remote_fail(remote, "the two differ; nothing was changed");
	body = json_pack("{s:s, s:s}", "old", old, "new", chosen);
	status = remote_call(remote, "POST", "/api/v1/me/password", body, NULL);
	json_decref(body);
	if (status)
		return status;
	body = json_pack("{s:s, s:s}", "name", name, "password", chosen);
	status = remote_call(remote, "POST", "/api/v1/sessions", body, &reply);
	json_decref(body);
	if (!status)
		json_object_set(remote->session, "token", json_object_get(reply, "token"));
	json_decref(reply);
	return status;
}

static int log_in(struct remote *remote, const struct cli_context *context)
{
	const char *name = cli_value(context, "name") ? cli_value(context, "name") : "admin";
	char password[512], prompt[128];
	json_t *body, *reply = NULL;
	int status;

	snprintf(prompt, sizeof(prompt), "Password of %s", name);
	if (settings_secret(prompt, cli_value(context, "password-file"), password))
		return remote_fail(
		    remote, "no terminal to ask for the password; pass --password-file FILE");
	body = json_pack("{s:s, s:s}", "name", name, "password", password);
	status = remote_call(remote, "POST", "/api/v1/sessions", body, &reply);
	json_decref(body);
	if (!status) {
		json_object_set(remote->session, "token", json_object_get(reply, "token"));
		json_object_set_new(remote->session, "name", json_string(name));
		if (json_is_true(json_object_get(reply, "must_change_password")))
			status = change_password(remote, password,
						 cli_value(context, "new-password-file"), name);
	}
	sodium_memzero(password, sizeof(password));
	json_decref(reply);
	return status;
}

int remote_login(const struct cli_context *context)
{
	const char *url = cli_argument(context, 0);
	struct remote *remote;
	char trimmed[256];
	int status;

	if (strncmp(url, "https://", 8) || strlen(url) >= sizeof(trimmed))
		return cli_usage(context, "%s: not https://HOST[:PORT]", url);
	if (signing_key_start())
		return cli_fail(context, "the system has no random numbers");
	snprintf(trimmed, sizeof(trimmed), "%s", url);
	while (trimmed[strlen(trimmed) - 1] == '/')
		trimmed[strlen(trimmed) - 1] = 0;
	remote = remote_new(context, json_pack("{s:s}", "url", trimmed));
	if (!remote)
		return cli_fail(context, "out of memory");
	status = meet(remote, cli_value(context, "ca"));
	if (!status)
		status = log_in(remote, context);
	if (!status)
		status = save(remote);
	if (!status)
		printf("logged in to %s as %s\n", trimmed, remote_value(remote, "name"));
	remote_close(remote);
	return status;
}
