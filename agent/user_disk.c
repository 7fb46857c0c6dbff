/* A user disk's versions: see user_disk.h. */
#include "user_disk.h"

#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent_log.h"
#include "agent_sync.h"
#include "durable_file.h"

static void make_signer(const unsigned char key[32], struct signing_key *signer)
{
	unsigned char seed[crypto_sign_SEEDBYTES];

	crypto_generichash(seed, sizeof(seed), (const unsigned char *)"bulkhead user disk manifest",
			   27, key, 32);
	crypto_sign_seed_keypair(signer->public_half.bytes, signer->secret, seed);
	snprintf(signer->name, sizeof(signer->name), "disk");
	sodium_memzero(seed, sizeof(seed));
}

int user_disk_open(struct agent *agent, const char *guest, const unsigned char key[32],
		   struct user_disk *disk)
{
	char path[AGENT_PATH_MAX], part[AGENT_NAME_MAX + 32];

	snprintf(part, sizeof(part), "guests/%s/backup", guest);
	agent_path(agent, part, path);
	return user_disk_open_at(agent, path, true, key, disk);
}

int user_disk_open_at(struct agent *agent, const char *folder, bool make,
		      const unsigned char key[32], struct user_disk *disk)
{
	struct problem problem = {.line = ""};
	int result;

	memset(disk, 0, sizeof(*disk));
	result = make ? durable_file_make_directory(folder, 0700) : 0;
	if (result == 0)
		result = domain_open(key, &disk->domain);
	if (result == 0)
		result = store_open(folder, make, &disk->store, &problem);
	make_signer(key, &disk->signer);
	if (result != 0) {
		user_disk_close(disk);
		return agent_fail(agent, result, "%.300s",
				  problem.line[0] ? problem.line : strerror(-result));
	}
	return 0;
}

void user_disk_close(struct user_disk *disk)
{
	if (disk->store)
		store_close(disk->store);
	domain_forget(&disk->domain);
	signing_key_forget(&disk->signer);
	disk->store = NULL;
}

static int sign(void *context, struct dsse_envelope *envelope)
{
	return dsse_sign(envelope, &((struct user_disk *)context)->signer);
}

int user_disk_verify(void *context, const struct dsse_envelope *envelope)
{
	return dsse_verify(envelope, DSSE_TYPE_MANIFEST,
			   &((struct user_disk *)context)->signer.public_half, 1, 1);
}

static int report(void *context, uint64_t done_bytes, uint64_t total_bytes)
{
	struct agent *agent = context;

	return agent_sync_between(agent) != 0 || __atomic_load_n(&agent->rest_is_over, __ATOMIC_RELAXED);
}

int user_disk_publish(struct agent *agent, struct user_disk *disk, struct disk_reader *reader,
		      int64_t now, char version[65])
{
	struct publish_source source = disk_reader_source(reader);
	struct block_range *changes = NULL;
	uint8_t base[VERSION_ID_BYTES];
	struct problem problem = {.line = ""};
	struct publish_result published;
	struct version_row row;
	struct publish_options options = {.label = "backup",
					  .created = (uint64_t)now,
					  .threads = 1,
					  .signer = {sign, disk},
					  .progress = {report, agent}};
	int result = 0;

	if (reader->base[0] && store_unhex(reader->base, base, sizeof(base)) == 0 &&
	    store_find_version(disk->store, reader->base, &row, NULL) == 0) {
		options.base = base;
		result = disk_reader_changes(reader, &changes, &options.change_count);
		options.changes = changes;
	}
	if (result == 0)
		result = publish_version(disk->store, &disk->domain, &source, &options, &published,
					 &problem);
	free(changes);
	if (result != 0 && agent->orders_first)
		return result; /* which has been said */
	if (result != 0)
		return agent_fail(agent, result, "%.300s",
				  problem.line[0] ? problem.line : strerror(-result));
	store_hex(published.version, sizeof(published.version), version);
	agent_log(AGENT_INFO, "backup.read", "s:s, s:I, s:I, s:I", "guest", reader->guest,
		  "read_bytes", (json_int_t)published.read_bytes, "stored_bytes",
		  (json_int_t)published.stored_bytes, "changed_runs",
		  (json_int_t)options.change_count);
	return 0;
}

/** Freezes the disk and makes a version of it. From here on the changes are counted from that. */
static int back_up_once(struct agent *agent, struct user_disk *disk, const char *guest,
			const char *layer, const unsigned char key[32], char version[65],
			const char **label)
{
	struct disk_reader reader;
	int result = disk_reader_open(agent, guest, layer, key, &reader), closed;

	if (result != 0)
		return result;
	*label = reader.label;
	result = user_disk_publish(agent, disk, &reader, agent_now(agent), version);
	closed = disk_reader_close(&reader, result == 0 ? version : NULL);
	if (result == 0 && closed != 0)
		agent_fail(agent, closed, "%s: its disk went away under the backup: %s", guest,
			   strerror(-closed));
	return result ? result : closed;
}

int user_disk_back_up(struct agent *agent, struct user_disk *disk, const char *guest,
		      const char *layer, const unsigned char key[32], char version[65],
		      const char **label)
{
	int result = back_up_once(agent, disk, guest, layer, key, version, label);

	if (result == -ECANCELED && !agent->stopping && !agent->orders_first)
		result = back_up_once(agent, disk, guest, layer, key, version, label);
	return result;
}
