/*
 * VMDK (VMware Virtual Disk Format 5.0), as one file: sparse ("monolithicSparse") and the compressed form that
 * appliances use ("streamOptimized"). Refused: descriptions that lead to other files, parents, ESX's own forms.
 */
#include "format.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#define HEADER_BYTES	 512
#define DESCRIPTOR_BYTES (64u << 10)
#define SECTOR		 512ull
#define GD_AT_END	 UINT64_MAX
#define FLAG_COMPRESSED	 (1u << 16)
#define DIRECTORY_MAX	 (64ull << 20)

/** The value after @key= at the start of a line of @text, or NULL. */
static const char *line_value(const char *text, const char *key)
{
	size_t length = strlen(key);

	for (const char *line = text; line; line = strchr(line, '\n'), line += line ? 1 : 0)
		if (strncmp(line, key, length) == 0 && line[length] == '=')
			return line + length + 1;
	return NULL;
}

static int check_extents(const char *text, struct disk_why *why)
{
	unsigned int extents = 0;

	for (const char *line = text; line; line = strchr(line, '\n'), line += line ? 1 : 0) {
		if (strncmp(line, "RW ", 3) != 0 && strncmp(line, "RDONLY ", 7) != 0 &&
		    strncmp(line, "NOACCESS ", 9) != 0)
			continue;
		const char *end = strchr(line, '\n');
		const char *sparse = strstr(line, " SPARSE ");

		if (!sparse || (end && sparse > end))
			return disk_refuse(why, ENOTSUP, "keeps its data in other files; export it as one file (OVA)");
		extents++;
	}
	if (extents != 1)
		return disk_refuse(why, ENOTSUP, "has %u extents where one file has one; export it as one file (OVA)",
				   extents);
	return 0;
}

static int check_descriptor(const struct disk_source *source, uint64_t size_bytes, struct disk_why *why)
{
	char text[DESCRIPTOR_BYTES + 1];
	const char *parent, *type;
	int error;

	/* QEMU takes 20 sectors from the second on for the description whatever the header says: judge no less. */
	if (size_bytes < 20 * SECTOR)
		size_bytes = 20 * SECTOR;
	if (size_bytes > source->size_bytes - SECTOR)
		size_bytes = source->size_bytes - SECTOR;
	error = disk_source_read(source, SECTOR, text, size_bytes);
	if (error)
		return error;
	text[size_bytes] = '\0';
	if (strstr(text, "parentFileNameHint"))
		return disk_refuse(why, ENOTSUP, "is a difference to a parent disk; consolidate its snapshots first");
	parent = line_value(text, "parentCID");
	if (!parent || strncmp(parent, "ffffffff", 8) != 0)
		return disk_refuse(why, ENOTSUP, "names a parent disk; consolidate its snapshots first");
	type = line_value(text, "createType");
	if (!type || (strncmp(type, "\"monolithicSparse\"", 18) != 0 && strncmp(type, "\"streamOptimized\"", 17) != 0))
		return disk_refuse(why, ENOTSUP, "has a VMDK type other than monolithicSparse and streamOptimized");
	return check_extents(text, why);
}

/** The header, or for a stream-optimised disk the footer, which alone knows where the directory lies. */
static int check_header(const struct disk_source *source, const uint8_t *header, uint64_t capacity,
			struct disk_why *why)
{
	uint64_t grain = disk_le64(header + 20), directory = disk_le64(header + 56);
	uint32_t per_table = disk_le32(header + 44);
	struct disk_source part;
	uint64_t entries;

	if (disk_le64(header + 12) != capacity || capacity == 0)
		return disk_refuse(why, EINVAL, "is damaged: a VMDK capacity of %" PRIu64 " sectors",
				   disk_le64(header + 12));
	if (grain < 8 || grain > 2048 || (grain & (grain - 1)))
		return disk_refuse(why, EINVAL, "is damaged: VMDK grains of %" PRIu64 " sectors", grain);
	if (per_table == 0 || per_table > 512)
		return disk_refuse(why, EINVAL, "is damaged: VMDK tables of %u entries", per_table);
	if (capacity > DISK_BYTES_MAX / SECTOR)
		return 0; /* the caller names the limit */
	entries = (capacity + grain * per_table - 1) / (grain * per_table);
	if (directory > source->size_bytes / SECTOR || 4 * entries > DIRECTORY_MAX)
		return -ERANGE;
	return disk_source_part(&part, source, directory * SECTOR, 4 * entries);
}

int disk_vmdk_check(const struct disk_source *source, uint64_t *disk_bytes, struct disk_why *why)
{
	uint8_t header[HEADER_BYTES], footer[HEADER_BYTES];
	uint64_t capacity, descriptor_at, descriptor_sectors;
	uint32_t version;
	int error;

	error = disk_source_read(source, 0, header, 4);
	if (error)
		return error;
	if (memcmp(header, "KDMV", 4) == 0)
		error = disk_source_read(source, 0, header, sizeof(header));
	else
		return disk_refuse(why, ENOTSUP,
				   "is a VMDK that leads to other files or is ESX's own form; export it as one file (OVA)");
	if (error)
		return error;
	version = disk_le32(header + 4);
	if (version < 1 || version > 3)
		return disk_refuse(why, ENOTSUP, "has VMDK version %u; 1 to 3 are known", version);
	capacity = disk_le64(header + 12);
	if (capacity > UINT64_MAX / SECTOR)
		return disk_refuse(why, EFBIG, "claims 2^64 bytes and more");
	*disk_bytes = capacity * SECTOR;
	descriptor_at = disk_le64(header + 28);
	descriptor_sectors = disk_le64(header + 36);
	if (disk_le64(header + 56) == GD_AT_END) {
		if (!(disk_le32(header + 8) & FLAG_COMPRESSED) || source->size_bytes < 3 * HEADER_BYTES)
			return disk_refuse(why, EINVAL, "is damaged: its VMDK directory has no place");
		error = disk_source_read(source, source->size_bytes - 2 * HEADER_BYTES, footer, sizeof(footer));
		if (error)
			return error;
		/* The geometry has to be what the header says; the directory's place only the footer knows. */
		if (memcmp(footer, header, 28) != 0 || memcmp(footer + 44, header + 44, 4) != 0)
			return disk_refuse(why, EINVAL, "is cut short or damaged: its VMDK footer is not its header's");
		error = check_header(source, footer, capacity, why);
	} else {
		error = check_header(source, header, capacity, why);
	}
	if (error)
		return error;
	if (descriptor_at != 1 || descriptor_sectors == 0 || descriptor_sectors > DESCRIPTOR_BYTES / SECTOR)
		return disk_refuse(why, EINVAL, "is damaged: its VMDK description has no place");
	return check_descriptor(source, descriptor_sectors * SECTOR, why);
}
