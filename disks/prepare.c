/* Taking identity out of a disk; see prepare.h. What goes, and why, stands in one table. */
#include "prepare.h"
#include "partition.h"
#include "sandbox.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define DEBUGFS	      "/usr/sbin/debugfs"
#define E2FSCK	      "/usr/sbin/e2fsck"
#define EXT4_MAGIC_AT 1080u
#define TEXT_BYTES    (4u << 20)
#define DEPTH_MAX     8u
#define NAMES_MAX     100000u

/** What to remove. A folder's content goes, the folder stays; of a pattern all names that begin so. */
static const struct {
	const char *folder, *name;
	enum { ONE, PREFIX, CONTENT } what;
} identities[] = {
	{"/etc", "machine-id", ONE},		     /* an empty one is put in its place */
	{"/var/lib/dbus", "machine-id", ONE},
	{"/etc/ssh", "ssh_host_", PREFIX},	     /* two PCs with one host key cannot be told apart */
	{"/etc", "hostname", ONE},		     /* comes with the configuration disk */
	{"/var/lib/systemd", "random-seed", ONE},    /* the same seed on every PC is none */
	{"/var/lib/systemd", "credential.secret", ONE},
	{"/var/lib/urandom", "random-seed", ONE},
	{"/boot/efi/loader", "random-seed", ONE},
	{"/etc/udev/rules.d", "70-persistent-net.rules", ONE},
	{"/var/log", NULL, CONTENT},
	{"/var/tmp", NULL, CONTENT},
	{"/tmp", NULL, CONTENT},
	{"/var/lib/dhcp", NULL, CONTENT},
	{"/var/lib/NetworkManager", NULL, CONTENT},
	{"/var/lib/cloud", NULL, CONTENT},	     /* so that cloud-init sees a new machine */
	{"/root", ".bash_history", ONE},
	{"/root", ".ssh", CONTENT},
	{"/root", ".lesshst", ONE},
	{"/root", ".viminfo", ONE},
};

extern const char guest_agent_conf[], guest_home[], guest_home_unit[]; /* guest_files.S */

struct work {
	int fd;
	uint64_t start;
	char device[96]; /* the file system as debugfs and e2fsck open it */
	char *text;	 /* TEXT_BYTES for a tool's answer */
	FILE *script;	 /* debugfs commands that are to be carried out */
	struct prepare_report *report;
	struct disk_why *why;
	unsigned int names;
};

static int memory_file(const void *data, size_t bytes)
{
	int fd = memfd_create("prepare", MFD_CLOEXEC);

	if (fd >= 0 && write(fd, data, bytes) != (ssize_t)bytes) {
		close(fd);
		return -1;
	}
	return fd;
}

static int run_tool(struct work *work, const char *const *arguments, int script_fd, int extra_fd, int tolerated)
{
	struct sandbox_job job = {
		.arguments = arguments,
		.fds = {work->fd, script_fd, extra_fd},
		.memory_bytes = 2ull << 30,
		.file_bytes = UINT64_MAX >> 1,
		.output_bytes_max = UINT64_MAX,
		.seconds = 900,
		.tolerated_status = tolerated,
		.text = work->text,
		.text_bytes = TEXT_BYTES,
	};

	work->text[0] = '\0';
	return sandbox_run(&job, work->why);
}

/** Runs debugfs commands for changes. @extra_fd: a file that they write into the image, or -1. */
static int run_script(struct work *work, const char *commands, size_t bytes, int extra_fd)
{
	const char *arguments[] = {DEBUGFS, "-w", "-f", SANDBOX_OUTPUT, work->device, NULL};
	int script = memory_file(commands, bytes), error;

	if (script < 0)
		return disk_refuse(work->why, ENOMEM, "no memory for a script");
	error = run_tool(work, arguments, script, extra_fd, 0);
	close(script);
	return error;
}

/** A name that can stand in a command of debugfs between quotes. */
static bool is_safe(const char *name)
{
	for (; *name; name++)
		if (!isprint((unsigned char)*name) || *name == '"' || *name == '\\')
			return false;
	return true;
}

/** Lists a folder into work->text, as lines "/inode/mode/uid/gid/name/size/". An absent folder is an empty list. */
static int list(struct work *work, const char *folder)
{
	char command[1100];
	const char *arguments[] = {DEBUGFS, "-R", command, work->device, NULL};

	snprintf(command, sizeof(command), "ls -p \"%s\"", folder);
	return run_tool(work, arguments, -1, -1, 0);
}

