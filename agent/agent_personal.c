/*
 * The user's own guests. A guest is a directory of files below DATA/guests and its keys in the
 * vault; an exported one is the same in one encrypted file (portable.h), whatever the format of its
 * disks. What arrives is put together aside and takes its place by one rename, so a cut-short
 * import leaves nothing.
 */
#include "agent_personal.h"
#include "agent_personal_private.h"

#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent_disks.h"
#include "agent_guest.h"
#include "agent_log.h"
#include "agent_keys.h"
#include "durable_file.h"
#include "own_machine.h"
#include "phrase.h"
#include "portable.h"
#include "served.h"
#include "trust/strict_json.h"

#define COPY_BYTES (1u << 20)

/* A personal guest's keys that go where its disks go; each is GUEST/NAME in the vault. */
static const char *const key_names[] = {"system", "user", "identity"};
#define KEY_COUNT (sizeof(key_names) / sizeof(key_names[0]))

int personal_complain(struct personal *personal, int result, const char *text)
{
	/* Some texts, the store's, have it already. */
	bool full = result == -ENOSPC && !strstr(text, "free space");

	snprintf(personal->error, AGENT_ERROR_MAX, "%s: %s%s", personal->guest, text,
		 full ? "; nothing was lost: free space and ask again" : "");
	return result;
}

static int path_in(const char *directory, const char *name, char path[AGENT_PATH_MAX])
{
	return snprintf(path, AGENT_PATH_MAX, "%s/%s", directory, name) < AGENT_PATH_MAX
		   ? 0
		   : -ENAMETOOLONG;
}

/* What a guest's folder holds, and how it is called in an exported file. */
static const struct {
	const char *folder, *file, *name;
} parts[] = {{"system", "data", "system.data"},
	     {"system", "map", "system.map"},
	     {"user", "data", "user.data"},
	     {"user", "map", "user.map"}};
#define PART_COUNT (sizeof(parts) / sizeof(parts[0]))

/** Removes a guest's folder; maps first, so that a crash leaves no disk. */
void personal_remove_directory(const char *path)
{
	char folder[AGENT_PATH_MAX];

	for (size_t i = 0; i < PART_COUNT; i++)
		if (path_in(path, parts[i].folder, folder) == 0)
			agent_disks_remove_layer(folder);
	agent_disks_remove_layer(path);
}

/** Keeps a key in the vault: `key`, or a fresh one. */
static int seal_key(struct personal *personal, const char *name, const unsigned char *key)
{
	const struct agent_key_source source = {.key = key};
	struct agent_blob blob;
	char full[2 * AGENT_NAME_MAX], error[256];
	int result;

	snprintf(full, sizeof(full), "%s/%s", personal->guest, name);
	result = agent_keys_seal(personal->agent->config.keyd, full, key ? &source : NULL, NULL,
				 &blob, error);
	if (result != 0)
		return personal_complain(personal, result, error);
	result = agent_database_key_put(personal->agent->database, full, &blob);
	return result == 0
		   ? 0
		   : personal_complain(personal, result, agent_database_error(personal->agent->database));
}

int personal_must_not_exist(struct personal *personal)
{
	struct agent_guest_row row;

	if (agent_database_guest_get(personal->agent->database, personal->guest, &row) == 0)
		return personal_complain(personal, -EEXIST,
				"there is such a guest already; choose another name");
	personal_remove_directory(personal->aside);
	return durable_file_make_directory(personal->aside, 0700);
}

/** What lies aside becomes the guest, the machine that `settings` say. */
static int take_place(struct personal *personal, const json_t *settings)
{
	struct agent_guest_row row = {.assigned = true};
	struct descriptor machine = own_machine_usual;
	int result = own_machine_settle(personal, settings, &machine);

	if (result == 0)
		result = seal_key(personal, OWN_MACHINE_KEY, NULL);
	if (result == 0)
		result = own_machine_describe(personal, personal->aside, machine);
	if (result != 0)
		return result;
	personal_remove_directory(personal->directory);
	if (rename(personal->aside, personal->directory) != 0 ||
	    durable_file_sync_directory(personal->directory) != 0)
		return personal_complain(personal, -errno, strerror(errno));
	snprintf(row.name, sizeof(row.name), "%s", personal->guest);
	result = agent_database_guest_put(personal->agent->database, &row);
	return result == 0
		   ? 0
		   : personal_complain(personal, result, agent_database_error(personal->agent->database));
}

/** One of the guest's keys, out of the vault. */
int personal_take_key(struct personal *personal, const char *name, unsigned char key[32])
{
	char full[2 * AGENT_NAME_MAX], error[256] = "its key is missing";
	struct agent_blob blob;
	int result;

	snprintf(full, sizeof(full), "%s/%s", personal->guest, name);
	result = agent_database_key_get(personal->agent->database, full, &blob);
	if (result == 0)
		result = agent_keys_release(personal->agent->config.keyd, full, &blob, false, NULL, key,
					    error);
	return result == 0 ? 0 : personal_complain(personal, result, error);
}

