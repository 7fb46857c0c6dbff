/* A guest in one file: see portable.h. */
#include "portable.h"

#include <endian.h>
#include <errno.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "phrase.h"
#include "trust/strict_json.h"

static const unsigned char magic[8] = {'B', 'H', 'G', 'U', 'E', 'S', 'T', '1'};

#define PIECE_BYTES	(1u << 20)
#define PIECE_HEAD	16u /* number of the file, offset */
#define SEALED_MAX	(PIECE_HEAD + PIECE_BYTES + crypto_secretstream_xchacha20poly1305_ABYTES)
#define DESCRIPTION_MAX 65536u

struct head {
	unsigned char magic[8];
	unsigned char cost;
	unsigned char reserved[7];
	unsigned char salt[crypto_pwhash_SALTBYTES];
	unsigned char stream[crypto_secretstream_xchacha20poly1305_HEADERBYTES];
};

/** Buffers and state of one pass; too large for a stack. */
struct pass {
	crypto_secretstream_xchacha20poly1305_state state;
	unsigned char plain[PIECE_HEAD + PIECE_BYTES];
	unsigned char sealed[SEALED_MAX];
	uint64_t done_bytes, total_bytes;
	const struct portable_progress *progress;
};

static int make_key(const char *phrase, const struct head *head, unsigned char key[32])
{
	unsigned char entropy[PHRASE_ENTROPY_BYTES];
	int wrong, result = phrase_read(phrase, strlen(phrase), entropy, &wrong);
	bool least = head->cost == KEY_COPY_COST_LEAST;

	if (result == 0 && head->cost > KEY_COPY_COST_LEAST)
		result = -EBADMSG;
	if (result == 0 &&
	    crypto_pwhash(key, 32, (const char *)entropy, sizeof(entropy), head->salt,
			  least ? crypto_pwhash_OPSLIMIT_MIN : crypto_pwhash_OPSLIMIT_MODERATE,
			  least ? crypto_pwhash_MEMLIMIT_MIN : crypto_pwhash_MEMLIMIT_MODERATE,
			  crypto_pwhash_ALG_ARGON2ID13) != 0)
		result = -ENOMEM;
	sodium_memzero(entropy, sizeof(entropy));
	return result;
}

static int write_all(int file, const void *bytes, size_t size)
{
	for (const unsigned char *at = bytes; size > 0;) {
		ssize_t written = write(file, at, size);

		if (written < 0 && errno == EINTR)
			continue;
		if (written <= 0)
			return written < 0 ? -errno : -EIO;
		at += written;
		size -= (size_t)written;
	}
	return 0;
}

/** Returns how much was read; less than `size` at the end of the file. */
static ssize_t read_all(int file, void *bytes, size_t size)
{
	size_t have = 0;

	while (have < size) {
		ssize_t got = read(file, (unsigned char *)bytes + have, size - have);

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return -errno;
		if (got == 0)
			break;
		have += (size_t)got;
	}
	return (ssize_t)have;
}

static int push(struct pass *pass, int out, const void *bytes, size_t size, unsigned char tag)
{
	unsigned long long sealed_size;
	uint32_t length;
	int result;

	crypto_secretstream_xchacha20poly1305_push(&pass->state, pass->sealed, &sealed_size, bytes,
						   size, NULL, 0, tag);
	length = htole32((uint32_t)sealed_size);
	result = write_all(out, &length, sizeof(length));
	return result ? result : write_all(out, pass->sealed, sealed_size);
}

static int tick(struct pass *pass, uint64_t bytes)
{
	pass->done_bytes += bytes;
	if (pass->progress && pass->progress->tick &&
	    pass->progress->tick(pass->progress->context, pass->done_bytes, pass->total_bytes) != 0)
		return -ECANCELED;
	return 0;
}

