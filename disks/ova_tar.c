/*
 * The archive of an OVA: ustar (POSIX.1-1988), read strictly. GNU and pax extensions have no place in it and are
 * refused, so there is exactly one way to read every archive that is accepted.
 */
#include "ova.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include <openssl/evp.h>

#define RECORD	      512
#define MANIFEST_MAX  (64u << 10)
#define DIGEST_PIECE  (1u << 20)

bool ova_name_is_plain(const char *name)
{
	if (!*name || *name == '.')
		return false;
	for (; *name; name++)
		if (!isprint((unsigned char)*name) || *name == '/' || *name == '\\')
			return false;
	return true;
}

/** An octal field of a header; spaces and zero bytes end it. Returns UINT64_MAX if it is none. */
static uint64_t octal(const uint8_t *field, size_t length)
{
	uint64_t value = 0;
	size_t i = 0;

	while (i < length && field[i] == ' ')
		i++;
	if (i == length || field[i] < '0' || field[i] > '7')
		return UINT64_MAX;
	for (; i < length && field[i] >= '0' && field[i] <= '7'; i++)
		value = value << 3 | (uint64_t)(field[i] - '0');
	return i == length || field[i] == ' ' || field[i] == '\0' ? value : UINT64_MAX;
}

static bool sum_holds(const uint8_t *record)
{
	uint64_t sum = 0;

	for (int i = 0; i < RECORD; i++)
		sum += i >= 148 && i < 156 ? ' ' : record[i];
	return sum == octal(record + 148, 8);
}

static bool is_zero(const uint8_t *record)
{
	for (int i = 0; i < RECORD; i++)
		if (record[i])
			return false;
	return true;
}

static int read_entry(const struct disk_source *source, uint64_t at, const uint8_t *record, struct ova_index *index,
		      struct disk_why *why)
{
	struct ova_entry *entry = &index->entries[index->count];

	if (memcmp(record + 257, "ustar", 5) != 0 || !sum_holds(record))
		return disk_refuse(why, EINVAL, "is damaged: the archive's header at byte %" PRIu64 " does not hold", at);
	if (record[156] != '0' && record[156] != '\0')
		return disk_refuse(why, ENOTSUP, "holds something other than plain files (tar type '%c')", record[156]);
	if (record[345] != '\0')
		return disk_refuse(why, ENOTSUP, "holds files in folders; an OVA has none");
	if (index->count == OVA_ENTRIES_MAX)
		return disk_refuse(why, E2BIG, "holds more than %d files", OVA_ENTRIES_MAX);
	memcpy(entry->name, record, 100);
	entry->name[100] = '\0';
	if (!ova_name_is_plain(entry->name))
		return disk_refuse(why, EINVAL, "holds a file with the name '%s'; an OVA's names lead nowhere",
				   entry->name);
	if (ova_index_find(index, entry->name))
		return disk_refuse(why, EINVAL, "holds '%s' twice", entry->name);
	entry->start = at + RECORD;
	entry->size_bytes = octal(record + 124, 12);
	if (entry->size_bytes > source->size_bytes || entry->start > source->size_bytes - entry->size_bytes)
		return disk_refuse(why, EINVAL, "is cut short: '%s' does not fit in the archive", entry->name);
	index->count++;
	return 0;
}

int ova_index_read(const struct disk_source *source, struct ova_index *index, struct disk_why *why)
{
	uint8_t record[RECORD];
	uint64_t at = 0;
	size_t length;
	int error;

	index->count = 0;
	for (;;) {
		error = disk_source_read(source, at, record, sizeof(record));
		if (error == -ERANGE)
			return disk_refuse(why, EINVAL, "is cut short: the archive's end is missing");
		if (error)
			return error;
		if (is_zero(record))
			break;
		error = read_entry(source, at, record, index, why);
		if (error)
			return error;
		at = index->entries[index->count - 1].start +
		     (index->entries[index->count - 1].size_bytes + RECORD - 1) / RECORD * RECORD;
	}
	length = index->count ? strlen(index->entries[0].name) : 0;
	if (length < 5 || strcmp(index->entries[0].name + length - 4, ".ovf") != 0)
		return disk_refuse(why, EINVAL, "is no OVA: an archive whose first file is not a .ovf description");
	return 0;
}