/** Copies what a file holds into a disk; what it does not hold stays zero. Says each tenth. */
static int copy_sparse(struct personal *personal, off_t size, struct guestdisk *to)
{
	unsigned char *bytes = malloc(COPY_BYTES);
	int from = personal->file, said = -1, result = bytes ? 0 : -ENOMEM;
	off_t at = 0;

	while (result == 0 && at < size) {
		off_t data = lseek(from, at, SEEK_DATA);
		int tenth = (int)(at / (size / 10 + 1));
		char line[32];
		ssize_t got;

		if (tenth != said) {
			snprintf(line, sizeof(line), "Copying, %d %%", 10 * tenth);
			personal->say(personal->say_context, line);
			said = tenth;
		}

		if (data < 0 && errno == EINVAL) /* a block device: all of it is data */
			data = at;
		if (data < 0) {
			result = errno == ENXIO ? 0 : -errno;
			break;
		}
		at = data - data % BLOCK_BYTES;
		memset(bytes, 0, COPY_BYTES);
		got = pread(from, bytes, COPY_BYTES, at);
		if (got <= 0)
			result = got < 0 ? -errno : -EIO;
		else if (!sodium_is_zero(bytes, (size_t)got))
			result = guestdisk_write(to, (uint64_t)at,
						 ((uint64_t)got + BLOCK_BYTES - 1) / BLOCK_BYTES *
						     BLOCK_BYTES,
						 bytes);
		at += got;
	}
	if (result == 0)
		result = guestdisk_flush(to);
	if (bytes)
		sodium_memzero(bytes, COPY_BYTES);
	free(bytes);
	return result;
}

/** What a file is that only looks like a disk; NULL: nothing that we know. */
static const char *foreign_format(int file)
{
	static const struct {
		const char *mark, *name;
	} formats[] = {{"QFI\xfb", "qcow2"}, {"KDMV", "VMDK"}, {"vhdxfile", "VHDX"}, {"conectix", "VHD"}};
	char begin[8] = "";

	if (pread(file, begin, sizeof(begin), 0) != sizeof(begin))
		return NULL;
	for (size_t i = 0; i < sizeof(formats) / sizeof(formats[0]); i++)
		if (memcmp(begin, formats[i].mark, strlen(formats[i].mark)) == 0)
			return formats[i].name;
	return NULL;
}

/** Makes the system disk out of the file the owner gave. */
static int fill_system(struct personal *personal, const unsigned char key[32])
{
	struct served_options options = {
	    .state = personal->aside, .key = key, .layer = "system", .stop_fd = -1};
	struct problem problem = {.line = ""};
	struct served *served;
	const char *foreign = foreign_format(personal->file);
	off_t size = lseek(personal->file, 0, SEEK_END);
	char line[96];
	int result, closed;

	if (size <= 0)
		return personal_complain(personal, -EINVAL, "the disk to start from is no disk and no file with content");
	if (foreign) {
		snprintf(line, sizeof(line), "the disk to start from is a %s file; qemu-img convert -O raw makes a raw one", foreign);
		return personal_complain(personal, -EINVAL, line);
	}
	options.layer_bytes = (uint64_t)size;
	result = served_open(&options, &served, &problem);
	if (result != 0)
		return personal_complain(personal, result, problem.line[0] ? problem.line : strerror(-result));
	result = copy_sparse(personal, size, served_disk(served));
	closed = served_close(served, &problem);
	result = result ? result : closed;
	return result == 0 ? 0 : personal_complain(personal, result, strerror(-result));
}

static int create(struct personal *personal, json_t **answer)
{
	unsigned char key[32];
	int result;

	if (personal->file < 0)
		return personal_complain(personal, -EINVAL, "give the disk to start from (--disk FILE)");
	result = personal_must_not_exist(personal);
	if (result != 0)
		return result; /* the guest that is there keeps its keys */
	for (size_t i = 0; result == 0 && i < KEY_COUNT; i++)
		result = seal_key(personal, key_names[i], NULL);
	if (result == 0)
		result = personal_take_key(personal, "system", key);
	if (result == 0)
		result = fill_system(personal, key);
	sodium_memzero(key, sizeof(key));
	if (result == 0)
		result = take_place(personal, personal->settings);
	if (result != 0) {
		agent_database_key_delete(personal->agent->database, personal->guest);
		personal_remove_directory(personal->aside);
	}
	return result;
}

