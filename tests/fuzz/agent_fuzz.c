/*
 * Everything the agent and the vault read that somebody else wrote and that is small: the first
 * byte says which parser gets the rest. The vault's calls are served from a real vault in files, so
 * that whatever a message asks for is done.
 */
#include <sodium.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "agent_config.h"
#include "fixture.h"
#include "keyd_serve.h"
#include "phrase.h"
#include "tpm_receipt.h"
#include "trust/token.h"
#include "vault_content.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct vault *vault;
static char directory[64];

static void remove_directory(void)
{
	vault_close(vault);
	fixture_remove(directory);
}

static void open_vault(void)
{
	struct vault_backend *backend;
	char error[320];

	if (sodium_init() < 0 || signing_key_start() != 0)
		abort();
	fixture_directory(directory);
	if (vault_file_open(directory, NULL, &backend, error, sizeof(error)) != 0 ||
	    vault_open(directory, VAULT_OF_USER, backend, &vault, error, sizeof(error)) != 0)
		abort();
	vault_set_phrase_cost(vault, KEY_COPY_COST_LEAST);
	atexit(remove_directory);
}

/** The header is put right, so that the fields are reached. */
static void serve(const uint8_t *data, size_t size)
{
	static const struct keyd_access access = {1, 2};
	static const struct bulkhead_measurement measurement = {.is_sealed = 1};
	const struct keyd_peer peer = {1, size & 1 ? &measurement : NULL};
	static unsigned char bytes[KEYD_MESSAGE_MAX_BYTES];
	static struct keyd_writer answer;
	struct keyd_message message;
	struct keyd_header header = {KEYD_MAGIC, KEYD_VERSION, 0, 0, 0};

	if (size < 1 || size > 4096)
		return;
	header.call = data[0] % 7;
	header.length_bytes = (uint32_t)size - 1;
	memcpy(bytes, &header, sizeof(header));
	memcpy(bytes + sizeof(header), data + 1, size - 1);
	/* A wipe writes a file; often enough is often enough. */
	if (header.call == KEYD_WIPE && data[size - 1] != 7)
		return;
	keyd_serve(vault, &access, &peer, bytes, sizeof(header) + size - 1, &answer);
	if (keyd_wire_parse(answer.bytes, answer.size_bytes, &message) != 0)
		abort();
}

static void parse_content(const char *text, size_t size)
{
	struct vault_content content;

	if (vault_content_parse(text, size, &content) == 0)
		vault_content_release(&content);
}

static void parse_config(const char *text, size_t size)
{
	struct agent_config config;
	char error[160];

	if (agent_config_parse(text, size, &config, error, sizeof(error)) == 0)
		agent_config_release(&config);
}

static void parse_receipt(const uint8_t *data, size_t size)
{
	static const unsigned char nothing[TPM_PUBLIC_KEY_BYTES];
	struct tpm_receipt receipt;
	const char *why;

	if (tpm_receipt_decode(data, size, &receipt) == 0 &&
	    tpm_receipt_check(&receipt, receipt.attestation_key, receipt.epoch_index, 0, nothing,
			      &why) == 0)
		abort(); /* nobody forges a TPM's signature by chance */
}

static void parse_words(const char *text, size_t size)
{
	unsigned char entropy[PHRASE_ENTROPY_BYTES];
	char *copy = strndup(text, size);
	struct token token;
	int wrong;

	phrase_read(text, size, entropy, &wrong);
	if (copy)
		token_read(copy, &token);
	free(copy);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (!vault)
		open_vault();
	if (size < 1)
		return 0;
	switch (data[0] % 5) {
	case 0:
		serve(data + 1, size - 1);
		break;
	case 1:
		parse_content((const char *)data + 1, size - 1);
		break;
	case 2:
		parse_config((const char *)data + 1, size - 1);
		break;
	case 3:
		parse_receipt(data + 1, size - 1);
		break;
	default:
		parse_words((const char *)data + 1, size - 1);
	}
	return 0;
}
