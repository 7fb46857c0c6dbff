/*
 * Images in and out; see convert.h.
 */
#include "convert.h"
#include "sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define QEMU_IMG     "/usr/bin/qemu-img"
#define MEMORY_BYTES (2ull << 30)
#define SPARE_BYTES  (256ull << 20)
#define BLOCK	     4096ull

static bool has_suffix(const char *name, const char *suffix)
{
	size_t length = strlen(name), want = strlen(suffix);

	return length > want && strcasecmp(name + length - want, suffix) == 0;
}

static int open_input(const char *path, struct disk_source *source, struct disk_why *why)
{
	/* Not blocking: the name may turn out to be a pipe that nobody writes to. */
	int error, fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);

	if (fd < 0)
		return disk_refuse(why, errno, "%s", strerror(errno));
	error = disk_source_open(source, fd, why);
	if (error) {
		close(fd);
		return error;
	}
	return fd;
}

/** The disk that is meant: by name, or the only one. */
static int choose_disk(const struct ovf_machine *machine, const char *disk_name, const char **file,
		       struct disk_why *why)
{
	if (machine->disk_count == 0)
		return disk_refuse(why, EINVAL, "describes no disk");
	if (!disk_name && machine->disk_count > 1)
		return disk_refuse(why, EINVAL, "has %u disks; name one with --disk, the first is '%s'",
				   machine->disk_count, machine->disks[0].file);
	*file = machine->disks[0].file;
	for (unsigned int i = 0; disk_name && i < machine->disk_count; i++) {
		*file = machine->disks[i].file;
		if (strcmp(*file, disk_name) == 0)
			return 0;
	}
	return disk_name ? disk_refuse(why, ENOENT, "has no disk '%s'", disk_name) : 0;
}

static int read_description(const struct disk_source *source, uint64_t start, uint64_t size_bytes,
			    struct ovf_machine *machine, struct disk_why *why)
{
	char *text;
	int error;

	if (size_bytes > OVF_BYTES_MAX)
		return disk_refuse(why, EFBIG, "has a description larger than %u bytes", OVF_BYTES_MAX);
	text = malloc(size_bytes + 1);
	if (!text)
		return disk_refuse(why, ENOMEM, "no memory for its description");
	error = disk_source_read(source, start, text, size_bytes);
	if (error)
		error = disk_refuse(why, -error, "its description cannot be read: %s", strerror(-error));
	else
		error = ovf_parse(text, size_bytes, machine, why);
	free(text);
	return error;
}

static int open_archive(struct disk_image *image, const char *disk_name, struct disk_why *why)
{
	struct ova_index index;
	const struct ova_entry *entry;
	struct disk_source whole = image->disk;
	const char *file;
	int error = ova_index_read(&whole, &index, why);

	if (error)
		return error;
	error = read_description(&whole, index.entries[0].start, index.entries[0].size_bytes, &image->machine, why);
	if (!error)
		error = choose_disk(&image->machine, disk_name, &file, why);
	if (error)
		return error;
	entry = ova_index_find(&index, file);
	if (!entry)
		return disk_refuse(why, EINVAL, "lacks the disk '%s' that it describes", file);
	error = ova_verify(&whole, &index, why);
	return error ? error : disk_source_part(&image->disk, &whole, entry->start, entry->size_bytes);
}