static int must_be_stopped(struct personal *personal)
{
	struct agent_guest_row row;
	bool runs;

	if (agent_database_guest_get(personal->agent->database, personal->guest, &row) != 0)
		return personal_complain(personal, -ENOENT,
				"there is no such guest; see bulkhead guest list");
	pthread_mutex_lock(&personal->agent->lock);
	runs = agent_guest_running(personal->agent, personal->guest) != NULL;
	pthread_mutex_unlock(&personal->agent->lock);
	return runs ? personal_complain(personal, -EBUSY, "it runs; stop it first") : 0;
}

static int gather_keys(struct personal *personal, json_t *keys)
{
	for (size_t i = 0; i < KEY_COUNT; i++) {
		unsigned char key[32];
		int result = personal_take_key(personal, key_names[i], key);

		if (result != 0)
			return result;
		json_object_set_new(keys, key_names[i], strict_json_new_bytes(key, sizeof(key)));
		sodium_memzero(key, sizeof(key));
	}
	return 0;
}

int personal_describe(struct personal *personal, json_t **description)
{
	char text[DESCRIPTOR_TEXT_MAX];
	struct descriptor machine;
	struct public_key key;
	json_t *keys = json_object();
	int result = gather_keys(personal, keys);

	*description = json_pack("{s:s, s:o}", "guest", personal->guest, "keys", keys);
	if (result == 0 && personal->agent->config.machine[0]) {
		result = own_machine_read(personal->agent, personal->guest, text, &machine, &key, personal->error);
		if (result == 0)
			json_object_set_new(*description, "machine", own_machine_settings(&machine));
	}
	return result;
}

static int part_path(const char *directory, size_t part, char path[AGENT_PATH_MAX])
{
	return snprintf(path, AGENT_PATH_MAX, "%s/%s/%s", directory, parts[part].folder,
			parts[part].file) < AGENT_PATH_MAX
		   ? 0
		   : -ENAMETOOLONG;
}

static int open_files(struct personal *personal, struct portable_file files[PORTABLE_FILES_MAX],
		      size_t *count)
{
	char path[AGENT_PATH_MAX];

	*count = 0;
	for (size_t i = 0; i < PART_COUNT; i++) {
		if (part_path(personal->directory, i, path) != 0)
			return -ENAMETOOLONG;
		files[*count] =
		    (struct portable_file){parts[i].name, open(path, O_RDONLY | O_CLOEXEC)};
		if (files[*count].file >= 0)
			(*count)++;
		else if (errno != ENOENT)
			return personal_complain(personal, -errno, strerror(errno));
	}
	return *count > 0 ? 0 : personal_complain(personal, -ENOENT, "it has no disk");
}

static int export_guest(struct personal *personal, json_t **answer)
{
	struct portable_file files[PORTABLE_FILES_MAX];
	char made[PHRASE_TEXT_BYTES];
	json_t *description = NULL;
	size_t count = 0;
	int result = personal->file >= 0 ? must_be_stopped(personal)
					 : personal_complain(personal, -EINVAL, "say where to write it");

	if (result == 0)
		result = personal_describe(personal, &description);
	if (result == 0)
		result = open_files(personal, files, &count);
	if (result == 0) {
		phrase_generate(made);
		result = portable_write(personal->file, personal->phrase ? personal->phrase : made,
					KEY_COPY_COST_PERSON, description, files, count, NULL);
		if (result != 0)
			personal_complain(personal, result,
				 result == -EINVAL || result == -EBADMSG
				     ? "this is no recovery phrase; give none and one is made"
				     : strerror(-result));
		else if (!personal->phrase)
			*answer = json_pack("{s:s}", "phrase", made);
		sodium_memzero(made, sizeof(made));
	}
	for (size_t i = 0; i < count; i++)
		close(files[i].file);
	json_decref(description);
	return result;
}

static int create_aside(void *context, const char *name)
{
	struct personal *personal = context;
	char path[AGENT_PATH_MAX], folder[AGENT_PATH_MAX];
	int file, result;

	/* Names come from the file: only those that a guest has. */
	for (size_t i = 0; i < PART_COUNT; i++) {
		if (strcmp(parts[i].name, name) != 0)
			continue;
		result = path_in(personal->aside, parts[i].folder, folder);
		if (result == 0)
			result = durable_file_make_directory(folder, 0700);
		if (result == 0)
			result = part_path(personal->aside, i, path);
		if (result != 0)
			return result;
		file = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
		return file >= 0 ? file : -errno;
	}
	return -EBADMSG;
}

static int import_keys(struct personal *personal, const json_t *description)
{
	const json_t *keys = json_object_get(description, "keys");
	int result = 0;

	for (size_t i = 0; result == 0 && i < KEY_COUNT; i++) {
		unsigned char key[32];

		if (strict_json_bytes(keys, key_names[i], key, sizeof(key)) != 0)
			return personal_complain(personal, -EBADMSG, "the file does not hold its keys");
		result = seal_key(personal, key_names[i], key);
		sodium_memzero(key, sizeof(key));
	}
	return result;
}

