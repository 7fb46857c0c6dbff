/* The disks of guests and their keys: see agent_disks.h. Bringing releases is in agent_install.c. */
#include "agent_disks.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent_keys.h"
#include "agent_log.h"
#include "agent_policy.h"
#include "arrival.h"
#include "boot_trace.h"
#include "durable_file.h"
#include "store/collect.h"
#include "trust/strict_json.h"

void agent_disks_release_path(const struct agent *agent, const char *image, uint64_t release,
			      const char *name, char path[AGENT_PATH_MAX])
{
	char part[AGENT_NAME_MAX + 64];

	snprintf(part, sizeof(part), "images/%s/%llu/%s", image, (unsigned long long)release, name);
	agent_path(agent, part, path);
}

void agent_disks_state(const struct agent *agent, const char *guest, char path[AGENT_PATH_MAX])
{
	char part[AGENT_NAME_MAX + 16];

	snprintf(part, sizeof(part), "guests/%s", guest);
	agent_path(agent, part, path);
}

int agent_disks_feed(const struct agent *agent, const char *image, uint64_t release,
		     char path[AGENT_PATH_MAX])
{
	int length = snprintf(path, AGENT_PATH_MAX, "%s.guests/%s/feed-%llu", agent->config.control,
			      image, (unsigned long long)release);

	return length < AGENT_PATH_MAX ? 0 : -ENAMETOOLONG;
}

bool agent_disks_complete(const struct agent *agent, const char *image, uint64_t release)
{
	char path[AGENT_PATH_MAX];

	agent_disks_release_path(agent, image, release, "complete", path);
	return access(path, F_OK) == 0;
}

bool agent_disks_ready(const struct agent *agent, const char *image, uint64_t release,
		       char version[AGENT_VERSION_TEXT])
{
	char path[AGENT_PATH_MAX];
	unsigned char *text = NULL;
	uint8_t id[VERSION_ID_BYTES];
	size_t size;
	bool ready;

	agent_disks_release_path(agent, image, release, "ready", path);
	if (durable_file_read(path, AGENT_VERSION_TEXT, &text, &size) != 0)
		return false;
	ready = size == AGENT_VERSION_TEXT - 1 && store_unhex((const char *)text, id, sizeof(id)) == 0;
	if (ready && version)
		memcpy(version, text, AGENT_VERSION_TEXT);
	free(text);
	return ready;
}

static int remove_one(const char *path, const struct stat *status, int kind, struct FTW *where)
{
	return remove(path);
}

static int remove_tree(const char *path)
{
	return nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS) == 0 || errno == ENOENT ? 0 : -errno;
}

int agent_disks_remove_layer(const char *path)
{
	char map[AGENT_PATH_MAX + 8];

	snprintf(map, sizeof(map), "%s/map", path);
	if (unlink(map) != 0 && errno != ENOENT && errno != ENOTDIR)
		return -errno;
	if (access(path, F_OK) == 0)
		durable_file_sync_directory(map);
	return remove_tree(path);
}

/** A layer of a guest that belongs to a version: "overlay" or "arrived" (backends/served.h). */
static void version_layer(const struct agent *agent, const char *guest, const char *kind,
			  const char *version, char path[AGENT_PATH_MAX])
{
	char part[AGENT_NAME_MAX + 64];

	snprintf(part, sizeof(part), "guests/%s/%s-%.32s", guest, kind, version);
	agent_path(agent, part, path);
}

struct same_version {
	struct agent *agent;
	uint64_t release; /* the one to be removed */
	const char *image, *version;
	bool found;
};

static void look_at_release(struct same_version *same, uint64_t release)
{
	char other[AGENT_VERSION_TEXT];

	if (release != 0 && release != same->release &&
	    agent_disks_ready(same->agent, same->image, release, other))
		same->found |= strcmp(other, same->version) == 0;
}

/** Whether another release that this PC keeps is the same version. */
static bool is_shared(struct agent *agent, const char *image, uint64_t release, const char *version)
{
	struct same_version same = {agent, release, image, version, false};
	struct agent_guest_row row;

	if (agent_database_guest_get(agent->database, image, &row) != 0)
		return false;
	look_at_release(&same, row.current);
	look_at_release(&same, row.previous);
	look_at_release(&same, row.wanted);
	return same.found;
}