/** A loose description: its disk is a plain name in the same folder. */
static int open_loose(struct disk_image *image, const char *path, const char *disk_name, struct disk_why *why)
{
	char folder[PATH_MAX];
	const char *file;
	int directory, fd, error;

	error = read_description(&image->disk, 0, image->disk.size_bytes, &image->machine, why);
	if (!error)
		error = choose_disk(&image->machine, disk_name, &file, why);
	if (error)
		return error;
	if (strlen(path) >= sizeof(folder))
		return disk_refuse(why, ENAMETOOLONG, "%s", strerror(ENAMETOOLONG));
	directory = open(dirname(strcpy(folder, path)), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (directory < 0)
		return disk_refuse(why, errno, "%s", strerror(errno));
	fd = openat(directory, file, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	error = fd < 0 ? errno : 0;
	close(directory);
	if (fd < 0)
		return disk_refuse(why, error, "its disk '%s' cannot be opened beside it: %s", file, strerror(error));
	close(image->fd);
	image->fd = fd;
	return disk_source_open(&image->disk, fd, why);
}

int disk_image_open(const char *path, enum disk_format format, const char *disk_name, uint64_t bytes_max,
		    struct disk_image *image, struct disk_why *why)
{
	int error = 0;

	memset(image, 0, sizeof(*image));
	image->fd = open_input(path, &image->disk, why);
	if (image->fd < 0)
		return image->fd;
	image->container = format == DISK_FORMATS ? disk_format_guess(&image->disk) : format;
	if (has_suffix(path, ".ovf") && format == DISK_FORMATS) {
		image->container = DISK_OVA;
		error = open_loose(image, path, disk_name, why);
	} else if (image->container == DISK_OVA) {
		error = open_archive(image, disk_name, why);
	} else if (disk_name) {
		error = disk_refuse(why, EINVAL, "is one disk, not an archive; leave --disk away");
	} else if (format == DISK_FORMATS && image->container == DISK_RAW && !has_suffix(path, ".raw") &&
		   !has_suffix(path, ".img") && !has_suffix(path, ".iso")) {
		error = disk_refuse(why, EINVAL, "has no format that is known; a raw disk is called .raw or .img");
	}
	if (!error)
		error = disk_format_check(&image->disk, image->container == DISK_OVA ? DISK_VMDK : image->container,
					  bytes_max, &image->facts, why);
	if (error)
		disk_image_close(image);
	return error;
}

void disk_image_close(struct disk_image *image)
{
	if (image->fd >= 0)
		close(image->fd);
	image->fd = -1;
}

/** Time that the largest honest image of its kind needs many times over. */
static unsigned int time_limit(uint64_t file_bytes, uint64_t disk_bytes)
{
	return (unsigned int)(120 + (file_bytes >> 21) + (disk_bytes >> 30));
}

/** The options that make QEMU open @format and nothing else. */
static void source_options(const struct disk_image *image, char *options, size_t size)
{
	static const char *const drivers[DISK_FORMATS] = {
		[DISK_RAW] = "driver=raw",
		[DISK_QCOW2] = "driver=qcow2",
		[DISK_VHD] = "driver=vpc,force_size_calc=current_size",
		[DISK_VHDX] = "driver=vhdx",
		[DISK_VMDK] = "driver=vmdk",
	};

	snprintf(options, size,
		 "%s,file.driver=raw,file.offset=%" PRIu64 ",file.size=%" PRIu64
		 ",file.file.driver=file,file.file.filename=" SANDBOX_INPUT,
		 drivers[image->facts.format], image->disk.start, image->disk.size_bytes);
}

/**
 * Has QEMU walk the image's tables first: what they lead to outside the file would read as zeros without a word.
 * Space that no table names (status 3) is no harm.
 */
static int check_tables(const struct disk_image *image, const char *options, struct disk_why *why)
{
	const char *arguments[] = {QEMU_IMG, "check", "-q", "--image-opts", options, NULL};
	struct sandbox_job job = {
		.arguments = arguments,
		.fds = {image->fd, -1, -1},
		.memory_bytes = MEMORY_BYTES,
		.seconds = time_limit(image->disk.size_bytes, image->facts.disk_bytes),
		.tolerated_status = 3,
	};
	int error = sandbox_run(&job, why);

	if (error == -EIO)
		return disk_refuse(why, EINVAL, "is damaged: qemu-img check finds errors in its %s tables",
				   disk_format_name(image->facts.format));
	return error;
}

int disk_image_to_raw(const struct disk_image *image, int raw_fd, void (*progress)(void *context, double percent),
		      void *context, struct disk_why *why)
{
	static const char target[] = "driver=raw,file.driver=file,file.filename=" SANDBOX_OUTPUT;
	uint64_t raw_bytes = (image->facts.disk_bytes + BLOCK - 1) / BLOCK * BLOCK;
	char options[256];
	const char *arguments[] = {QEMU_IMG, "convert", "-p", "-n", "--target-is-zero", "--image-opts",
				   "--target-image-opts", options, target, NULL};
	struct statvfs space;
	uint64_t free_bytes;
	int error;

	if (fstatvfs(raw_fd, &space))
		return disk_refuse(why, errno, "the space for it cannot be told: %s", strerror(errno));
	free_bytes = (uint64_t)space.f_bavail * space.f_frsize;
	if (ftruncate(raw_fd, (off_t)raw_bytes))
		return disk_refuse(why, errno, "a file of %" PRIu64 " bytes cannot be made: %s", raw_bytes,
				   strerror(errno));
	source_options(image, options, sizeof(options));
	if (image->facts.format != DISK_RAW && image->facts.format != DISK_VHD) {
		error = check_tables(image, options, why);
		if (error)
			return error;
	}
	struct sandbox_job job = {
		.arguments = arguments,
		.fds = {image->fd, raw_fd, -1},
		.memory_bytes = MEMORY_BYTES,
		.file_bytes = raw_bytes,
		.output_bytes_max = free_bytes > SPARE_BYTES ? free_bytes - SPARE_BYTES : 0,
		.seconds = time_limit(image->disk.size_bytes, raw_bytes),
		.progress = progress,
		.context = context,
	};
	return sandbox_run(&job, why);
}

static int run_export(int raw_fd, int out_fd, enum disk_format format,
		      void (*progress)(void *context, double percent), void *context, struct disk_why *why)
{
	static const char *const drivers[DISK_FORMATS] = {
		[DISK_RAW] = "raw", [DISK_QCOW2] = "qcow2", [DISK_VHD] = "vpc"};
	/* VHD: the exact size, not one rounded to a geometry of the 1990s. */
	const char *arguments[] = {QEMU_IMG, "convert", "-p", "-f", "raw", "-O", drivers[format], SANDBOX_INPUT,
				   SANDBOX_OUTPUT, NULL, NULL, NULL};
	struct disk_source source;
	struct statvfs space;
	uint64_t free_bytes;
	int error = disk_source_open(&source, raw_fd, why);

	if (error)
		return error;
	if (format == DISK_VHD) {
		memcpy(arguments + 7, (const char *[]){"-o", "force_size=on", SANDBOX_INPUT, SANDBOX_OUTPUT},
		       4 * sizeof(*arguments));
	}
	if (fstatvfs(out_fd, &space))
		return disk_refuse(why, errno, "the space for it cannot be told: %s", strerror(errno));
	free_bytes = (uint64_t)space.f_bavail * space.f_frsize;
	struct sandbox_job job = {
		.arguments = arguments,
		.fds = {raw_fd, out_fd, -1},
		.memory_bytes = MEMORY_BYTES,
		.file_bytes = source.size_bytes + source.size_bytes / 8 + SPARE_BYTES,
		.output_bytes_max = free_bytes > SPARE_BYTES ? free_bytes - SPARE_BYTES : 0,
		.seconds = time_limit(source.size_bytes, source.size_bytes),
		.progress = progress,
		.context = context,
	};
	return sandbox_run(&job, why);
}

int disk_export(int raw_fd, enum disk_format format, const char *path, bool replace,
		void (*progress)(void *context, double percent), void *context, struct disk_why *why)
{
	char folder[PATH_MAX], temporary[PATH_MAX + 32];
	int directory, fd, error;

	if (!disk_format_can_export(format))
		return disk_refuse(why, ENOTSUP, "%s cannot be written; raw, qcow2 and vhd can",
				   disk_format_name(format));
	if (strlen(path) >= sizeof(folder))
		return disk_refuse(why, ENAMETOOLONG, "%s", strerror(ENAMETOOLONG));
	snprintf(temporary, sizeof(temporary), "%s.%ld.part", path, (long)getpid());
	fd = open(temporary, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
	if (fd < 0)
		return disk_refuse(why, errno, "%s cannot be made: %s", temporary, strerror(errno));
	error = run_export(raw_fd, fd, format, progress, context, why);
	if (!error && fsync(fd))
		error = disk_refuse(why, errno, "cannot be flushed: %s", strerror(errno));
	if (!error && renameat2(AT_FDCWD, temporary, AT_FDCWD, path, replace ? 0 : RENAME_NOREPLACE))
		error = disk_refuse(why, errno, "%s", errno == EEXIST ? "exists; say --replace" : strerror(errno));
	close(fd);
	if (error) {
		unlink(temporary);
		return error;
	}
	directory = open(dirname(strcpy(folder, path)), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (directory < 0 || fsync(directory))
		error = disk_refuse(why, errno, "its folder cannot be flushed: %s", strerror(errno));
	if (directory >= 0)
		close(directory);
	return error;
}
