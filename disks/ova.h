/*
 * OVA and OVF (DMTF DSP0243): an archive in tar format, or loose files, of one description in XML, disks in VMDK and a
 * list of checksums. Nothing is unpacked: a disk is a window on the archive.
 */
#ifndef BULKHEAD_DISKS_OVA_H
#define BULKHEAD_DISKS_OVA_H

#include "source.h"

#include <stdbool.h>

#define OVA_ENTRIES_MAX	   64
#define OVA_NAME_BYTES	   101 /**< a tar name of 100 characters and its end */
#define OVF_BYTES_MAX	   (1u << 20)
#define OVF_DISKS_MAX	   16

/** One file of an archive. */
struct ova_entry {
	char name[OVA_NAME_BYTES];
	uint64_t start, size_bytes;
};

struct ova_index {
	unsigned int count;
	struct ova_entry entries[OVA_ENTRIES_MAX];
};

/** What a description says about the machine. Values are 0 or "" where it says nothing. */
struct ovf_machine {
	char name[64];
	uint32_t processors;
	uint64_t memory_bytes;
	unsigned int disk_count;
	struct {
		char file[OVA_NAME_BYTES]; /**< file the disk is in */
		uint64_t capacity_bytes;
	} disks[OVF_DISKS_MAX];
};

/**
 * Lists an archive. Strict: plain files only, checksums hold, names without folders and all different, every file
 * within the archive, the description first. Returns 0, or a negative errno with the reason.
 */
int ova_index_read(const struct disk_source *source, struct ova_index *index, struct disk_why *why);

/** The entry of that name, or NULL. */
const struct ova_entry *ova_index_find(const struct ova_index *index, const char *name);

/** A name without folders, control characters, leading dot: one that can lead nowhere else. */
bool ova_name_is_plain(const char *name);

/**
 * Reads a description. Document type declarations (and with them all entities), more than OVF_DISKS_MAX disks and
 * references to other places than plain file names are refused.
 * @xml, @size_bytes  the description, at most OVF_BYTES_MAX bytes.
 */
int ovf_parse(const char *xml, size_t size_bytes, struct ovf_machine *machine, struct disk_why *why);

/**
 * Compares every file that the archive's list of checksums (*.mf) names with the archive. No list is no error.
 * Reads the whole archive once. Returns 0, or a negative errno with the reason.
 */
int ova_verify(const struct disk_source *source, const struct ova_index *index, struct disk_why *why);

#endif