/** Gives back frames that no version uses any more. */
static int remove_version(struct agent *agent, const char *image, const char *version)
{
	char path[AGENT_PATH_MAX], part[AGENT_NAME_MAX + 32];
	struct problem problem = {.line = ""};
	struct collect_result collected;
	uint8_t id[VERSION_ID_BYTES];
	struct store *store;
	int result;

	snprintf(part, sizeof(part), "images/%s/store", image);
	agent_path(agent, part, path);
	store_unhex(version, id, sizeof(id));
	result = store_open(path, false, &store, &problem);
	if (result != 0)
		return agent_fail(agent, result, "%s: %.250s", image, problem.line);
	result = store_remove_version(store, id, &problem);
	if (result == 0 || result == -ENOENT)
		result = collect_run(store, true, &collected, &problem);
	store_close(store);
	return result == 0 ? 0 : agent_fail(agent, result, "%s: %.250s", image, problem.line);
}

int agent_disks_remove(struct agent *agent, const char *image, uint64_t release)
{
	char path[AGENT_PATH_MAX], version[AGENT_VERSION_TEXT];
	bool ready = agent_disks_ready(agent, image, release, version);
	struct arrival *arrival = arrival_find(agent, image, release);
	int result = 0;

	if (arrival)
		arrival_close(arrival);
	/* First what says that it can start: a crash leaves a part that is taken for none. */
	agent_disks_release_path(agent, image, release, "ready", path);
	if (unlink(path) != 0 && errno != ENOENT)
		return agent_fail(agent, -errno, "%s: %s", path, strerror(errno));
	durable_file_sync_directory(path);
	if (ready && !is_shared(agent, image, release, version)) {
		version_layer(agent, image, "overlay", version, path);
		result = agent_disks_remove_layer(path);
		version_layer(agent, image, "arrived", version, path);
		result = result ? result : agent_disks_remove_layer(path);
		if (result != 0)
			return agent_fail(agent, result, "%s: %s", path, strerror(-result));
		result = remove_version(agent, image, version);
	}
	agent_disks_release_path(agent, image, release, "", path);
	path[strlen(path) - 1] = '\0';
	if (result == 0 && (result = remove_tree(path)) != 0)
		agent_fail(agent, result, "%s: %s", path, strerror(-result));
	if (result == 0)
		agent_log(AGENT_INFO, "release.removed", "s:s, s:I", "image", image, "release",
			  (json_int_t)release);
	return result;
}

/** Takes a release off the guest's row, if nobody needs it. */
static int give_up(struct agent *agent, const char *guest, uint64_t *release, char error[AGENT_ERROR_MAX])
{
	struct agent_guest_row row;
	int result = agent_database_guest_get(agent->database, guest, &row);

	if (result == 0 && *release == 0)
		*release = row.previous;
	if (result != 0 || *release == 0 ||
	    !agent_disks_ready(agent, guest, *release, NULL)) {
		snprintf(error, AGENT_ERROR_MAX, "%.64s: no such release is kept on this PC", guest);
		return -ENOENT;
	}
	if (*release == row.current || *release == row.wanted) {
		snprintf(error, AGENT_ERROR_MAX, "%s: release %llu is in use, or to be run next",
			 guest, (unsigned long long)*release);
		return -EBUSY;
	}
	if (row.previous != *release)
		return 0;
	row.previous = 0;
	result = agent_database_guest_put(agent->database, &row);
	if (result != 0)
		snprintf(error, AGENT_ERROR_MAX, "%s", agent_database_error(agent->database));
	return result;
}

int agent_disks_remove_release(struct agent *agent, const char *guest, uint64_t release,
			       char error[AGENT_ERROR_MAX])
{
	int result;

	pthread_mutex_lock(&agent->lock);
	result = give_up(agent, guest, &release, error);
	pthread_mutex_unlock(&agent->lock);
	if (result != 0)
		return result;
	result = agent_disks_remove(agent, guest, release);
	if (result != 0)
		snprintf(error, AGENT_ERROR_MAX, "%s", agent->error);
	return result;
}

