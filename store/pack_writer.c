/* pack_writer.c: see pack_writer.h. */
#include "store/pack_writer.h"

#include <errno.h>
#include <openssl/crypto.h>
#include <stdlib.h>
#include <string.h>

#define HINT_BYTES (4u << 20)

int pack_writer_new(struct store_files *files, const struct domain *domain,
		    const uint8_t salt[SALT_BYTES], uint32_t id, struct pack_writer **created)
{
	struct pack_writer *writer = calloc(1, sizeof(*writer));
	struct pack_header header = {.frame_plain_bytes = FRAME_PLAIN_DEFAULT};
	uint8_t data[PACK_HEADER_BYTES];
	char path[PACK_PATH_BYTES];
	int error;

	if (!writer)
		return -ENOMEM;
	writer->files = files;
	writer->id = id;
	writer->offset = PACK_HEADER_BYTES;
	memcpy(writer->table.salt, salt, SALT_BYTES);
	pthread_mutex_init(&writer->lock, NULL);
	error = domain_pack_key(domain, salt, writer->key);
	pack_path(salt, "part", path);
	if (!error)
		error = files->open(files, path, STORE_OPEN_EXCLUSIVE, &writer->file);
	memcpy(header.domain_id, domain->id, DOMAIN_ID_BYTES);
	memcpy(header.salt, salt, SALT_BYTES);
	pack_header_write(&header, data);
	if (!error)
		error = files->write(writer->file, data, sizeof(data), 0);
	if (error) {
		pack_writer_free(writer);
		return error;
	}
	*created = writer;
	return 0;
}

bool pack_writer_full(const struct pack_writer *writer, uint32_t plain_bytes)
{
	return writer->allocated == PACK_FRAMES_MAX ||
	       writer->plain_bytes + plain_bytes > PACK_PLAIN_TARGET;
}

uint32_t pack_writer_allocate(struct pack_writer *writer, uint32_t plain_bytes)
{
	uint32_t number;

	pthread_mutex_lock(&writer->lock);
	number = writer->allocated++;
	writer->plain_bytes += plain_bytes;
	pthread_mutex_unlock(&writer->lock);
	return number;
}

static int make_room(struct pack_writer *writer, uint32_t number)
{
	uint32_t capacity = writer->capacity ? writer->capacity : 256;
	struct pack_entry *entries;

	while (capacity <= number)
		capacity *= 2;
	if (capacity == writer->capacity)
		return 0;
	entries = realloc(writer->table.entries, capacity * sizeof(*entries));
	if (!entries)
		return -ENOMEM;
	writer->table.entries = entries;
	writer->capacity = capacity;
	return 0;
}

int pack_writer_append(struct pack_writer *writer, uint32_t number, uint8_t kind, uint16_t blocks,
		       const uint8_t *frame, uint32_t bytes)
{
	uint64_t offset, hint = 0, hint_bytes = 0;
	uint8_t name[NAME_BYTES];
	int error = store_sha256(frame, bytes, name);

	if (error)
		return error;
	pthread_mutex_lock(&writer->lock);
	error = make_room(writer, number);
	offset = writer->offset;
	if (!error) {
		struct pack_entry *entry = &writer->table.entries[number];

		writer->offset += bytes;
		memcpy(entry->name, name, NAME_BYTES);
		entry->offset = (uint32_t)offset;
		entry->stored_bytes = bytes;
		entry->kind = kind;
		entry->blocks = blocks;
		if (offset - writer->hinted >= HINT_BYTES) {
			hint = writer->hinted;
			hint_bytes = offset - hint;
			writer->hinted = offset;
		}
	}
	pthread_mutex_unlock(&writer->lock);
	if (!error)
		error = writer->files->write(writer->file, frame, bytes, offset);
	if (!error && hint_bytes)
		writer->files->write_behind(writer->file, hint, hint_bytes);
	pthread_mutex_lock(&writer->lock);
	writer->appended++;
	if (error)
		writer->failed = true;
	pthread_mutex_unlock(&writer->lock);
	return error;
}

bool pack_writer_complete(struct pack_writer *writer)
{
	bool complete;

	pthread_mutex_lock(&writer->lock);
	complete = writer->closed && !writer->sealing && writer->appended == writer->allocated;
	if (complete)
		writer->sealing = true;
	pthread_mutex_unlock(&writer->lock);
	return complete;
}

bool pack_writer_close(struct pack_writer *writer)
{
	pthread_mutex_lock(&writer->lock);
	writer->closed = true;
	pthread_mutex_unlock(&writer->lock);
	return pack_writer_complete(writer);
}

int pack_writer_seal(struct pack_writer *writer)
{
	uint32_t bytes;
	char part[PACK_PATH_BYTES], path[PACK_PATH_BYTES];
	uint8_t *data;
	int error;

	if (writer->failed)
		return -EIO;
	writer->table.frame_count = writer->allocated;
	writer->table.table_offset = (uint32_t)writer->offset;
	bytes = pack_table_bytes(writer->allocated) + PACK_TRAILER_BYTES;
	data = malloc(bytes);
	if (!data)
		return -ENOMEM;
	error = pack_table_write(&writer->table, data);
	if (!error)
		error = writer->files->write(writer->file, data, bytes, writer->offset);
	free(data);
	if (!error)
		error = writer->files->sync(writer->file);
	pack_path(writer->table.salt, "part", part);
	pack_path(writer->table.salt, "pack", path);
	if (!error)
		error = writer->files->rename(writer->files, part, path);
	pthread_mutex_lock(&writer->lock);
	writer->sealed = !error;
	pthread_mutex_unlock(&writer->lock);
	return error;
}

bool pack_writer_sealed(struct pack_writer *writer)
{
	bool sealed;

	pthread_mutex_lock(&writer->lock);
	sealed = writer->sealed;
	pthread_mutex_unlock(&writer->lock);
	return sealed;
}

void pack_writer_free(struct pack_writer *writer)
{
	char path[PACK_PATH_BYTES];

	if (!writer)
		return;
	if (writer->file)
		writer->files->close(writer->file);
	if (writer->file && !writer->sealed) {
		pack_path(writer->table.salt, "part", path);
		(void)writer->files->unlink(writer->files, path);
	}
	pack_table_release(&writer->table);
	pthread_mutex_destroy(&writer->lock);
	OPENSSL_cleanse(writer->key, sizeof(writer->key));
	free(writer);
}
