/*
 * Backups and restores of user disks. A backup is a frozen moment (disk_reader.h), a version in
 * this PC's own store (user_disk.h: only what changed is read, only what is new is kept and sent),
 * and its appearance at the server (disk_transfer.h). A restore goes the other way, and ends with
 * this PC becoming the writer and one rename.
 */
#include "agent_backup.h"

#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "agent_disks.h"
#include "agent_guest.h"
#include "agent_keys.h"
#include "agent_log.h"
#include "agent_policy.h"
#include "disk_transfer.h"
#include "durable_file.h"
#include "file_restore.h"
#include "trust/strict_json.h"
#include "user_disk.h"
#include "user_disk_fetch.h"

static int release_key(struct agent *agent, const struct agent_disk_row *row, unsigned char key[32])
{
	char name[2 * AGENT_DISK_MAX],
	    error[256] = "its key is not on this PC; restore it with a recovery phrase";
	struct agent_blob blob;
	int result;

	agent_disks_user_key(row, name);
	result = agent_database_key_get(agent->database, name, &blob);
	if (result == 0)
		result = agent_keys_release(agent->config.keyd, name, &blob, false, NULL, key, error);
	return result == 0 ? 0 : agent_fail(agent, result, "%s: %s", row->guest, error);
}

static int base64_of(const struct key_copy *copy, char **text)
{
	size_t room = sodium_base64_encoded_len(copy->size_bytes, sodium_base64_VARIANT_ORIGINAL);

	*text = copy->size_bytes > 0 ? malloc(room) : NULL;
	if (*text)
		sodium_bin2base64(*text, room, copy->bytes, copy->size_bytes,
				  sodium_base64_VARIANT_ORIGINAL);
	return *text || copy->size_bytes == 0 ? 0 : -ENOMEM;
}

/** Both copies travel together: the server's newest set is the whole set. */
static int send_copies(struct agent *agent, const struct agent_disk_row *row, const char *phrase)
{
	struct agent_key_copies copies = {.recipients = agent->memory.roles.recovery[0],
					  .recipient_count = agent->memory.roles.recovery_count,
					  .phrase = phrase};
	char name[2 * AGENT_DISK_MAX], error[256] = "its key is not on this PC", *for_phrase = NULL,
				       *for_company = NULL;
	struct agent_key_source source = {.blob = NULL};
	struct agent_blob blob, again;
	int result;

	if (!phrase && copies.recipient_count == 0)
		return 0;
	agent_disks_user_key(row, name);
	result = agent_database_key_get(agent->database, name, &blob);
	source.blob = &blob;
	if (result == 0)
		result = agent_keys_seal(agent->config.keyd, name, &source, &copies, &again, error);
	if (result != 0)
		return agent_fail(agent, result, "%s: %s", row->guest, error);
	result = base64_of(&copies.for_phrase, &for_phrase);
	if (result == 0)
		result = base64_of(&copies.for_recipients, &for_company);
	if (result == 0)
		result = disk_transfer_put_copies(agent, row->disk, for_phrase, for_company);
	free(for_phrase);
	free(for_company);
	return result;
}

/** The row of the guest's disk, registered at the server. */
static int registered_row(struct agent *agent, const char *guest, struct agent_disk_row *row)
{
	int result = agent_disks_user_row(agent, guest, row, agent->error);

	if (result == 0 && row->epoch == 0)
		result = disk_transfer_register(agent, row);
	return result == 0 && agent_database_disk_put(agent->database, row) != 0 ? -EIO : result;
}

int agent_backup_send_copies(struct agent *agent, const char *guest, const char *phrase)
{
	struct agent_disk_row row;
	int result;

	if (!agent->http)
		return agent_fail(agent, -ENOTCONN, "the server was not reached yet");
	result = registered_row(agent, guest, &row);
	return result == 0 ? send_copies(agent, &row, phrase) : result;
}

/** What the server made of the backup, kept in one statement. */
static int note_backup(struct agent *agent, struct agent_disk_row *row, uint64_t number, bool side,
		       const char *label, const char *version)
{
	if (side)
		agent_log(AGENT_WARNING, "backup.side_branch", "s:s, s:s", "guest", row->guest,
			  "detail",
			  "another PC writes this disk now; what is backed up here is kept aside "
			  "and overwrites nothing");
	row->newest = number;
	row->last_backup = agent_now(agent);
	snprintf(row->label, sizeof(row->label), "%s", label);
	snprintf(row->version, sizeof(row->version), "%s", version);
	return agent_database_disk_put(agent->database, row) == 0
		   ? 0
		   : agent_fail(agent, -EIO, "%s", agent_database_error(agent->database));
}