const struct ova_entry *ova_index_find(const struct ova_index *index, const char *name)
{
	for (unsigned int i = 0; i < index->count; i++)
		if (strcmp(index->entries[i].name, name) == 0)
			return &index->entries[i];
	return NULL;
}

static int digest(const struct disk_source *source, const struct ova_entry *entry, const EVP_MD *type, char *hex)
{
	static const char digits[] = "0123456789abcdef";
	static uint8_t piece[DIGEST_PIECE];
	uint8_t bytes[EVP_MAX_MD_SIZE];
	unsigned int length = 0;
	EVP_MD_CTX *context = EVP_MD_CTX_new();
	int error = context && EVP_DigestInit_ex(context, type, NULL) == 1 ? 0 : -ENOMEM;

	for (uint64_t at = 0; !error && at < entry->size_bytes; at += sizeof(piece)) {
		uint64_t left = entry->size_bytes - at;
		size_t now = left < sizeof(piece) ? (size_t)left : sizeof(piece);

		error = disk_source_read(source, entry->start + at, piece, now);
		if (!error && EVP_DigestUpdate(context, piece, now) != 1)
			error = -EIO;
	}
	if (!error && EVP_DigestFinal_ex(context, bytes, &length) != 1)
		error = -EIO;
	EVP_MD_CTX_free(context);
	for (unsigned int i = 0; i < length; i++) {
		hex[2 * i] = digits[bytes[i] >> 4];
		hex[2 * i + 1] = digits[bytes[i] & 15];
	}
	hex[2 * length] = '\0';
	return error;
}

/** One line, "SHA256(disk.vmdk)= 0123...". */
static int verify_line(const struct disk_source *source, const struct ova_index *index, const char *line,
		       struct disk_why *why)
{
	char algorithm[8], name[OVA_NAME_BYTES], given[130], is[2 * EVP_MAX_MD_SIZE + 1];
	const struct ova_entry *entry;
	const EVP_MD *type;
	int error;

	if (sscanf(line, "%7[A-Z0-9](%100[^)])= %129[0-9a-fA-F]", algorithm, name, given) != 3)
		return disk_refuse(why, EINVAL, "has a line in its list of checksums that is none");
	type = strcmp(algorithm, "SHA256") == 0	  ? EVP_sha256()
	       : strcmp(algorithm, "SHA512") == 0 ? EVP_sha512()
	       : strcmp(algorithm, "SHA1") == 0	  ? EVP_sha1()
						  : NULL;
	if (!type)
		return disk_refuse(why, ENOTSUP, "has %s checksums; SHA1, SHA256 and SHA512 are known", algorithm);
	entry = ova_index_find(index, name);
	if (!entry)
		return disk_refuse(why, EINVAL, "lacks '%s', which its list of checksums names", name);
	error = digest(source, entry, type, is);
	if (error)
		return disk_refuse(why, -error, "'%s' cannot be read: %s", name, strerror(-error));
	for (char *c = given; *c; c++)
		*c = (char)tolower((unsigned char)*c);
	if (strcmp(given, is) != 0)
		return disk_refuse(why, EINVAL, "is damaged: '%s' does not have its checksum", name);
	return 0;
}

int ova_verify(const struct disk_source *source, const struct ova_index *index, struct disk_why *why)
{
	char text[MANIFEST_MAX + 1];
	int error = 0;

	for (unsigned int i = 0; i < index->count; i++) {
		const struct ova_entry *entry = &index->entries[i];
		size_t length = strlen(entry->name);
		char *rest = NULL;

		if (length < 4 || strcmp(entry->name + length - 3, ".mf") != 0)
			continue;
		if (entry->size_bytes > MANIFEST_MAX)
			return disk_refuse(why, EFBIG, "has a list of checksums larger than %u bytes", MANIFEST_MAX);
		error = disk_source_read(source, entry->start, text, entry->size_bytes);
		if (error)
			return error;
		text[entry->size_bytes] = '\0';
		/* A file is named once in an honest list; a list that names one a thousand times costs time only. */
		unsigned int lines = 0;

		for (char *line = strtok_r(text, "\r\n", &rest); line && !error; line = strtok_r(NULL, "\r\n", &rest))
			error = ++lines > OVA_ENTRIES_MAX
					? disk_refuse(why, E2BIG, "has more checksums than an OVA can hold files")
					: verify_line(source, index, line, why);
		if (error)
			return error;
	}
	return 0;
}