/** One line of a list. Returns false at the end. The entries "." and ".." are passed over. */
static bool next_name(char **at, unsigned int *mode, char **name)
{
	while (*at && **at) {
		char *line = *at, *end = strchr(line, '\n'), *field = line;

		*at = end ? end + 1 : NULL;
		if (end)
			*end = '\0';
		if (*line != '/')
			continue;
		/* inode, mode, uid, gid, name */
		field = strchr(field + 1, '/');
		if (!field)
			continue;
		*mode = (unsigned int)strtoul(field + 1, NULL, 8);
		for (int i = 0; field && i < 3; i++)
			field = strchr(field + 1, '/');
		if (!field || !(end = strrchr(field + 1, '/')) || end == field)
			continue;
		*end = '\0'; /* behind the size */
		end = strrchr(field + 1, '/');
		if (!end)
			continue;
		*end = '\0';
		*name = field + 1;
		if (strcmp(*name, ".") != 0 && strcmp(*name, "..") != 0)
			return true;
	}
	return false;
}

/** Writes commands that empty a folder. */
static int empty_folder(struct work *work, const char *folder, unsigned int depth)
{
	char *names, *at, *name;
	unsigned int mode;
	int error = list(work, folder);

	if (error)
		return error;
	if (depth > DEPTH_MAX)
		return disk_refuse(work->why, E2BIG, "%s: nests deeper than %u folders", folder, DEPTH_MAX);
	names = at = strdup(work->text);
	if (!names)
		return disk_refuse(work->why, ENOMEM, "no memory");
	while (!error && next_name(&at, &mode, &name)) {
		char path[1024];

		if (!is_safe(name) || ++work->names > NAMES_MAX ||
		    snprintf(path, sizeof(path), "%s/%s", folder, name) >= (int)sizeof(path)) {
			error = disk_refuse(work->why, EINVAL, "%s: holds a name that cannot be removed; clean it before",
					    folder);
			break;
		}
		if ((mode & 0170000) == 0040000) {
			error = empty_folder(work, path, depth + 1);
			/* Folders of logs stay: services expect them. */
			continue;
		}
		fprintf(work->script, "rm \"%s\"\n", path);
		work->report->removed++;
	}
	free(names);
	return error;
}

static int remove_names(struct work *work, const char *folder, const char *wanted, bool prefix)
{
	char *at, *name;
	unsigned int mode;
	int error = list(work, folder);

	at = work->text;
	while (!error && next_name(&at, &mode, &name)) {
		if ((prefix ? strncmp(name, wanted, strlen(wanted)) : strcmp(name, wanted)) != 0 || !is_safe(name) ||
		    (mode & 0170000) == 0040000)
			continue;
		fprintf(work->script, "rm \"%s/%s\"\n", folder, name);
		work->report->removed++;
	}
	return error;
}

static int remove_identities(struct work *work)
{
	char *script = NULL, path[128];
	size_t bytes = 0;
	int error = 0;

	work->script = open_memstream(&script, &bytes);
	if (!work->script)
		return disk_refuse(work->why, ENOMEM, "no memory");
	for (size_t i = 0; !error && i < sizeof(identities) / sizeof(*identities); i++) {
		if (identities[i].what == CONTENT) {
			snprintf(path, sizeof(path), "%s%s%s", identities[i].folder, identities[i].name ? "/" : "",
				 identities[i].name ? identities[i].name : "");
			error = empty_folder(work, path, 0);
		} else {
			error = remove_names(work, identities[i].folder, identities[i].name,
					     identities[i].what == PREFIX);
		}
	}
	fclose(work->script);
	if (!error && bytes)
		error = run_script(work, script, bytes, -1);
	free(script);
	return error;
}

/** Makes a folder and those above it where they are missing. Nothing may be written before it is known to be there:
 * after a `cd` that failed, debugfs goes on where it was. */
static int make_folder(struct work *work, const char *folder)
{
	char commands[512] = "", path[128];
	size_t length = 0;
	int error;

	for (const char *end = strchr(folder + 1, '/');; end = strchr(end + 1, '/')) {
		size_t bytes = end ? (size_t)(end - folder) : strlen(folder);

		snprintf(path, sizeof(path), "%.*s", (int)bytes, folder);
		error = list(work, path);
		if (error)
			return error;
		if (!strchr(work->text, '/'))
			length += (size_t)snprintf(commands + length, sizeof(commands) - length, "mkdir \"%s\"\n", path);
		if (!end)
			break;
	}
	if (length)
		error = run_script(work, commands, length, -1);
	if (!error)
		error = list(work, folder);
	if (!error && !strchr(work->text, '/'))
		error = disk_refuse(work->why, EINVAL, "%s: cannot be made in its root file system; is it a link?", folder);
	return error;
}