static int publish(struct agent *agent, const struct agent_disk_row *row, char version[65],
		   const char **label, struct user_disk *disk)
{
	unsigned char key[32];
	int result = release_key(agent, row, key);

	if (result == 0)
		result = user_disk_open(agent, row->guest, key, disk);
	if (result == 0) {
		result = user_disk_back_up(agent, disk, row->guest, "user", key, version, label);
		if (result != 0)
			user_disk_close(disk);
	}
	sodium_memzero(key, sizeof(key));
	return result;
}

static int back_up(struct agent *agent, const char *guest)
{
	struct agent_disk_row row;
	const char *label = "";
	struct user_disk disk;
	char version[65];
	uint64_t number;
	bool side;
	int result = registered_row(agent, guest, &row);

	if (result != 0)
		return result;
	if (!row.copies_sent) {
		result = send_copies(agent, &row, NULL);
		row.copies_sent = result == 0;
	}
	if (result == 0)
		result = publish(agent, &row, version, &label, &disk);
	if (result != 0)
		return result;
	result = disk_transfer_send(agent, &disk, &row, version, label, &number, &side);
	if (result == 0)
		result = note_backup(agent, &row, number, side, label, version);
	user_disk_close(&disk);
	if (result == 0)
		agent_log(AGENT_INFO, "backup.done", "s:s, s:I, s:s", "guest", guest, "number",
			  (json_int_t)number, "label", label);
	return result;
}

static int back_up_if_due(void *context, const struct agent_guest_row *guest)
{
	struct agent *agent = context;
	int64_t interval = agent->effective.values[POLICY_BACKUP_MINUTES].number * 60;
	struct agent_disk_row row;

	if (interval == 0 || !agent_disks_has_user(agent, guest->name) ||
	    !agent_policy_in_window(agent->effective.values[POLICY_BACKUP_WINDOW].text, time(NULL)))
		return 0;
	if (agent_database_disk_get(agent->database, guest->name, &row) == 0 &&
	    agent_now(agent) - row.last_backup < interval)
		return 0;
	return back_up(agent, guest->name);
}

int agent_backup_run(struct agent *agent, const char *guest)
{
	if (!agent->http)
		return agent_fail(agent, -ENOTCONN, "the server was not reached yet");
	if (!guest)
		return agent_database_guests(agent->database, back_up_if_due, agent);
	if (!agent_disks_has_user(agent, guest))
		return agent_fail(agent, -ENOENT, "%s: it has no data yet; start it first", guest);
	return back_up(agent, guest);
}

/** Seals the server's copy of a disk's key for this PC's vault; `source` says what opens it. */
static int take_copy(struct agent *agent, const struct agent_disk_row *row, const char *name,
		     const char *kind, struct agent_key_source source)
{
	struct key_copy copy;
	struct agent_blob blob;
	char error[256];
	int result = disk_transfer_get_copy(agent, row->disk, kind, &copy);

	if (result != 0)
		return result;
	source.copy = copy.bytes;
	source.copy_bytes = copy.size_bytes;
	result = agent_keys_seal(agent->config.keyd, name, &source, NULL, &blob, error);
	if (result != 0)
		return agent_fail(agent, result, "%s", error);
	return agent_database_key_put(agent->database, name, &blob) == 0
		   ? 0
		   : agent_fail(agent, -EIO, "%s", agent_database_error(agent->database));
}

/** Has the key in the vault: it is there, or the phrase opens the server's copy. */
static int have_key(struct agent *agent, const struct agent_disk_row *row, const char *phrase)
{
	char name[2 * AGENT_DISK_MAX];

	if (!phrase)
		return 0;
	agent_disks_user_key(row, name);
	return take_copy(agent, row, name, "phrase", (struct agent_key_source){.phrase = phrase});
}

