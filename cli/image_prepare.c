/*
 * `bulkhead image prepare`: a disk without identity, ready to be published.
 */
#include "image.h"
#include "output.h"

#include "convert.h"
#include "prepare.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static void show(void *context, double percent)
{
	struct output_progress *progress = context;

	output_progress_update(progress, (uint64_t)((double)progress->total_bytes * percent / 100));
}

/** Copies the disk and prepares the copy. */
static int prepare(const struct cli_context *context, const struct disk_image *image, int fd,
		   struct prepare_report *report, struct disk_why *why)
{
	struct output_progress progress;
	int error;

	output_progress_start(&progress, "Copying", image->facts.disk_bytes);
	error = disk_image_to_raw(image, fd, show, &progress, why);
	output_progress_end(&progress);
	if (!error)
		error = disk_prepare(fd, cli_switch(context, "keep-homes"), report, why);
	if (!error && fsync(fd))
		error = disk_refuse(why, errno, "cannot be flushed: %s", strerror(errno));
	return error;
}

int image_prepare_run(const struct cli_context *context)
{
	const char *path = cli_argument(context, 0), *output = cli_argument(context, 1);
	struct prepare_report report = {0};
	char temporary[4096];
	struct disk_image image;
	struct disk_why why;
	int fd, error;

	if (snprintf(temporary, sizeof(temporary), "%s.%ld.part", output, (long)getpid()) >= (int)sizeof(temporary))
		return cli_fail(context, "%s: %s", output, strerror(ENAMETOOLONG));
	if (!cli_switch(context, "replace") && access(output, F_OK) == 0)
		return cli_fail(context, "%s: exists; say --replace", output);
	if (disk_image_open(path, DISK_FORMATS, NULL, DISK_BYTES_DEFAULT_MAX, &image, &why))
		return cli_fail(context, "%s: %s", path, why.text);
	fd = open(temporary, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
	if (fd < 0) {
		disk_image_close(&image);
		return cli_fail(context, "%s: %s", temporary, strerror(errno));
	}
	error = prepare(context, &image, fd, &report, &why);
	disk_image_close(&image);
	close(fd);
	if (!error && renameat2(AT_FDCWD, temporary, AT_FDCWD, output,
				cli_switch(context, "replace") ? 0 : RENAME_NOREPLACE))
		error = disk_refuse(&why, errno, "%s", strerror(errno));
	if (error) {
		unlink(temporary);
		return cli_fail(context, "%s: %s", path, why.text);
	}
	if (cli_switch(context, "json")) {
		json_t *json = json_pack("{s:I, s:b, s:I}", "removed", (json_int_t)report.removed, "homes_moved",
					 report.homes_moved, "root_start", (json_int_t)report.root_start);

		output_json(json);
		json_decref(json);
	} else {
		printf("%u files of identity and logs removed; homes %s\n", report.removed,
		       report.homes_moved ? "go to the user disk" : "stay on the system disk");
	}
	return CLI_OK;
}