void agent_disks_discard_overlay(struct agent *agent, const char *guest, uint64_t release)
{
	char path[AGENT_PATH_MAX], version[AGENT_VERSION_TEXT];
	int result;

	if (!agent_disks_ready(agent, guest, release, version))
		return;
	version_layer(agent, guest, "overlay", version, path);
	result = agent_disks_remove_layer(path);
	if (result != 0)
		agent_log(AGENT_ERROR, "overlay.kept", "s:s, s:s", "path", path, "reason",
			  strerror(-result));
}

bool agent_disks_has_user(const struct agent *agent, const char *guest)
{
	char part[AGENT_NAME_MAX + 32], path[AGENT_PATH_MAX];

	snprintf(part, sizeof(part), "guests/%s/user/map", guest);
	agent_path(agent, part, path);
	return access(path, F_OK) == 0;
}

void agent_disks_user_key(const struct agent_disk_row *row, char name[2 * AGENT_DISK_MAX])
{
	snprintf(name, 2 * AGENT_DISK_MAX, "%s/%s", row->guest, row->disk);
}

int agent_disks_user_row(struct agent *agent, const char *guest, struct agent_disk_row *row,
			 char error[AGENT_ERROR_MAX])
{
	int result = agent_database_disk_get(agent->database, guest, row);

	if (result != -ENOENT) {
		if (result != 0)
			snprintf(error, AGENT_ERROR_MAX, "%s",
				 agent_database_error(agent->database));
		return result;
	}
	memset(row, 0, sizeof(*row));
	snprintf(row->guest, sizeof(row->guest), "%s", guest);
	snprintf(row->disk, sizeof(row->disk), "%s.%s",
		 agent->state && agent->state->user[0] ? agent->state->user : agent->memory.device,
		 guest);
	if (!strict_json_is_name(row->disk)) {
		snprintf(error, AGENT_ERROR_MAX,
			 "%s: the disk's name would be longer than 64 characters", row->disk);
		return -ENAMETOOLONG;
	}
	result = agent_database_disk_put(agent->database, row);
	if (result != 0)
		snprintf(error, AGENT_ERROR_MAX, "%s", agent_database_error(agent->database));
	return result;
}

/* What a start takes keys for. */
struct key_request {
	struct agent *agent;
	const char *guest;
	const struct agent_keys_guest *sealed; /* NULL: nobody measures it */
};

/* Keys that nothing but a start needs wait for a measured guest. */
enum key_use { KEY_OF_MORE, KEY_OF_STARTS, KEY_THAT_CHARGES };

/** Takes a key out of the vault; makes it first if `make` and there is none. */
static int key_out(const struct key_request *request, const char *name, bool make, enum key_use use,
		   unsigned char key[32], char error[AGENT_ERROR_MAX])
{
	const struct agent_key_source fresh = {.for_guest = use != KEY_OF_MORE && request->sealed};
	const char *keyd = request->agent->config.keyd;
	struct agent_database *database = request->agent->database;
	char full[2 * AGENT_DISK_MAX], why[256] = "";
	struct agent_blob blob;
	int result;

	snprintf(full, sizeof(full), "%s/%s", request->guest, name);
	result = agent_database_key_get(database, full, &blob);
	if (result == -ENOENT && make) {
		result = agent_keys_seal(keyd, full, &fresh, NULL, &blob, why);
		if (result == 0)
			result = agent_database_key_put(database, full, &blob);
	} else if (result == -ENOENT) {
		snprintf(why, sizeof(why),
			 "its key has not arrived; connect this PC to the company's network");
	}
	if (result == 0)
		result = agent_keys_release(keyd, full, &blob, use == KEY_THAT_CHARGES, request->sealed, key, why);
	if (result != 0)
		snprintf(error, AGENT_ERROR_MAX, "%s: %s", request->guest,
			 why[0] ? why : agent_database_error(database));
	return result;
}

/** The version, where its frames are, and who brings those that are missing. */
static int describe_version(struct agent *agent, const struct agent_guest_row *guest,
			    struct agent_disk *disk, char error[AGENT_ERROR_MAX])
{
	char part[AGENT_NAME_MAX + 32];
	int result = 0;

