/* token.c: see token.h. */
#include "trust/token.h"
#include "trust/strict_json.h"

#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PREFIX "bh1-"
#define SPACE  " \t\r\n"

static int is_server(const char *url)
{
	return !strncmp(url, "https://", 8) && url[8] && strlen(url) < TOKEN_SERVER_MAX &&
	       !strpbrk(url, " \t\r\n\"'<>\\^`{|}");
}

int token_write(const struct token *token, char text[TOKEN_TEXT_MAX])
{
	json_t *root;
	char *json;
	int status = -ENOMEM;

	if (!is_server(token->server) || !strict_json_is_name(token->secret))
		return -EINVAL;
	root = json_pack("{s:s, s:o, s:o, s:I, s:s}", "server", token->server, "ca",
			 strict_json_new_hex(token->ca, 32), "roles",
			 strict_json_new_hex(token->roles, 32), "roles_version",
			 (json_int_t)token->roles_version, "secret", token->secret);
	json = root ? strict_json_write(root) : NULL;
	json_decref(root);
	if (json) {
		/* The longest fields together stay below 600 bytes of JSON, 800 of text. */
		memcpy(text, PREFIX, sizeof(PREFIX));
		sodium_bin2base64(text + strlen(PREFIX), TOKEN_TEXT_MAX - strlen(PREFIX),
				  (const uint8_t *)json, strlen(json),
				  sodium_base64_VARIANT_URLSAFE_NO_PADDING);
		status = 0;
	}
	free(json);
	return status;
}

int token_read(const char *text, struct token *token)
{
	static const char *const fields[] = {"server",	      "ca",	"roles",
					     "roles_version", "secret", NULL};
	char json[TOKEN_TEXT_MAX];
	size_t json_bytes, text_bytes;
	int64_t version;
	json_t *root;
	int status;

	memset(token, 0, sizeof(*token));
	text += strspn(text, SPACE);
	text_bytes = strcspn(text, SPACE);
	if (text[text_bytes + strspn(text + text_bytes, SPACE)] ||
	    strncmp(text, PREFIX, strlen(PREFIX)))
		return -EBADMSG;
	if (text_bytes >= TOKEN_TEXT_MAX)
		return -EMSGSIZE;
	if (sodium_base642bin((uint8_t *)json, sizeof(json), text + strlen(PREFIX),
			      text_bytes - strlen(PREFIX), NULL, &json_bytes, NULL,
			      sodium_base64_VARIANT_URLSAFE_NO_PADDING))
		return -EBADMSG;
	status = strict_json_parse(json, json_bytes, sizeof(json), &root);
	if (status)
		return status;
	if (!strict_json_only_keys(root, fields) ||
	    strict_json_string(root, "server", token->server, sizeof(token->server)) ||
	    !is_server(token->server) || strict_json_hex(root, "ca", token->ca, 32) ||
	    strict_json_hex(root, "roles", token->roles, 32) ||
	    strict_json_integer(root, "roles_version", 1, INT64_MAX, &version) ||
	    strict_json_string(root, "secret", token->secret, sizeof(token->secret)) ||
	    !strict_json_is_name(token->secret))
		status = -EBADMSG;
	else
		token->roles_version = (uint64_t)version;
	json_decref(root);
	return status;
}
