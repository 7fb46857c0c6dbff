/* Disks that a person plugs in: see stick.h. */
#include "stick.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>

#define SECTOR_BYTES 512u /* of sysfs, whatever the disk's are */

/* What has no stick behind it: made of files, memory or other disks, or a disc. */
static const char *const not_plugged_in[] = {"loop", "ram", "zram", "dm-", "md", "sr", "fd", "nbd"};

static bool can_be_plugged_in(const char *name)
{
	for (size_t i = 0; i < sizeof(not_plugged_in) / sizeof(not_plugged_in[0]); i++)
		if (strncmp(name, not_plugged_in[i], strlen(not_plugged_in[i])) == 0)
			return false;
	return name[0] != '.' && strlen(name) < STICK_NAME_BYTES;
}

static uint64_t size_of(const char *folder)
{
	unsigned long long sectors = 0;
	char path[192];
	FILE *file;

	if (snprintf(path, sizeof(path), "%s/size", folder) >= (int)sizeof(path))
		return 0;
	file = fopen(path, "re");
	if (!file)
		return 0;
	if (fscanf(file, "%llu", &sectors) != 1)
		sectors = 0;
	fclose(file);
	return sectors * SECTOR_BYTES;
}

static void read_model(const char *disk, char model[STICK_NAME_BYTES])
{
	char path[STICK_NAME_BYTES + 32];
	size_t length;
	FILE *file;

	model[0] = '\0';
	snprintf(path, sizeof(path), "/sys/block/%s/device/model", disk);
	file = fopen(path, "re");
	if (!file)
		return;
	if (!fgets(model, STICK_NAME_BYTES, file))
		model[0] = '\0';
	fclose(file);
	for (length = strlen(model); length > 0 && (model[length - 1] == ' ' || model[length - 1] == '\n'); length--)
		model[length - 1] = '\0';
}

/** Whether no part of a disk is mounted, mapped or otherwise claimed. */
static bool is_unused(const char *name)
{
	char path[STICK_NAME_BYTES + 8];
	int file;

	snprintf(path, sizeof(path), "/dev/%s", name);
	file = open(path, O_RDONLY | O_EXCL | O_CLOEXEC);
	if (file < 0)
		return false;
	close(file);
	return true;
}

static int add(struct stick *sticks, int most, int count, const char *disk, const char *name, const char *folder)
{
	uint64_t size = size_of(folder);

	if (size == 0 || count == most)
		return count;
	sticks[count] = (struct stick){.size_bytes = size, .is_part = strcmp(disk, name) != 0};
	snprintf(sticks[count].name, STICK_NAME_BYTES, "%s", name);
	read_model(disk, sticks[count].model);
	return count + 1;
}

/** The folders below one disk's whose names begin with its own are its parts. */
static int add_parts(struct stick *sticks, int most, int count, const char *name, const char *folder)
{
	struct dirent **entries;
	int found = scandir(folder, &entries, NULL, alphasort);

	for (int i = 0; i < found; i++) {
		const char *part = entries[i]->d_name;
		char path[128];

		if (strncmp(part, name, strlen(name)) == 0 && strlen(part) < STICK_NAME_BYTES &&
		    snprintf(path, sizeof(path), "%s/%s", folder, part) < (int)sizeof(path))
			count = add(sticks, most, count, name, part, path);
		free(entries[i]);
	}
	if (found >= 0)
		free(entries);
	return count;
}

int stick_find(struct stick *sticks, int most)
{
	struct dirent **entries;
	int found = scandir("/sys/block", &entries, NULL, alphasort), count = 0;

	for (int i = 0; i < found; i++) {
		const char *name = entries[i]->d_name;
		char folder[64];

		if (can_be_plugged_in(name) && snprintf(folder, sizeof(folder), "/sys/block/%s", name) < (int)sizeof(folder) &&
		    is_unused(name)) {
			count = add(sticks, most, count, name, name, folder);
			count = add_parts(sticks, most, count, name, folder);
		}
		free(entries[i]);
	}
	if (found >= 0)
		free(entries);
	return count;
}

static int set(int context, const char *key, const char *value)
{
	return fsconfig(context, value ? FSCONFIG_SET_STRING : FSCONFIG_SET_FLAG, key, value, 0);
}

/** A mount that lies nowhere in the tree; -1 with errno. */
static int mount_as(const char *type, bool has_owners, const char *name, bool writable, uid_t owner)
{
	char device[STICK_NAME_BYTES + 8], user[16];
	unsigned int attributes = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC;
	int context = fsopen(type, FSOPEN_CLOEXEC), root = -1;
	bool good;

	if (context < 0)
		return -1;
	snprintf(device, sizeof(device), "/dev/%s", name);
	snprintf(user, sizeof(user), "%u", owner);
	good = set(context, "source", device) == 0 && (writable || set(context, "ro", NULL) == 0);
	if (good && !has_owners)
		good = set(context, "uid", user) == 0 && set(context, "umask", "0077") == 0;
	if (good && fsconfig(context, FSCONFIG_CMD_CREATE, NULL, NULL, 0) == 0)
		root = fsmount(context, FSMOUNT_CLOEXEC, attributes | (writable ? 0 : MOUNT_ATTR_RDONLY));
	close(context);
	return root;
}

/* How each file system says what it is: bytes at a place of its first 2 KiB (Microsoft's FAT and exFAT specifications; ext4's
 * superblock at 1024, little endian). FAT12 has no other mark than FAT16. */
static const struct file_system {
	const char *type;
	bool has_owners;
	size_t at;
	const char *mark;
} file_systems[] = {
	{"vfat", false, 82, "FAT32   "}, {"vfat", false, 54, "FAT16   "}, {"vfat", false, 54, "FAT12   "},
	{"exfat", false, 3, "EXFAT   "}, {"ext4", true, 1024 + 56, "\x53\xef"},
};

/** Which one lies there; NULL: none of those. The kernel is asked to read nothing else: it would say so on the screen. */
static const struct file_system *recognize(const char *name)
{
	char device[STICK_NAME_BYTES + 8], begin[2048];
	ssize_t size;
	int file;

	snprintf(device, sizeof(device), "/dev/%s", name);
	file = open(device, O_RDONLY | O_CLOEXEC);
	if (file < 0)
		return NULL;
	size = pread(file, begin, sizeof(begin), 0);
	close(file);
	for (size_t i = 0; size == sizeof(begin) && i < sizeof(file_systems) / sizeof(file_systems[0]); i++)
		if (memcmp(begin + file_systems[i].at, file_systems[i].mark, strlen(file_systems[i].mark)) == 0)
			return &file_systems[i];
	return NULL;
}

int stick_open(const char *name, bool writable, uid_t owner)
{
	const struct file_system *found = recognize(name);
	int root;

	if (!found)
		return -ENOTSUP;
	root = mount_as(found->type, found->has_owners, name, writable, owner);
	return root >= 0 ? root : -errno;
}