	if (!agent_disks_ready(agent, guest->name, guest->current, disk->version)) {
		snprintf(error, AGENT_ERROR_MAX, "%s: release %llu is not on this PC", guest->name,
			 (unsigned long long)guest->current);
		return -ENOENT;
	}
	snprintf(part, sizeof(part), "images/%s/store", guest->name);
	agent_path(agent, part, disk->store);
	if (!agent_disks_complete(agent, guest->name, guest->current))
		result = agent_disks_feed(agent, guest->name, guest->current, disk->feed);
	agent_disks_release_path(agent, guest->name, guest->current, "trace", disk->trace);
	if (access(disk->trace, F_OK) != 0)
		disk->trace[0] = '\0';
	boot_trace_record_path(agent, guest->name, guest->current, disk->record);
	if (agent->effective.values[POLICY_PERSISTENCE].number == 1)
		agent_disks_discard_overlay(agent, guest->name, guest->current);
	return result;
}

static int open_company(const struct key_request *request, const struct agent_guest_row *guest,
			struct agent_disk disks[2], unsigned char identity[32],
			char error[AGENT_ERROR_MAX])
{
	struct agent_disk_row row;
	int result = agent_disks_user_row(request->agent, guest->name, &row, error);

	if (result == 0)
		result = describe_version(request->agent, guest, &disks[0], error);
	if (result == 0)
		result = key_out(request, "image", false, KEY_OF_MORE, disks[0].domain_key, error);
	if (result == 0)
		result = key_out(request, "system", true, KEY_OF_STARTS, disks[0].key, error);
	/* Backups of a guest at rest need it too. */
	if (result == 0)
		result = key_out(request, row.disk, true, KEY_OF_MORE, disks[1].key, error);
	/* The one that charges the start comes last: after the last start of a lease no other key would come out. */
	if (result == 0)
		result = key_out(request, "identity", true, KEY_THAT_CHARGES, identity, error);
	return result;
}

static int open_personal(const struct key_request *request, struct agent_disk disks[2],
			 unsigned char identity[32], char error[AGENT_ERROR_MAX])
{
	int result = key_out(request, "identity", false, KEY_THAT_CHARGES, identity, error);

	if (result == 0)
		result = key_out(request, "system", false, KEY_OF_STARTS, disks[0].key, error);
	if (result == 0)
		result = key_out(request, "user", false, KEY_OF_MORE, disks[1].key, error);
	disks[0].layer = "system";
	return result;
}

int agent_disks_open(struct agent *agent, const struct agent_guest_row *guest,
		     const struct agent_keys_guest *sealed, struct agent_disk disks[2],
		     unsigned char identity[32], char error[AGENT_ERROR_MAX])
{
	const struct key_request request = {agent, guest->name, sealed};
	int result;

	memset(disks, 0, 2 * sizeof(disks[0]));
	disks[0].kind = "system";
	disks[0].layer = disks[0].size = "";
	disks[1].kind = disks[1].layer = "user";
	agent_policy_user_disk(agent, disks[1].size_text);
	disks[1].size = disks[1].size_text;
	agent_disks_state(agent, guest->name, disks[0].state);
	agent_disks_state(agent, guest->name, disks[1].state);
	result = durable_file_make_directory(disks[0].state, 0700);
	if (result != 0)
		snprintf(error, AGENT_ERROR_MAX, "%.200s: %s", disks[0].state, strerror(-result));
	else
		result = agent->config.personal ? open_personal(&request, disks, identity, error)
						: open_company(&request, guest, disks, identity, error);
	if (result != 0)
		agent_disks_forget(disks, identity);
	return result;
}

void agent_disks_forget(struct agent_disk disks[2], unsigned char identity[32])
{
	for (int i = 0; i < 2; i++) {
		sodium_memzero(disks[i].key, sizeof(disks[i].key));
		sodium_memzero(disks[i].domain_key, sizeof(disks[i].domain_key));
	}
	sodium_memzero(identity, 32);
}

static uint64_t counted_bytes; /* nftw() passes nothing through; used under agent->lock or by the
				  working thread */

static int count_one(const char *path, const struct stat *status, int kind, struct FTW *where)
{
	counted_bytes += (uint64_t)status->st_blocks * 512;
	return 0;
}

uint64_t agent_disks_used(const struct agent *agent)
{
	static const char *const parts[] = {"images", "guests"};
	char path[AGENT_PATH_MAX];

	counted_bytes = 0;
	for (int i = 0; i < 2; i++) {
		agent_path(agent, parts[i], path);
		nftw(path, count_one, 16, FTW_PHYS);
	}
	return counted_bytes;
}
