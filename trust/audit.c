/* audit.c: see audit.h. */
#include "trust/audit.h"
#include "trust/document.h"
#include "trust/strict_json.h"

#include <errno.h>
#include <inttypes.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int audit_append(struct audit_head *head, const struct audit_entry *entry, char **text)
{
	json_t *root = json_pack("{s:I, s:I, s:s, s:s, s:s, s:s, s:s, s:o}", "sequence",
				 (json_int_t)head->sequence + 1, "time", (json_int_t)entry->time,
				 "actor", entry->actor, "action", entry->action, "object",
				 entry->object, "result", entry->result, "detail", entry->detail,
				 "previous", strict_json_new_hex(head->hash, sizeof(head->hash)));

	if (!root)
		return -EBADMSG;
	*text = strict_json_write(root);
	json_decref(root);
	if (!*text)
		return -ENOMEM;
	crypto_hash_sha256(head->hash, (const uint8_t *)*text, strlen(*text));
	head->sequence++;
	return 0;
}

int audit_follow(struct audit_head *head, const char *text, size_t text_bytes)
{
	static const char *const fields[] = {"sequence", "time",   "actor",    "action", "object",
					     "result",	 "detail", "previous", NULL};
	uint8_t previous[32];
	int64_t sequence;
	char *canonical;
	json_t *root;
	int status = strict_json_parse(text, text_bytes, 65536, &root);

	if (status)
		return -EBADMSG;
	canonical = strict_json_write(root);
	status = -EBADMSG;
	/* One spelling only: otherwise two texts could share an entry's meaning and differ in hash.
	 */
	if (canonical && strlen(canonical) == text_bytes && !memcmp(canonical, text, text_bytes) &&
	    strict_json_only_keys(root, fields) &&
	    !strict_json_integer(root, "sequence", 1, INT64_MAX, &sequence) &&
	    !strict_json_hex(root, "previous", previous, sizeof(previous)))
		status = 0;
	json_decref(root);
	free(canonical);
	if (status)
		return status;
	if ((uint64_t)sequence != head->sequence + 1 || sodium_memcmp(previous, head->hash, 32))
		return -ESTALE;
	crypto_hash_sha256(head->hash, (const uint8_t *)text, text_bytes);
	head->sequence = (uint64_t)sequence;
	return 0;
}

int audit_compare(const struct audit_head *witnessed, const struct audit_head *found)
{
	return witnessed->sequence == found->sequence &&
		       !sodium_memcmp(witnessed->hash, found->hash, 32)
		   ? 0
		   : -ESTALE;
}

static int head_envelope(const struct audit_head *head, struct dsse_envelope *envelope)
{
	char hash[65], payload[AUDIT_HEAD_TEXT_MAX];

	sodium_bin2hex(hash, sizeof(hash), head->hash, sizeof(head->hash));
	snprintf(payload, sizeof(payload),
		 "{\"hash\":\"%s\",\"sequence\":%" PRIu64 ",\"type\":\"audit-head\"}", hash,
		 head->sequence);
	return dsse_new(envelope, DSSE_TYPE_HEAD, payload, strlen(payload));
}

void audit_head_write(const struct audit_head *head, char text[AUDIT_HEAD_TEXT_MAX])
{
	char hash[65];

	sodium_bin2hex(hash, sizeof(hash), head->hash, sizeof(head->hash));
	snprintf(text, AUDIT_HEAD_TEXT_MAX, "%" PRIu64 ":%s", head->sequence, hash);
}

int audit_head_sign(const struct audit_head *head, const struct signing_key *key,
		    char text[AUDIT_HEAD_TEXT_MAX])
{
	char signature[128], key_id[SIGNING_KEY_ID_TEXT];
	struct dsse_envelope envelope;
	int status = head_envelope(head, &envelope);

	if (!status)
		status = dsse_sign(&envelope, key);
	if (!status) {
		signing_key_id_text(&key->public_half, key_id);
		sodium_bin2base64(signature, sizeof(signature), envelope.signatures[0].bytes, 64,
				  sodium_base64_VARIANT_ORIGINAL);
		audit_head_write(head, text);
		snprintf(text + strlen(text), AUDIT_HEAD_TEXT_MAX - strlen(text), ":%s:%s", key_id,
			 signature);
	}
	dsse_release(&envelope);
	return status;
}

static int read_hex(const char *text, uint8_t out[32])
{
	size_t decoded;

	return strspn(text, "0123456789abcdef") < 64 ||
		       sodium_hex2bin(out, 32, text, 64, NULL, &decoded, NULL) || decoded != 32
		   ? -EBADMSG
		   : 0;
}

int audit_head_read(const char *text, struct audit_head *head)
{
	char *end;

	memset(head, 0, sizeof(*head));
	if (*text < '0' || *text > '9')
		return -EBADMSG;
	errno = 0;
	head->sequence = strtoull(text, &end, 10);
	if (errno || head->sequence > INT64_MAX || *end != ':' || read_hex(end + 1, head->hash))
		return -EBADMSG;
	return end[65] == ':' || !end[65] ? 0 : -EBADMSG;
}

int audit_head_verify(const char *text, const struct roles *roles, struct audit_head *head)
{
	struct dsse_envelope envelope;
	const char *rest;
	size_t decoded;
	int status;

	if (strlen(text) >= AUDIT_HEAD_TEXT_MAX || audit_head_read(text, head))
		return -EBADMSG;
	rest = strchr(text, ':') + 65;
	status = head_envelope(head, &envelope);
	if (status)
		return status;
	status = -EBADMSG;
	if (*rest == ':' && !read_hex(rest + 1, envelope.signatures[0].key_id) && rest[65] == ':' &&
	    !sodium_base642bin(envelope.signatures[0].bytes, 64, rest + 66, strlen(rest + 66), NULL,
			       &decoded, NULL, sodium_base64_VARIANT_ORIGINAL) &&
	    decoded == 64) {
		envelope.signature_count = 1;
		status = roles_verify(roles, ROLE_SERVER, DSSE_TYPE_HEAD, &envelope);
	}
	dsse_release(&envelope);
	return status;
}
