/*
 * The table of formats, and the checks they share; see format.h.
 */
#include "format.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

static int raw_check(const struct disk_source *source, uint64_t *disk_bytes, struct disk_why *why)
{
	*disk_bytes = (source->size_bytes + 511) & ~511ull;
	return 0;
}

static const struct {
	const char *name;
	bool export;
	int (*check)(const struct disk_source *source, uint64_t *disk_bytes, struct disk_why *why);
} formats[DISK_FORMATS] = {
	[DISK_RAW] = {"raw", true, raw_check},
	[DISK_QCOW2] = {"qcow2", true, disk_qcow2_check},
	[DISK_VHD] = {"vhd", true, disk_vhd_check},
	[DISK_VHDX] = {"vhdx", false, disk_vhdx_check},
	[DISK_VMDK] = {"vmdk", false, disk_vmdk_check},
	[DISK_OVA] = {"ova", false, NULL},
};

const char *disk_format_name(enum disk_format format)
{
	return formats[format].name;
}

enum disk_format disk_format_named(const char *name)
{
	enum disk_format format = 0;

	while (format < DISK_FORMATS && strcmp(formats[format].name, name) != 0)
		format++;
	return format;
}

bool disk_format_can_export(enum disk_format format)
{
	return formats[format].export;
}

enum disk_format disk_format_guess(const struct disk_source *source)
{
	uint8_t start[512] = {0};
	uint8_t end[512] = {0};
	size_t have = source->size_bytes < sizeof(start) ? (size_t)source->size_bytes : sizeof(start);

	if (disk_source_read(source, 0, start, have))
		return DISK_RAW;
	if (memcmp(start, "QFI\xfb", 4) == 0)
		return DISK_QCOW2;
	if (memcmp(start, "vhdxfile", 8) == 0)
		return DISK_VHDX;
	if (memcmp(start, "KDMV", 4) == 0 || memcmp(start, "COWD", 4) == 0 ||
	    memcmp(start, "# Disk DescriptorFile", 21) == 0)
		return DISK_VMDK;
	if (memcmp(start, "conectix", 8) == 0)
		return DISK_VHD;
	if (memcmp(start + 257, "ustar", 5) == 0)
		return DISK_OVA;
	if (source->size_bytes >= 1024 && !disk_source_read(source, source->size_bytes - 512, end, sizeof(end)) &&
	    memcmp(end, "conectix", 8) == 0)
		return DISK_VHD;
	return DISK_RAW;
}

int disk_format_check(const struct disk_source *source, enum disk_format format, uint64_t bytes_max,
		      struct disk_facts *facts, struct disk_why *why)
{
	uint64_t disk_bytes;
	int error;

	if (format >= DISK_FORMATS || !formats[format].check)
		return disk_refuse(why, ENOTSUP, "is an archive, not a disk");
	error = formats[format].check(source, &disk_bytes, why);
	if (error == -ERANGE)
		return disk_refuse(why, EINVAL, "is cut short or damaged: its %s header points outside the file",
				   formats[format].name);
	if (error)
		return error;
	if (disk_bytes == 0)
		return disk_refuse(why, EINVAL, "holds a disk of 0 bytes");
	if (bytes_max > DISK_BYTES_MAX)
		bytes_max = DISK_BYTES_MAX;
	if (disk_bytes > bytes_max)
		return disk_refuse(why, EFBIG, "holds a disk of %" PRIu64 " bytes, more than the limit of %" PRIu64,
				   disk_bytes, bytes_max);
	if (disk_bytes % 512)
		return disk_refuse(why, EINVAL, "holds a disk of %" PRIu64 " bytes, not a multiple of 512",
				   disk_bytes);
	*facts = (struct disk_facts){.format = format, .disk_bytes = disk_bytes};
	return 0;
}