int personal_settle(struct personal *personal, int result, json_t *description)
{
	if (result == 0)
		result = import_keys(personal, description);
	if (result == 0)
		result = take_place(personal, json_object_get(description, "machine"));
	if (result != 0)
		personal_remove_directory(personal->aside);
	json_decref(description);
	return result;
}

static int import_guest(struct personal *personal, json_t **answer)
{
	json_t *description = NULL;
	int result;

	if (personal->file < 0 || !personal->phrase)
		return personal_complain(personal, -EINVAL,
				"an import needs the file and its recovery phrase");
	result = personal_must_not_exist(personal);
	if (result == 0) {
		result = portable_read(personal->file, personal->phrase, &description, create_aside,
				       personal, NULL);
		if (result == -EKEYREJECTED)
			personal_complain(personal, result, "this phrase does not open this file");
		else if (result == -EBADMSG)
			personal_complain(personal, result,
				 "the file is damaged, cut short, or the phrase has a wrong word");
		else if (result != 0)
			personal_complain(personal, result, strerror(-result));
	}
	return personal_settle(personal, result, description);
}

/** Says anew what a guest is: what its owner wants otherwise, and what this PC's Bulkhead measures. */
static int describe(struct personal *personal, json_t **answer)
{
	char text[DESCRIPTOR_TEXT_MAX];
	struct descriptor machine;
	struct public_key key;
	int result = must_be_stopped(personal);

	if (result != 0)
		return result;
	if (own_machine_read(personal->agent, personal->guest, text, &machine, &key, personal->error) != 0)
		machine = own_machine_usual;
	personal->error[0] = '\0';
	result = own_machine_settle(personal, personal->settings, &machine);
	if (result == 0)
		result = seal_key(personal, OWN_MACHINE_KEY, NULL);
	if (result == 0)
		result = own_machine_describe(personal, personal->directory, machine);
	if (result == 0)
		*answer = own_machine_settings(&machine);
	return result;
}

static int remove_guest(struct personal *personal, json_t **answer)
{
	int result = must_be_stopped(personal);

	if (result != 0)
		return result;
	agent_database_key_delete(personal->agent->database, personal->guest);
	agent_database_guest_delete(personal->agent->database, personal->guest);
	personal_remove_directory(personal->directory);
	return 0;
}

static const struct {
	const char *name;
	int (*serve)(struct personal *personal, json_t **answer);
} actions[] = {{"create", create},
	       {"describe", describe},
	       {"export", export_guest},
	       {"import", import_guest},
	       {"backup", personal_back_up},
	       {"bring-back", personal_bring_back},
	       {"remove", remove_guest}};

int agent_personal_serve(struct agent *agent, const json_t *body, int file, void (*say)(void *context, const char *line),
			 void *say_context, json_t **answer, char error[AGENT_ERROR_MAX])
{
	const char *action = json_string_value(json_object_get(body, "do"));
	struct personal personal = {.agent = agent,
				    .guest = json_string_value(json_object_get(body, "guest")),
				    .phrase = json_string_value(json_object_get(body, "phrase")),
				    .settings = json_object_get(body, "machine"),
				    .file = file,
				    .say = say,
				    .say_context = say_context,
				    .error = error};
	char name[2 * AGENT_NAME_MAX], folder[32];
	struct stat opened;

	error[0] = '\0';
	if (file >= 0 && fstat(file, &opened) == 0 && S_ISDIR(opened.st_mode)) {
		snprintf(folder, sizeof(folder), "/proc/self/fd/%d", file);
		personal.folder = folder;
	}
	if (!personal.guest || !strict_json_is_name(personal.guest)) {
		snprintf(error, AGENT_ERROR_MAX, "a guest's name has 1 to 64 small letters, digits and ._@-, and begins with a letter or digit");
		return -EINVAL;
	}
	if (!agent->config.personal)
		return personal_complain(
		    &personal, -EPERM,
		    "the company's guests are not exported or imported; this is its agent");
	snprintf(name, sizeof(name), "guests/%s", personal.guest);
	agent_path(agent, name, personal.directory);
	snprintf(name, sizeof(name), "guests/%s.aside", personal.guest);
	agent_path(agent, name, personal.aside);
	for (size_t i = 0; action && i < sizeof(actions) / sizeof(actions[0]); i++)
		if (strcmp(actions[i].name, action) == 0)
			return actions[i].serve(&personal, answer);
	return personal_complain(&personal, -ENOSYS, "this agent knows no such request");
}
