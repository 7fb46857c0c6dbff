/*
 * The owner's backup of a guest of their own, to a disk of their own. FOLDER/GUEST/ holds a store with
 * the versions of both disks (only what changed is read, only what is new is written), the guest's keys
 * closed with nine words, and "newest", which names the versions that belong together and is replaced
 * last: a backup that is cut short leaves the one before it. Who finds the disk can read none of it.
 */
#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "agent_disks.h"
#include "agent_log.h"
#include "agent_personal_private.h"
#include "durable_file.h"
#include "phrase.h"
#include "portable.h"
#include "trust/strict_json.h"
#include "user_disk.h"
#include "user_disk_fetch.h"

#define NEWEST_MAX_BYTES 4096
#define ID_TEXT		 (2 * VERSION_ID_BYTES + 1)
#define DOMAIN_TEXT	 (2 * DOMAIN_ID_BYTES + 1)

/* The disks of a guest: folder of its layer, and name of its key. */
static const char *const layers[] = {"system", "user"};
enum { SYSTEM, USER, LAYERS };

struct newest {
	char domain[DOMAIN_TEXT];  /* of the system disk: another guest of the same name has another */
	char version[LAYERS][ID_TEXT]; /* empty: the guest had no such disk */
	char label[32];
};

static int path_of(const struct personal *personal, const char *name, char path[AGENT_PATH_MAX])
{
	return snprintf(path, AGENT_PATH_MAX, "%s/%s/%s", personal->folder, personal->guest, name) <
		       AGENT_PATH_MAX
		   ? 0
		   : -ENAMETOOLONG;
}

/** The last thing that the agent noted, or the error's own words. */
static int take_error(struct personal *personal, int result)
{
	return personal_complain(personal, result,
				 personal->agent->error[0] ? personal->agent->error : strerror(-result));
}

static int read_newest(struct personal *personal, struct newest *newest)
{
	char path[AGENT_PATH_MAX];
	unsigned char *text;
	json_t *root = NULL;
	size_t size;
	int result = path_of(personal, "newest", path);

	memset(newest, 0, sizeof(*newest));
	if (result == 0)
		result = durable_file_read(path, NEWEST_MAX_BYTES, &text, &size);
	if (result != 0)
		return result;
	result = strict_json_parse((const char *)text, size, NEWEST_MAX_BYTES, &root);
	free(text);
	if (result == 0 &&
	    (strict_json_string(root, "domain", newest->domain, sizeof(newest->domain)) != 0 ||
	     strict_json_string(root, "label", newest->label, sizeof(newest->label)) != 0))
		result = -EBADMSG;
	for (int i = 0; result == 0 && i < LAYERS; i++)
		if (json_object_get(root, layers[i]) &&
		    strict_json_string(root, layers[i], newest->version[i], ID_TEXT) != 0)
			result = -EBADMSG;
	json_decref(root);
	return result;
}

static int write_newest(struct personal *personal, const struct newest *newest)
{
	json_t *root = json_pack("{s:s, s:s, s:I}", "domain", newest->domain, "label", newest->label, "time",
				 (json_int_t)time(NULL));
	char path[AGENT_PATH_MAX], *text;
	int result = path_of(personal, "newest", path);

	for (int i = 0; i < LAYERS; i++)
		if (newest->version[i][0])
			json_object_set_new(root, layers[i], json_string(newest->version[i]));
	text = strict_json_write(root);
	json_decref(root);
	if (result == 0)
		result = text ? durable_file_write(path, text, strlen(text), 0600) : -ENOMEM;
	free(text);
	return result == 0 ? 0 : personal_complain(personal, result, strerror(-result));
}

