/*
 * `bulkhead image inspect`, `import` and `export`: what disks/convert.h does, for people.
 */
#include "image.h"
#include "output.h"

#include "convert.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int read_format(const struct cli_context *context, enum disk_format *format)
{
	const char *name = cli_value(context, "format");

	*format = name ? disk_format_named(name) : DISK_FORMATS;
	if (name && *format == DISK_FORMATS)
		return cli_usage(context, "%s: no such format; raw, qcow2, vhd, vhdx, vmdk and ova are known", name);
	return CLI_OK;
}

static json_t *describe(const struct disk_image *image)
{
	json_t *report = json_pack("{s:s, s:I}", "format", disk_format_name(image->container), "disk_bytes",
				   (json_int_t)image->facts.disk_bytes);

	if (image->container != DISK_OVA)
		return report;
	json_t *machine = json_pack("{s:s, s:I, s:I}", "name", image->machine.name, "processors",
				    (json_int_t)image->machine.processors, "memory_bytes",
				    (json_int_t)image->machine.memory_bytes);
	json_t *disks = json_array();

	for (unsigned int i = 0; i < image->machine.disk_count; i++)
		json_array_append_new(disks, json_pack("{s:s, s:I}", "file", image->machine.disks[i].file,
						       "capacity_bytes",
						       (json_int_t)image->machine.disks[i].capacity_bytes));
	json_object_set_new(machine, "disks", disks);
	json_object_set_new(report, "machine", machine);
	return report;
}

static void print_image(const struct disk_image *image)
{
	char size[16];

	printf("format      %s\n", disk_format_name(image->container));
	printf("disk        %s (%" PRIu64 " bytes)\n", output_bytes(image->facts.disk_bytes, size),
	       image->facts.disk_bytes);
	if (image->container != DISK_OVA)
		return;
	printf("machine     %s\n", image->machine.name[0] ? image->machine.name : "without a name");
	printf("processors  %" PRIu32 "\n", image->machine.processors);
	printf("memory      %s\n", output_bytes(image->machine.memory_bytes, size));
	for (unsigned int i = 0; i < image->machine.disk_count; i++)
		printf("disk file   %s, %s\n", image->machine.disks[i].file,
		       output_bytes(image->machine.disks[i].capacity_bytes, size));
}

int image_inspect_run(const struct cli_context *context)
{
	const char *path = cli_argument(context, 0);
	struct disk_image image;
	struct disk_why why;
	enum disk_format format;
	int status = read_format(context, &format);

	if (status != CLI_OK)
		return status;
	if (disk_image_open(path, format, cli_value(context, "disk"), DISK_BYTES_MAX, &image, &why))
		return cli_fail(context, "%s: %s", path, why.text);
	if (cli_switch(context, "json")) {
		json_t *report = describe(&image);

		output_json(report);
		json_decref(report);
	} else {
		print_image(&image);
	}
	disk_image_close(&image);
	return CLI_OK;
}

static void show_progress(void *context, double percent)
{
	struct output_progress *progress = context;

	output_progress_update(progress, (uint64_t)((double)progress->total_bytes * percent / 100));
}

/** Converts into a file under another name, then gives it its name. */
static int import_to(const struct disk_image *image, const char *raw, bool replace, struct disk_why *why)
{
	struct output_progress progress;
	char temporary[4096];
	int error, fd;

	if (snprintf(temporary, sizeof(temporary), "%s.%ld.part", raw, (long)getpid()) >= (int)sizeof(temporary))
		return disk_refuse(why, ENAMETOOLONG, "%s", strerror(ENAMETOOLONG));
	if (!replace && access(raw, F_OK) == 0)
		return disk_refuse(why, EEXIST, "exists; say --replace");
	fd = open(temporary, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
	if (fd < 0)
		return disk_refuse(why, errno, "%s cannot be made: %s", temporary, strerror(errno));
	output_progress_start(&progress, "Importing", image->facts.disk_bytes);
	error = disk_image_to_raw(image, fd, show_progress, &progress, why);
	output_progress_end(&progress);
	if (!error && fsync(fd))
		error = disk_refuse(why, errno, "cannot be flushed: %s", strerror(errno));
	if (!error && renameat2(AT_FDCWD, temporary, AT_FDCWD, raw, replace ? 0 : RENAME_NOREPLACE))
		error = disk_refuse(why, errno, "%s", strerror(errno));
	close(fd);
	if (error)
		unlink(temporary);
	return error;
}

int image_import_run(const struct cli_context *context)
{
	const char *path = cli_argument(context, 0), *raw = cli_argument(context, 1);
	uint64_t bytes_max = DISK_BYTES_DEFAULT_MAX;
	struct disk_image image;
	struct disk_why why;
	enum disk_format format;
	struct stat status;
	int error, usage = read_format(context, &format);

	if (usage == CLI_OK)
		usage = cli_number(context, "max-size", 512, DISK_BYTES_MAX, &bytes_max);
	if (usage != CLI_OK)
		return usage;
	if (disk_image_open(path, format, cli_value(context, "disk"), bytes_max, &image, &why))
		return cli_fail(context, "%s: %s", path, why.text);
	error = import_to(&image, raw, cli_switch(context, "replace"), &why);
	disk_image_close(&image);
	if (error == -EEXIST)
		return cli_fail(context, "%s: %s", raw, why.text);
	if (error)
		return cli_fail(context, "%s: %s", path, why.text);
	if (cli_switch(context, "json") && stat(raw, &status) == 0) {
		json_t *report = describe(&image);

		json_object_set_new(report, "raw_bytes", json_integer(status.st_size));
		json_object_set_new(report, "stored_bytes", json_integer((json_int_t)status.st_blocks * 512));
		output_json(report);
		json_decref(report);
	}
	return CLI_OK;
}

int image_export_run(const struct cli_context *context)
{
	const char *raw = cli_argument(context, 0), *output = cli_argument(context, 1);
	const char *dot = strrchr(output, '.');
	struct output_progress progress;
	struct disk_why why;
	struct stat status;
	enum disk_format format;
	int fd, error, usage = read_format(context, &format);

	if (usage != CLI_OK)
		return usage;
	if (format == DISK_FORMATS && dot)
		format = strcmp(dot, ".img") == 0 ? DISK_RAW : disk_format_named(dot + 1);
	if (format == DISK_FORMATS)
		return cli_usage(context, "%s: its ending names no format; say --format raw, qcow2 or vhd", output);
	fd = open(raw, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return cli_fail(context, "%s: %s", raw, strerror(errno));
	output_progress_start(&progress, "Exporting", fstat(fd, &status) ? 0 : (uint64_t)status.st_size);
	error = disk_export(fd, format, output, cli_switch(context, "replace"), show_progress, &progress, &why);
	output_progress_end(&progress);
	close(fd);
	return error ? cli_fail(context, "%s: %s", output, why.text) : CLI_OK;
}