/** This PC has the key: sealed to whom the order names, the copy goes to the server. */
static int give_key(struct agent *agent, const struct agent_disk_row *row, const char *name,
		    const char *order)
{
	struct agent_key_source source = {.order = order};
	struct agent_key_copies copies = {.phrase = NULL};
	struct agent_blob blob, again;
	char error[256] = "its key is not on this PC", *copy = NULL;
	int result = agent_database_key_get(agent->database, name, &blob);

	source.blob = &blob;
	if (result == 0)
		result = agent_keys_seal(agent->config.keyd, name, &source, &copies, &again, error);
	if (result != 0)
		return agent_fail(agent, result, "%s: %s", row->disk, error);
	result = base64_of(&copies.for_recipients, &copy);
	if (result == 0)
		result = disk_transfer_put_released(agent, row->disk, copy);
	free(copy);
	return result;
}

/** The order names this PC's vault: it takes the copy in. */
static int take_key(struct agent *agent, const struct agent_disk_row *row, const char *name,
		    const char *order)
{
	return take_copy(agent, row, name, "released", (struct agent_key_source){.order = order});
}

/** Whether the order's recipient is this PC's own vault. */
static int names_us(struct agent *agent, const struct order *order, bool *us)
{
	unsigned char own[32];
	json_t *vault;
	char error[256];
	int result = agent_keys_state(agent->config.keyd, &vault, error);

	if (result != 0)
		return agent_fail(agent, result, "%s", error);
	*us = strict_json_bytes(vault, "exchange_key", own, sizeof(own)) == 0 &&
	      memcmp(own, order->recipient, sizeof(own)) == 0;
	json_decref(vault);
	return 0;
}

int agent_backup_obey_release(struct agent *agent, const char *order_text)
{
	char name[2 * AGENT_DISK_MAX];
	struct agent_disk_row row = {.guest = ""};
	struct dsse_envelope envelope;
	struct order order;
	const char *dot = NULL;
	bool us = false;
	int result = dsse_parse(order_text, strlen(order_text), &envelope);

	/* Read only to know what to ask the vault for; the vault checks the order itself. */
	if (result == 0) {
		result = order_read(envelope.payload, envelope.payload_bytes, &order);
		dsse_release(&envelope);
	}
	if (result == 0)
		dot = strrchr(order.disk, '.');
	if (!dot)
		return agent_fail(agent, -EBADMSG, "the order names no disk of this kind");
	snprintf(row.guest, sizeof(row.guest), "%s", dot + 1);
	snprintf(row.disk, sizeof(row.disk), "%s", order.disk);
	agent_disks_user_key(&row, name);
	result = names_us(agent, &order, &us);
	if (result != 0)
		return result;
	return us ? take_key(agent, &row, name, order_text)
		  : give_key(agent, &row, name, order_text);
}

/** What it takes to bring blocks of a backup: its key, the disk with its store, its manifest. */
struct open_backup {
	unsigned char key[32];
	struct user_disk disk;
	char *envelope;
};

static void close_backup(struct open_backup *backup)
{
	user_disk_close(&backup->disk);
	sodium_memzero(backup->key, sizeof(backup->key));
	free(backup->envelope);
}

/** Opens a backup; what is open must be closed. 0 or a negative errno with nothing left open. */
static int open_backup(struct agent *agent, const struct agent_disk_row *row, uint64_t number,
		       struct open_backup *backup)
{
	int result = release_key(agent, row, backup->key);

	backup->envelope = NULL;
	if (result == 0)
		result = disk_transfer_manifest(agent, row->disk, number, &backup->envelope);
	if (result == 0)
		result = user_disk_open(agent, row->guest, backup->key, &backup->disk);
	if (result != 0) {
		sodium_memzero(backup->key, sizeof(backup->key));
		free(backup->envelope);
	}
	return result;
}

/** Brings the backup's blocks into a plain file or, if that is -1, into the layer "restored". */
static int bring(struct agent *agent, const struct agent_disk_row *row, uint64_t number,
		 const char *folder, int file, char version[65])
{
	struct open_backup backup;
	struct user_disk_target target = {
	    .file = file, .folder = folder, .layer = "restored", .label = "user", .key = backup.key};
	int result = open_backup(agent, row, number, &backup);

	if (result != 0)
		return result;
	result = user_disk_fetch(agent, &backup.disk, row->disk, backup.envelope, &target, version);
	close_backup(&backup);
	return result;
}

/** Brings one file of a backup. */
static int bring_file(struct agent *agent, const struct agent_disk_row *row, uint64_t number,
		      const char *path, int file)
{
	struct open_backup backup;
	int result = open_backup(agent, row, number, &backup);

	if (result != 0)
		return result;
	result = file_restore(agent, &backup.disk, row->disk, backup.envelope, path, file);
	close_backup(&backup);
	return result;
}