/** The keys, closed with words that are made once and told to the owner. */
static int write_keys(struct personal *personal, json_t **answer)
{
	char path[AGENT_PATH_MAX], part[AGENT_PATH_MAX + 8], phrase[PHRASE_TEXT_BYTES];
	json_t *description = NULL;
	int result = path_of(personal, "keys", path), file = -1;

	snprintf(part, sizeof(part), "%s.part", path);
	if (result == 0)
		result = personal_describe(personal, &description);
	if (result == 0) {
		phrase_generate(phrase);
		file = open(part, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
		result = file < 0 ? -errno
				  : portable_write(file, phrase, KEY_COPY_COST_PERSON, description, NULL, 0, NULL);
		if (result == 0 && (fsync(file) != 0 || rename(part, path) != 0))
			result = -errno;
		if (result == 0)
			result = durable_file_sync_directory(path);
		if (result == 0)
			*answer = json_pack("{s:s}", "phrase", phrase);
		else
			personal_complain(personal, result, strerror(-result));
		sodium_memzero(phrase, sizeof(phrase));
	}
	if (file >= 0)
		close(file);
	json_decref(description);
	return result;
}

/** A version of one disk; its id into `newest`. */
static int back_up_layer(struct personal *personal, int layer, struct newest *newest)
{
	struct agent *agent = personal->agent;
	char path[AGENT_PATH_MAX], domain[DOMAIN_TEXT];
	unsigned char key[32];
	struct user_disk disk;
	const char *label = "";
	int result = path_of(personal, "store", path);

	if (result == 0)
		result = personal_take_key(personal, layers[layer], key);
	if (result != 0)
		return result;
	agent->error[0] = '\0';
	result = user_disk_open_at(agent, path, true, key, &disk);
	if (result == 0 && layer == SYSTEM) {
		store_hex(disk.domain.id, DOMAIN_ID_BYTES, domain);
		if (newest->domain[0] && strcmp(newest->domain, domain) != 0) {
			user_disk_close(&disk);
			sodium_memzero(key, sizeof(key));
			return personal_complain(personal, -EEXIST,
						 "this folder holds backups of another guest of that name; "
						 "choose another folder");
		}
		memcpy(newest->domain, domain, sizeof(domain));
	}
	if (result == 0) {
		result = user_disk_back_up(agent, &disk, personal->guest, layers[layer], key,
					   newest->version[layer], &label);
		user_disk_close(&disk);
	}
	sodium_memzero(key, sizeof(key));
	/* Of two labels the weaker one is the backup's. */
	if (result == 0 && (layer == SYSTEM || strcmp(label, "frozen") != 0))
		snprintf(newest->label, sizeof(newest->label), "%s", label);
	return result == 0 ? 0 : take_error(personal, result);
}

int personal_back_up(struct personal *personal, json_t **answer)
{
	struct newest newest;
	struct agent_guest_row row;
	char path[AGENT_PATH_MAX];
	int result;

	if (!personal->folder)
		return personal_complain(personal, -EINVAL, "name the folder to back up to");
	if (agent_database_guest_get(personal->agent->database, personal->guest, &row) != 0)
		return personal_complain(personal, -ENOENT, "there is no such guest; see bulkhead guest list");
	result = path_of(personal, "store", path);
	if (result == 0)
		result = durable_file_make_directory(path, 0700);
	if (result != 0) {
		snprintf(personal->error, AGENT_ERROR_MAX,
			 "the folder of backups: %s; let the user that runs this agent write there", strerror(-result));
		return result;
	}
	result = read_newest(personal, &newest);
	if (result != 0 && result != -ENOENT)
		return personal_complain(personal, result,
					 "what lies in this folder is no backup of a guest, or damaged; "
					 "choose another folder");
	result = back_up_layer(personal, SYSTEM, &newest);
	if (result == 0 && agent_disks_has_user(personal->agent, personal->guest))
		result = back_up_layer(personal, USER, &newest);
	if (result == 0 && path_of(personal, "keys", path) == 0 && access(path, F_OK) != 0)
		result = write_keys(personal, answer);
	if (result == 0)
		result = write_newest(personal, &newest);
	if (result != 0) {
		json_decref(*answer);
		*answer = NULL;
		return result;
	}
	if (!*answer)
		*answer = json_object();
	json_object_set_new(*answer, "label", json_string(newest.label));
	return 0;
}

/** The version must be this key's: the folder may have been in other hands. */
static int check_version(struct user_disk *disk, const uint8_t id[VERSION_ID_BYTES], struct problem *problem)
{
	struct dsse_envelope envelope;
	char *text;
	int result = store_version_envelope(disk->store, id, &text, problem);

	if (result != 0)
		return result;
	result = dsse_parse(text, strlen(text), &envelope);
	free(text);
	if (result == 0) {
		result = user_disk_verify(disk, &envelope);
		dsse_release(&envelope);
	}
	return result == 0 ? 0 : problem_set(problem, result, "this backup was not made with this guest's key");
}

static int bring_layer(struct personal *personal, int layer, const char *version, const json_t *keys)
{
	struct agent *agent = personal->agent;
	struct problem problem = {.line = ""};
	char path[AGENT_PATH_MAX];
	uint8_t id[VERSION_ID_BYTES];
	unsigned char key[32];
	struct user_disk_target target = {
	    .file = -1, .folder = personal->aside, .layer = layers[layer], .label = layers[layer], .key = key};
	struct user_disk disk;
	int result = path_of(personal, "store", path);

	if (strict_json_bytes(keys, layers[layer], key, sizeof(key)) != 0 || store_unhex(version, id, sizeof(id)) != 0)
		return personal_complain(personal, -EBADMSG, "the backup is damaged");
	agent->error[0] = '\0';
	if (result == 0)
		result = user_disk_open_at(agent, path, false, key, &disk);
	if (result == 0) {
		result = check_version(&disk, id, &problem);
		if (result == 0)
			result = user_disk_fill(agent, &disk, id, &target, &problem);
		user_disk_close(&disk);
	}
	sodium_memzero(key, sizeof(key));
	if (result != 0 && problem.line[0])
		return personal_complain(personal, result, problem.line);
	return result == 0 ? 0 : take_error(personal, result);
}

static int no_files(void *context, const char *name)
{
	return -EBADMSG;
}

static int read_keys(struct personal *personal, json_t **description)
{
	char path[AGENT_PATH_MAX];
	int result = path_of(personal, "keys", path), file;

	if (result != 0)
		return personal_complain(personal, result, strerror(-result));
	file = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	if (file < 0)
		return personal_complain(personal, -errno,
					 errno == ENOENT ? "there is no backup of it in this folder" : strerror(errno));
	result = portable_read(file, personal->phrase, description, no_files, NULL, NULL);
	close(file);
	if (result == -EKEYREJECTED)
		return personal_complain(personal, result, "this phrase does not open this backup");
	return result == 0 ? 0
			   : personal_complain(personal, result,
					       "the backup's keys are damaged, or the phrase has a wrong word");
}

int personal_bring_back(struct personal *personal, json_t **answer)
{
	json_t *description = NULL, *keys;
	struct newest newest;
	int result;

	if (!personal->folder || !personal->phrase)
		return personal_complain(personal, -EINVAL, "give the backup's folder and its recovery phrase");
	result = personal_must_not_exist(personal);
	if (result == 0)
		result = read_keys(personal, &description);
	if (result == 0 && read_newest(personal, &newest) != 0)
		result = personal_complain(personal, -EBADMSG, "there is no whole backup of it in this folder");
	keys = json_object_get(description, "keys");
	for (int i = 0; result == 0 && i < LAYERS; i++)
		if (newest.version[i][0])
			result = bring_layer(personal, i, newest.version[i], keys);
	return personal_settle(personal, result, description);
}
