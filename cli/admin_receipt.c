/*
 * `bulkhead device receipts`: what proves that a device's keys are gone. The server only keeps
 * receipts; here they are checked against the attestation key that the device gave when it
 * enrolled, and against the order that two officers signed. A device without a TPM gives a receipt
 * that proves nothing, and that is what is said.
 */
#include "admin.h"
#include "admin_receipt.h"

#include "tpm_receipt.h"
#include "trust/strict_json.h"

#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What a device gives at enrolment: attestation key, base index of its vault (big endian), epoch
 * (big endian). */
#define ENROLLED_BYTES (TPM_PUBLIC_KEY_BYTES + 4 + 8)

struct enrolled {
	bool has_tpm;
	unsigned char key[TPM_PUBLIC_KEY_BYTES];
	uint32_t base_index;
	uint64_t epoch;
};

static uint64_t number(const unsigned char *bytes, int width)
{
	uint64_t value = 0;

	for (int i = 0; i < width; i++)
		value = value << 8 | bytes[i];
	return value;
}

static void read_enrolled(const json_t *device, struct enrolled *enrolled)
{
	unsigned char bytes[ENROLLED_BYTES];

	memset(enrolled, 0, sizeof(*enrolled));
	if (strict_json_bytes(device, "tpm", bytes, sizeof(bytes)) != 0)
		return;
	enrolled->has_tpm = true;
	memcpy(enrolled->key, bytes, sizeof(enrolled->key));
	enrolled->base_index = (uint32_t)number(bytes + TPM_PUBLIC_KEY_BYTES, 4);
	enrolled->epoch = number(bytes + TPM_PUBLIC_KEY_BYTES + 4, 8);
}

/** SHA-256 of the signed order, if two officers whom this administrator trusts signed it. */
static int read_order(const struct memory *memory, const json_t *command, unsigned char digest[32])
{
	json_t *order = json_object_get(command, "order");
	char *text = order ? strict_json_write(order) : NULL;
	struct dsse_envelope envelope;
	int status = text ? dsse_parse(text, strlen(text), &envelope) : -ENOENT;

	free(text);
	if (status != 0)
		return status;
	status = roles_verify(&memory->roles, ROLE_DESTRUCTION, DSSE_TYPE_ORDER, &envelope);
	roles_pin(&envelope, digest);
	dsse_release(&envelope);
	return status;
}

/** One sentence about a wipe's receipt; `*proven` says whether it proves anything. */
static const char *judge(const struct memory *memory, const struct enrolled *enrolled,
			 const json_t *command, bool *proven)
{
	const char *text = json_string_value(json_object_get(command, "receipt")), *why;
	unsigned char bytes[TPM_RECEIPT_MAX_BYTES], digest[32];
	struct tpm_receipt receipt;
	size_t size;

	*proven = false;
	if (!text || !*text)
		return "no receipt has arrived";
	if (sodium_base642bin(bytes, sizeof(bytes), text, strlen(text), NULL, &size, NULL,
			      sodium_base64_VARIANT_ORIGINAL) != 0)
		return "what the server keeps is no receipt";
	if (!enrolled->has_tpm)
		return "advisory: the device has no TPM, so nothing proves it";
	if (tpm_receipt_decode(bytes, size, &receipt) != 0)
		return "the device gave a TPM at enrolment, and this receipt is from none";
	if (read_order(memory, command, digest) != 0)
		return "the order beside it is not signed by two officers whom you trust";
	if (tpm_receipt_check(&receipt, enrolled->key, enrolled->base_index, enrolled->epoch,
			      digest, &why) != 0)
		return why;
	*proven = true;
	return "proven: the device's TPM destroyed the vault's keys for this order";
}

static int show(const struct cli_context *context, const struct memory *memory,
		const json_t *device, const json_t *commands)
{
	static const struct output_column columns[] = {{"sequence", "COMMAND", OUTPUT_NUMBER},
						       {"guest", "GUEST", OUTPUT_TEXT},
						       {"state", "STATE", OUTPUT_TEXT},
						       {"verdict", "RECEIPT", OUTPUT_TEXT}};
	struct enrolled enrolled;
	json_t *rows = json_array(), *command;
	bool all = true;
	size_t i;

	read_enrolled(device, &enrolled);
	json_array_foreach((json_t *)commands, i, command)
	{
		const char *kind = json_string_value(json_object_get(command, "kind")), *verdict;
		bool proven;

		if (!kind || strcmp(kind, "wipe") != 0)
			continue;
		verdict = judge(memory, &enrolled, command, &proven);
		all = all && proven;
		json_array_append_new(rows, json_pack("{s:O?, s:O?, s:O?, s:s, s:b}", "sequence",
						      json_object_get(command, "sequence"), "guest",
						      json_object_get(command, "guest"), "state",
						      json_object_get(command, "state"), "verdict",
						      verdict, "proven", proven));
	}
	output_rows(rows, cli_switch(context, "json"), OUTPUT_COLUMNS(columns),
		    "This device was never told to wipe.");
	return all ? CLI_OK : CLI_FAILED;
}

static int run(const struct cli_context *context)
{
	json_t *device = NULL, *commands = NULL;
	struct memory *memory;
	struct remote *remote;
	char id[65], path[160];
	int status = remote_open(context, &remote);

	if (status != CLI_OK)
		return status;
	status = remote_trust(remote, &memory);
	if (status == CLI_OK)
		status = admin_device(remote, cli_argument(context, 0), id, &device);
	if (status == CLI_OK) {
		snprintf(path, sizeof(path), "/api/v1/devices/%s/commands", id);
		status = remote_list(remote, path, &commands);
	}
	if (status == CLI_OK)
		status = show(context, memory, device, commands);
	json_decref(device);
	json_decref(commands);
	remote_close(remote);
	return status;
}

static const struct cli_option options[] = {ADMIN_JSON, {0}};

const struct cli_command admin_receipt_commands[] = {
    {"device receipts", "DEVICE", "check what proves that a device was wiped",
     "A receipt is the TPM's own signature over what it did, for one order. It is checked here, "
     "with the key that the "
     "device gave when it enrolled and with the officers whom you trust; the server cannot make "
     "one. Fails unless every "
     "wipe of the device is proven.",
     "bulkhead device receipts pc-17", options, 1, 1, run},
    {0},
};