/** One file's data, hole by hole. */
static int push_file(struct pass *pass, int out, uint64_t number, int file)
{
	struct stat status;
	off_t at = 0;
	int result = fstat(file, &status) == 0 ? 0 : -errno;

	while (result == 0 && at < status.st_size) {
		off_t data = lseek(file, at, SEEK_DATA), hole;

		if (data < 0)
			return errno == ENXIO ? 0 : -errno;
		hole = lseek(file, data, SEEK_HOLE);
		for (at = data; result == 0 && at < hole;) {
			size_t size =
			    hole - at < (off_t)PIECE_BYTES ? (size_t)(hole - at) : PIECE_BYTES;
			uint64_t head[2] = {htole64(number), htole64((uint64_t)at)};
			ssize_t got = pread(file, pass->plain + PIECE_HEAD, size, at);

			if (got <= 0)
				return got < 0 ? -errno : -EIO;
			memcpy(pass->plain, head, PIECE_HEAD);
			result = push(pass, out, pass->plain, PIECE_HEAD + (size_t)got,
				      crypto_secretstream_xchacha20poly1305_TAG_MESSAGE);
			if (result == 0)
				result = tick(pass, (uint64_t)got);
			at += got;
		}
	}
	return result;
}

static json_t *describe(json_t *description, const struct portable_file *files, size_t count,
			uint64_t *total)
{
	json_t *list = json_array();

	for (size_t i = 0; i < count; i++) {
		struct stat status;

		if (fstat(files[i].file, &status) != 0) {
			json_decref(list);
			return NULL;
		}
		json_array_append_new(list, json_pack("{s:s, s:I}", "name", files[i].name,
						      "size_bytes", (json_int_t)status.st_size));
		*total += (uint64_t)status.st_blocks * 512;
	}
	return json_pack("{s:O, s:o}", "description", description, "files", list);
}

int portable_write(int out, const char *phrase, enum key_copy_cost cost, json_t *description,
		   const struct portable_file *files, size_t count,
		   const struct portable_progress *progress)
{
	struct head head = {.cost = (unsigned char)cost};
	struct pass *pass = sodium_malloc(sizeof(*pass));
	unsigned char key[32];
	char *text = NULL;
	json_t *root;
	int result;

	if (!pass)
		return -ENOMEM;
	pass->done_bytes = pass->total_bytes = 0;
	pass->progress = progress;
	memcpy(head.magic, magic, sizeof(magic));
	randombytes_buf(head.salt, sizeof(head.salt));
	result = make_key(phrase, &head, key);
	root = describe(description, files, count, &pass->total_bytes);
	text = root ? strict_json_write(root) : NULL;
	json_decref(root);
	if (result == 0 && (!text || count > PORTABLE_FILES_MAX || strlen(text) > DESCRIPTION_MAX))
		result = text ? -E2BIG : -ENOMEM;
	if (result == 0) {
		crypto_secretstream_xchacha20poly1305_init_push(&pass->state, head.stream, key);
		result = write_all(out, &head, sizeof(head));
	}
	if (result == 0)
		result = push(pass, out, text, strlen(text),
			      crypto_secretstream_xchacha20poly1305_TAG_PUSH);
	for (size_t i = 0; result == 0 && i < count; i++)
		result = push_file(pass, out, i, files[i].file);
	if (result == 0)
		result = push(pass, out, "", 0, crypto_secretstream_xchacha20poly1305_TAG_FINAL);
	if (result == 0 && fsync(out) != 0 && errno != EINVAL && errno != EROFS)
		result = -errno;
	if (text)
		sodium_memzero(text, strlen(text));
	free(text);
	sodium_memzero(key, sizeof(key));
	sodium_free(pass);
	return result;
}

/** The next message into pass->plain; `*size` and `*tag` say what it is. */
static int pull(struct pass *pass, int in, size_t *size, unsigned char *tag)
{
	unsigned long long plain_size;
	uint32_t length;

	if (read_all(in, &length, sizeof(length)) != sizeof(length))
		return -EBADMSG;
	length = le32toh(length);
	if (length < crypto_secretstream_xchacha20poly1305_ABYTES || length > SEALED_MAX ||
	    read_all(in, pass->sealed, length) != (ssize_t)length)
		return -EBADMSG;
	if (crypto_secretstream_xchacha20poly1305_pull(&pass->state, pass->plain, &plain_size, tag,
						       pass->sealed, length, NULL, 0) != 0)
		return -EBADMSG;
	*size = (size_t)plain_size;
	return 0;
}

struct incoming {
	int files[PORTABLE_FILES_MAX];
	uint64_t sizes[PORTABLE_FILES_MAX];
	size_t count;
};