/** Puts a file into the image, in a folder that is made if it is missing. */
static int put_file(struct work *work, const char *folder, const char *name, const char *content, const char *mode)
{
	char commands[512];
	int extra, error = make_folder(work, folder);

	if (error)
		return error;
	extra = memory_file(content, strlen(content));
	if (extra < 0)
		return disk_refuse(work->why, ENOMEM, "no memory");
	snprintf(commands, sizeof(commands),
		 "cd \"%s\"\nrm \"%s\"\nwrite " SANDBOX_EXTRA " \"%s\"\nsif \"%s\" mode %s\n"
		 "sif \"%s\" uid 0\nsif \"%s\" gid 0\n",
		 folder, name, name, name, mode, name, name);
	error = run_script(work, commands, strlen(commands), extra);
	close(extra);
	return error;
}

static int move_homes(struct work *work)
{
	static const char enable[] = "cd /etc/systemd/system/local-fs.target.wants\n"
				     "symlink bulkhead-home.service ../bulkhead-home.service\n";
	int error = put_file(work, "/usr/lib/bulkhead", "bulkhead-home", guest_home, "0100755");

	if (!error)
		error = put_file(work, "/etc/systemd/system", "bulkhead-home.service", guest_home_unit, "0100644");
	if (!error)
		error = make_folder(work, "/etc/systemd/system/local-fs.target.wants");
	if (!error)
		error = run_script(work, enable, sizeof(enable) - 1, -1);
	work->report->homes_moved = !error;
	return error;
}

/** Whatever guest agent the image has: it will do little for the service domain. */
static int bind_guest_agent(struct work *work)
{
	return put_file(work, "/etc/systemd/system/qemu-guest-agent.service.d", "bulkhead.conf", guest_agent_conf, "0100644");
}

/**
 * Checks the file system; also gives unused space back, so that what was removed is not in the image any more.
 * Status 1: errors were found and corrected.
 */
static int check(struct work *work)
{
	const char *arguments[] = {E2FSCK, "-f", "-y", "-E", "discard", work->device, NULL};

	return run_tool(work, arguments, -1, -1, 1);
}

/** The ext4 file system that has /etc: the root. */
static int find_root(struct work *work, const struct disk_source *disk)
{
	static struct partition_table table;
	uint8_t magic[2];
	int error = partition_read(disk, &table, work->why);

	for (unsigned int i = 0; !error && i < table.count; i++) {
		if (table.partitions[i].size_bytes < 1 << 20 ||
		    disk_source_read(disk, table.partitions[i].start + EXT4_MAGIC_AT, magic, 2) ||
		    disk_le16(magic) != 0xef53)
			continue;
		work->start = table.partitions[i].start;
		snprintf(work->device, sizeof(work->device), SANDBOX_INPUT "?offset=%llu",
			 (unsigned long long)work->start);
		error = check(work);
		if (!error)
			error = list(work, "/etc");
		if (!error && strchr(work->text, '/'))
			return 0;
	}
	return error ? error
		     : disk_refuse(work->why, ENOTSUP,
				   "has no ext4 root file system; other kinds cannot be prepared, clean it in the machine");
}

int disk_prepare(int raw_fd, bool keep_homes, struct prepare_report *report, struct disk_why *why)
{
	struct work work = {.fd = raw_fd, .report = report, .why = why};
	struct disk_source disk;
	int error = disk_source_open(&disk, raw_fd, why);

	if (error)
		return error;
	memset(report, 0, sizeof(*report));
	work.text = malloc(TEXT_BYTES);
	if (!work.text)
		return disk_refuse(why, ENOMEM, "no memory");
	error = find_root(&work, &disk);
	report->root_start = work.start;
	if (!error)
		error = remove_identities(&work);
	if (!error)
		error = put_file(&work, "/etc", "machine-id", "", "0100444");
	if (!error)
		error = bind_guest_agent(&work);
	if (!error && !keep_homes)
		error = move_homes(&work);
	if (!error)
		error = check(&work);
	free(work.text);
	return error;
}
