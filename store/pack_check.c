/* pack_check.c: see pack_check.h. */
#include "store/pack_check.h"
#include "store/bytes.h"
#include "store/domain.h"

#include <errno.h>
#include <stdlib.h>

int pack_check_find_table(struct store_file *file, struct pack_table *table)
{
	uint8_t trailer[PACK_TRAILER_BYTES];
	uint32_t frames, bytes;
	uint64_t size = 0;
	uint8_t *data;
	int error = file->files->size(file, &size);

	if (error)
		return error;
	if (size <= PACK_HEADER_BYTES + PACK_TRAILER_BYTES || size > PACK_BYTES_MAX)
		return -EBADMSG;
	error = store_file_read_all(file, trailer, sizeof(trailer), size - sizeof(trailer));
	if (!error)
		error = pack_trailer_read(trailer, &frames);
	if (error)
		return error;
	bytes = pack_table_bytes(frames);
	if (bytes + PACK_TRAILER_BYTES + PACK_HEADER_BYTES > size)
		return -EBADMSG;
	data = malloc(bytes);
	if (!data)
		return -ENOMEM;
	error = store_file_read_all(file, data, bytes, size - PACK_TRAILER_BYTES - bytes);
	if (!error)
		error = pack_table_read(data, bytes, (uint32_t)(size - PACK_TRAILER_BYTES - bytes),
					table);
	free(data);
	return error;
}

int pack_check_frames(struct store_file *file, const struct pack_table *table,
		      const uint8_t *wanted, uint8_t *good)
{
	uint8_t *data = malloc(FRAME_STORED_MAX);
	int error = data ? 0 : -ENOMEM;

	memset(good, 0, bitmap_bytes(table->frame_count));
	for (uint32_t i = 0; i < table->frame_count && !error; i++) {
		const struct pack_entry *entry = &table->entries[i];
		uint8_t name[NAME_BYTES];

		if (wanted && !bitmap_get(wanted, i))
			continue;
		error = store_file_read_all(file, data, entry->stored_bytes, entry->offset);
		if (error == -ENODATA) {
			error = 0;
			continue;
		}
		if (!error)
			error = store_sha256(data, entry->stored_bytes, name);
		if (!error && !memcmp(name, entry->name, NAME_BYTES))
			bitmap_set(good, i);
	}
	free(data);
	return error;
}
