/* The disks of guests and their keys: see agent_disks.h. Installing is in agent_install.c. */
#include "agent_disks.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent_keys.h"
#include "agent_log.h"
#include "durable_file.h"
#include "trust/strict_json.h"

#define USER_DISK_BYTES (64ull << 30) /* sparse: what is not written takes no space */

static void release_path(const struct agent *agent, const char *image, uint64_t release,
			 const char *name, char path[AGENT_PATH_MAX])
{
	char part[AGENT_NAME_MAX + 64];

	snprintf(part, sizeof(part), "images/%s/%llu/%s", image, (unsigned long long)release, name);
	agent_path(agent, part, path);
}

static void guest_path(const struct agent *agent, const char *guest, const char *name,
		       char path[AGENT_PATH_MAX])
{
	char part[AGENT_NAME_MAX + 64];

	snprintf(part, sizeof(part), "guests/%s/%s", guest, name);
	agent_path(agent, part, path);
}

bool agent_disks_installed(const struct agent *agent, const char *image, uint64_t release)
{
	char path[AGENT_PATH_MAX];

	release_path(agent, image, release, "complete", path);
	return access(path, F_OK) == 0;
}

static int remove_one(const char *path, const struct stat *status, int kind, struct FTW *where)
{
	return remove(path);
}

int agent_disks_remove(struct agent *agent, const char *image, uint64_t release)
{
	char path[AGENT_PATH_MAX];

	/* First what says that it is whole: a crash leaves a part that is taken for none. */
	release_path(agent, image, release, "complete", path);
	if (unlink(path) != 0 && errno != ENOENT)
		return agent_fail(agent, -errno, "%s: %s", path, strerror(errno));
	durable_file_sync_directory(path);
	release_path(agent, image, release, "", path);
	path[strlen(path) - 1] = '\0';
	if (nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS) != 0 && errno != ENOENT)
		return agent_fail(agent, -errno, "%s: %s", path, strerror(errno));
	agent_log(AGENT_INFO, "release.removed", "s:s, s:I", "image", image, "release",
		  (json_int_t)release);
	return 0;
}

void agent_disks_discard_overlay(struct agent *agent, const char *guest, uint64_t release)
{
	char path[AGENT_PATH_MAX];

	release_path(agent, guest, release, "overlay", path);
	if (unlink(path) != 0 && errno != ENOENT)
		agent_log(AGENT_ERROR, "overlay.kept", "s:s, s:s", "path", path, "reason",
			  strerror(errno));
}

void agent_disks_user_path(const struct agent *agent, const char *guest, char path[AGENT_PATH_MAX])
{
	guest_path(agent, guest, "user.disk", path);
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

/** Takes a key out of the vault; makes it first if `make` and there is none. */
static int key_out(struct agent *agent, const char *guest, const char *name, bool make, bool start,
		   unsigned char key[32], char error[AGENT_ERROR_MAX])
{
	char full[2 * AGENT_DISK_MAX], why[256] = "";
	struct agent_blob blob;
	int result;

	snprintf(full, sizeof(full), "%s/%s", guest, name);
	result = agent_database_key_get(agent->database, full, &blob);
	if (result == -ENOENT && make) {
		result = agent_keys_seal(agent->config.keyd, full, NULL, NULL, &blob, why);
		if (result == 0)
			result = agent_database_key_put(agent->database, full, &blob);
	} else if (result == -ENOENT) {
		snprintf(why, sizeof(why),
			 "its key has not arrived; connect this PC to the company's network");
	}
	if (result == 0)
		result = agent_keys_release(agent->config.keyd, full, &blob, start, key, why);
	if (result != 0)
		snprintf(error, AGENT_ERROR_MAX, "%s: %s", guest,
			 why[0] ? why : agent_database_error(agent->database));
	return result;
}

static int make_user_disk(const char *path)
{
	int file, result = 0;

	if (access(path, F_OK) == 0)
		return 0;
	file = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (file < 0)
		return -errno;
	if (ftruncate(file, (off_t)USER_DISK_BYTES) != 0 || fsync(file) != 0)
		result = -errno;
	close(file);
	return result ? result : durable_file_sync_directory(path);
}

static int open_company(struct agent *agent, const struct agent_guest_row *guest,
			struct agent_disk disks[2], unsigned char identity[32],
			char error[AGENT_ERROR_MAX])
{
	struct agent_disk_row row;
	int result = agent_disks_user_row(agent, guest->name, &row, error);

	if (result == 0)
		result = key_out(agent, guest->name, "image", false, false, disks[0].key, error);
	if (result == 0)
		result = key_out(agent, guest->name, row.disk, true, false, disks[1].key, error);
	/* The one that charges the start comes last: after the last start of a lease no other key would come out. */
	if (result == 0)
		result = key_out(agent, guest->name, "identity", true, true, identity, error);
	release_path(agent, guest->name, guest->current, "disk", disks[0].path);
	release_path(agent, guest->name, guest->current, "overlay", disks[0].overlay);
	return result;
}

static int open_personal(struct agent *agent, const struct agent_guest_row *guest,
			 struct agent_disk disks[2], unsigned char identity[32],
			 char error[AGENT_ERROR_MAX])
{
	int result = key_out(agent, guest->name, "identity", false, true, identity, error);

	if (result == 0)
		result = key_out(agent, guest->name, "system", false, false, disks[0].key, error);
	if (result == 0)
		result = key_out(agent, guest->name, "user", false, false, disks[1].key, error);
	guest_path(agent, guest->name, "system.disk", disks[0].path);
	return result;
}

int agent_disks_open(struct agent *agent, const struct agent_guest_row *guest,
		     struct agent_disk disks[2], unsigned char identity[32],
		     char error[AGENT_ERROR_MAX])
{
	char directory[AGENT_PATH_MAX];
	int result;

	memset(disks, 0, 2 * sizeof(disks[0]));
	disks[0].kind = "system";
	disks[1].kind = "user";
	result = agent->config.personal ? open_personal(agent, guest, disks, identity, error)
					: open_company(agent, guest, disks, identity, error);
	if (result == 0) {
		guest_path(agent, guest->name, "", directory);
		directory[strlen(directory) - 1] = '\0';
		guest_path(agent, guest->name, "user.disk", disks[1].path);
		result = durable_file_make_directory(directory, 0700);
		if (result == 0)
			result = make_user_disk(disks[1].path);
		if (result != 0)
			snprintf(error, AGENT_ERROR_MAX, "%.200s: %s", disks[1].path,
				 strerror(-result));
	}
	if (result != 0)
		agent_disks_forget(disks, identity);
	return result;
}

void agent_disks_forget(struct agent_disk disks[2], unsigned char identity[32])
{
	sodium_memzero(disks[0].key, sizeof(disks[0].key));
	sodium_memzero(disks[1].key, sizeof(disks[1].key));
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
