/*
 * qcow2, versions 2 and 3 (QEMU's docs/interop/qcow2.txt). Refused: backing files, external data files, encryption,
 * images marked corrupt, unknown incompatible features.
 */
#include "format.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#define HEADER_V2_BYTES 72
#define HEADER_V3_BYTES 104
#define EXTENSIONS_MAX	64
#define L1_BYTES_MAX	(32u << 20)
#define TABLE_BYTES_MAX (8u << 20)

/* Incompatible features. Dirty needs no repair to be read; compression type and extended L2 QEMU's tools know. */
#define FEATURE_CORRUPT	  (1ull << 1)
#define FEATURE_DATA_FILE (1ull << 2)
#define FEATURES_KNOWN	  0x1full

#define EXTENSION_END		 0x00000000u
#define EXTENSION_BACKING_FORMAT 0xe2792acau
#define EXTENSION_DATA_FILE	 0x44415441u
#define EXTENSION_CRYPTO	 0x0537be77u

static int check_extensions(const struct disk_source *source, uint64_t offset, uint64_t end, struct disk_why *why)
{
	uint8_t head[8];
	uint32_t type, length;
	int error;

	for (int i = 0; i < EXTENSIONS_MAX; i++) {
		/* A version 2 header may end without an end marker, at the first cluster's end. */
		if (offset > end || end - offset < sizeof(head))
			return 0;
		error = disk_source_read(source, offset, head, sizeof(head));
		if (error)
			return error;
		type = disk_be32(head);
		length = disk_be32(head + 4);
		if (type == EXTENSION_END)
			return 0;
		if (type == EXTENSION_DATA_FILE)
			return disk_refuse(why, ENOTSUP,
					   "keeps its data in another file; convert it to one file where it was made");
		if (type == EXTENSION_BACKING_FORMAT)
			return disk_refuse(why, ENOTSUP,
					   "names a backing format; convert it to one file where it was made");
		if (type == EXTENSION_CRYPTO)
			return disk_refuse(why, ENOTSUP, "is encrypted; decrypt it first");
		offset += sizeof(head);
		if (length > end - offset)
			return disk_refuse(why, EINVAL, "is damaged: a qcow2 header extension of %u bytes does not fit",
					   length);
		offset += (length + 7ull) & ~7ull;
	}
	return disk_refuse(why, EINVAL, "is damaged: more than %d qcow2 header extensions", EXTENSIONS_MAX);
}

/** The tables that QEMU loads on opening lie within the file and are no larger than QEMU would take. */
static int check_tables(const struct disk_source *source, const uint8_t *header, uint32_t cluster_bits,
			struct disk_why *why)
{
	uint64_t disk_bytes = disk_be64(header + 24);
	uint64_t l1_bytes = 8ull * disk_be32(header + 36), l1_offset = disk_be64(header + 40);
	uint64_t refcount_offset = disk_be64(header + 48);
	uint64_t refcount_bytes = (uint64_t)disk_be32(header + 56) << cluster_bits;
	/* One L1 entry covers a cluster full of L2 entries of 8 bytes, or 16 where they are extended. */
	uint64_t covered = 1ull << (2 * cluster_bits - 4);
	struct disk_source part;

	if (l1_bytes > L1_BYTES_MAX || l1_bytes / 8 < disk_bytes / covered / 2)
		return disk_refuse(why, EINVAL, "is damaged: its L1 table of %" PRIu64 " bytes does not fit its size",
				   l1_bytes);
	if (refcount_bytes == 0 || refcount_bytes > TABLE_BYTES_MAX)
		return disk_refuse(why, EINVAL, "is damaged: its refcount table has %" PRIu64 " bytes", refcount_bytes);
	if (disk_source_part(&part, source, l1_offset, l1_bytes) ||
	    disk_source_part(&part, source, refcount_offset, refcount_bytes))
		return -ERANGE;
	return 0;
}

int disk_qcow2_check(const struct disk_source *source, uint64_t *disk_bytes, struct disk_why *why)
{
	uint8_t header[HEADER_V3_BYTES] = {0};
	uint32_t version, cluster_bits, header_bytes = HEADER_V2_BYTES;
	uint64_t features = 0;
	int error = disk_source_read(source, 0, header, HEADER_V2_BYTES);

	if (error)
		return error;
	if (memcmp(header, "QFI\xfb", 4) != 0)
		return disk_refuse(why, EINVAL, "is not a qcow2 image");
	version = disk_be32(header + 4);
	if (version != 2 && version != 3)
		return disk_refuse(why, ENOTSUP, "has qcow2 version %u; 2 and 3 are known", version);
	if (version == 3) {
		error = disk_source_read(source, 0, header, HEADER_V3_BYTES);
		if (error)
			return error;
		features = disk_be64(header + 72);
		header_bytes = disk_be32(header + 100);
	}
	cluster_bits = disk_be32(header + 20);
	if (cluster_bits < 9 || cluster_bits > 21)
		return disk_refuse(why, EINVAL, "is damaged: clusters of 2^%u bytes", cluster_bits);
	if (header_bytes < (version == 3 ? HEADER_V3_BYTES : HEADER_V2_BYTES) || header_bytes > 1u << cluster_bits)
		return disk_refuse(why, EINVAL, "is damaged: a qcow2 header of %u bytes", header_bytes);
	if (disk_be64(header + 8) || disk_be32(header + 16))
		return disk_refuse(why, ENOTSUP,
				   "is a difference to a backing file; flatten it with `qemu-img convert` where that file is");
	if (disk_be32(header + 32))
		return disk_refuse(why, ENOTSUP, "is encrypted; decrypt it first");
	if (features & FEATURE_DATA_FILE)
		return disk_refuse(why, ENOTSUP,
				   "keeps its data in another file; convert it to one file where it was made");
	if (features & FEATURE_CORRUPT)
		return disk_refuse(why, EINVAL, "is marked corrupt; repair it with `qemu-img check -r all`");
	if (features & ~FEATURES_KNOWN)
		return disk_refuse(why, ENOTSUP, "needs qcow2 features that are not known here (%#" PRIx64 ")",
				   (uint64_t)(features & ~FEATURES_KNOWN));
	*disk_bytes = disk_be64(header + 24);
	if (*disk_bytes > DISK_BYTES_MAX)
		return 0; /* the caller names the limit; below it no sum in check_tables() overflows */
	error = check_tables(source, header, cluster_bits, why);
	return error ? error : check_extensions(source, header_bytes, 1ull << cluster_bits, why);
}