static int open_files(const json_t *root, int (*create)(void *context, const char *name),
		      void *context, struct incoming *incoming)
{
	const json_t *list = json_object_get(root, "files");
	json_t *entry;
	size_t i;

	if (!json_is_array(list) || json_array_size(list) > PORTABLE_FILES_MAX)
		return -EBADMSG;
	json_array_foreach((json_t *)list, i, entry)
	{
		char name[65];
		int64_t size;

		if (strict_json_string(entry, "name", name, sizeof(name)) != 0 ||
		    !strict_json_is_name(name) ||
		    strict_json_integer(entry, "size_bytes", 0, INT64_MAX, &size) != 0)
			return -EBADMSG;
		incoming->files[i] = create(context, name);
		if (incoming->files[i] < 0)
			return incoming->files[i];
		incoming->count = i + 1;
		incoming->sizes[i] = (uint64_t)size;
		if (ftruncate(incoming->files[i], size) != 0)
			return -errno;
	}
	return 0;
}

static int take_piece(struct pass *pass, size_t size, const struct incoming *incoming)
{
	uint64_t head[2], number, offset;

	if (size <= PIECE_HEAD)
		return -EBADMSG;
	memcpy(head, pass->plain, PIECE_HEAD);
	number = le64toh(head[0]);
	offset = le64toh(head[1]);
	size -= PIECE_HEAD;
	if (number >= incoming->count || offset > incoming->sizes[number] ||
	    size > incoming->sizes[number] - offset)
		return -EBADMSG;
	if (pwrite(incoming->files[number], pass->plain + PIECE_HEAD, size, (off_t)offset) !=
	    (ssize_t)size)
		return errno ? -errno : -EIO;
	return tick(pass, size);
}

static int read_stream(struct pass *pass, int in, json_t **description,
		       int (*create)(void *context, const char *name), void *context,
		       struct incoming *incoming)
{
	unsigned char tag;
	json_t *root = NULL;
	size_t size;
	int result = pull(pass, in, &size, &tag);

	/* The first message is short: a wrong key shows here. */
	if (result != 0)
		return -EKEYREJECTED;
	if (tag != crypto_secretstream_xchacha20poly1305_TAG_PUSH || size > DESCRIPTION_MAX ||
	    strict_json_parse((const char *)pass->plain, size, DESCRIPTION_MAX, &root) != 0)
		return -EBADMSG;
	result = open_files(root, create, context, incoming);
	if (result == 0)
		*description = json_incref(json_object_get(root, "description"));
	json_decref(root);
	while (result == 0) {
		result = pull(pass, in, &size, &tag);
		if (result == 0 && tag == crypto_secretstream_xchacha20poly1305_TAG_FINAL)
			return size == 0 && read_all(in, pass->sealed, 1) == 0 ? 0 : -EBADMSG;
		if (result == 0)
			result = take_piece(pass, size, incoming);
	}
	return result;
}

int portable_read(int in, const char *phrase, json_t **description,
		  int (*create)(void *context, const char *name), void *context,
		  const struct portable_progress *progress)
{
	struct incoming incoming = {.count = 0};
	struct pass *pass = sodium_malloc(sizeof(*pass));
	unsigned char key[32];
	struct head head;
	int result = -EBADMSG;

	*description = NULL;
	if (!pass)
		return -ENOMEM;
	pass->done_bytes = pass->total_bytes = 0;
	pass->progress = progress;
	if (read_all(in, &head, sizeof(head)) == sizeof(head) &&
	    memcmp(head.magic, magic, sizeof(magic)) == 0)
		result = make_key(phrase, &head, key);
	if (result == 0 &&
	    crypto_secretstream_xchacha20poly1305_init_pull(&pass->state, head.stream, key) != 0)
		result = -EBADMSG;
	if (result == 0)
		result = read_stream(pass, in, description, create, context, &incoming);
	for (size_t i = 0; i < incoming.count; i++) {
		if (fsync(incoming.files[i]) != 0 && result == 0)
			result = -errno;
		close(incoming.files[i]);
	}
	if (result != 0) {
		json_decref(*description);
		*description = NULL;
	}
	sodium_memzero(key, sizeof(key));
	sodium_free(pass);
	return result;
}