/** The restored layer and the guest's change places in one step; the old one is removed then. */
static int swap_layers(struct agent *agent, const char *folder)
{
	char restored[AGENT_PATH_MAX + 16], user[AGENT_PATH_MAX + 16];
	int result;

	snprintf(restored, sizeof(restored), "%s/restored", folder);
	snprintf(user, sizeof(user), "%s/user", folder);
	if (renameat2(AT_FDCWD, restored, AT_FDCWD, user, RENAME_EXCHANGE) != 0 &&
	    (errno != ENOENT || rename(restored, user) != 0))
		return agent_fail(agent, -errno, "%s: %s", user, strerror(errno));
	result = durable_file_sync_directory(user);
	if (result == 0)
		result = agent_disks_remove_layer(restored);
	return result == 0 ? 0 : agent_fail(agent, result, "%s: %s", user, strerror(-result));
}

/** The restored disk takes the guest's place, and this PC is its writer. */
static int replace(struct agent *agent, struct agent_disk_row *row, uint64_t number, uint64_t epoch,
		   const char *folder, const char *version)
{
	int result = disk_transfer_become_writer(agent, row->disk, &epoch);

	if (result == 0)
		result = swap_layers(agent, folder);
	if (result != 0)
		return result;
	row->epoch = epoch;
	row->newest = number;
	row->last_backup = agent_now(agent);
	snprintf(row->label, sizeof(row->label), "restored");
	snprintf(row->version, sizeof(row->version), "%s", version);
	if (agent_database_disk_put(agent->database, row) != 0)
		return agent_fail(agent, -EIO, "%s", agent_database_error(agent->database));
	agent_log(AGENT_INFO, "restored", "s:s, s:I, s:I", "guest", row->guest, "number",
		  (json_int_t)number, "epoch", (json_int_t)epoch);
	return 0;
}

/** Nobody starts the guest while its disk is replaced. */
static int take_rest(struct agent *agent, const char *guest)
{
	bool runs;

	pthread_mutex_lock(&agent->lock);
	runs = agent_guest_running(agent, guest) != NULL;
	if (!runs) {
		snprintf(agent->resting, sizeof(agent->resting), "%s", guest);
		agent->resting_to_be_replaced = true;
	}
	pthread_mutex_unlock(&agent->lock);
	return runs ? agent_fail(agent, -EBUSY, "%s runs; stop it first", guest) : 0;
}

static void end_rest(struct agent *agent)
{
	pthread_mutex_lock(&agent->lock);
	agent->resting[0] = '\0';
	agent->resting_to_be_replaced = false;
	pthread_cond_broadcast(&agent->worked);
	pthread_mutex_unlock(&agent->lock);
}

static int bring_and_replace(struct agent *agent, struct agent_disk_row *row, uint64_t number,
			     uint64_t epoch)
{
	char folder[AGENT_PATH_MAX], version[65];
	int result = take_rest(agent, row->guest);

	if (result != 0)
		return result;
	agent_disks_state(agent, row->guest, folder);
	result = durable_file_make_directory(folder, 0700);
	if (result != 0)
		agent_fail(agent, result, "%s: %s", folder, strerror(-result));
	if (result == 0)
		result = bring(agent, row, number, folder, -1, version);
	if (result == 0)
		result = replace(agent, row, number, epoch, folder, version);
	end_rest(agent);
	return result;
}

int agent_backup_restore(struct agent *agent, const struct agent_restore *restore)
{
	struct agent_disk_row row;
	uint64_t number = 0, epoch = 0;
	char version[65];
	int result;

	if (!agent->http)
		return agent_fail(agent, -ENOTCONN, "the server was not reached yet");
	result = agent_disks_user_row(agent, restore->guest, &row, agent->error);
	if (result == 0 && restore->disk)
		snprintf(row.disk, sizeof(row.disk), "%s", restore->disk);
	if (result == 0)
		result = disk_transfer_newest(agent, row.disk, &number, &epoch);
	if (result == 0 && restore->number > 0)
		number = restore->number;
	if (result == 0)
		result = have_key(agent, &row, restore->phrase);
	if (result != 0)
		return result;
	if (restore->path)
		return bring_file(agent, &row, number, restore->path, restore->file);
	return restore->is_copy ? bring(agent, &row, number, NULL, restore->file, version)
				: bring_and_replace(agent, &row, number, epoch);
}
