/*
 * publish_packs.c: the packs of a publication: which blocks' places may be used, and the ones that
 * are being written.
 */
#include "store/bytes.h"
#include "store/publish_private.h"

#include <errno.h>
#include <openssl/rand.h>
#include <stdlib.h>

int publish_fail(struct publication *work, int error)
{
	pthread_mutex_lock(&work->lock);
	if (!work->error)
		work->error = error;
	pthread_mutex_unlock(&work->lock);
	return error;
}

static int add_pack(struct publication *work, const struct pack_row *row, bool fresh)
{
	struct known_pack *pack;

	if (work->pack_count == work->pack_room) {
		uint32_t room = work->pack_room ? 2 * work->pack_room : 64;
		struct known_pack *packs = realloc(work->packs, room * sizeof(*packs));

		if (!packs)
			return -ENOMEM;
		work->packs = packs;
		work->pack_room = room;
	}
	pack = &work->packs[work->pack_count];
	memset(pack, 0, sizeof(*pack));
	pack->id = row->id;
	pack->fresh = fresh;
	pack->frame_count = row->frame_count;
	pack->table_offset = row->table_offset;
	memcpy(pack->salt, row->salt, SALT_BYTES);
	memcpy(pack->table_name, row->table_name, NAME_BYTES);
	if (!fresh) {
		size_t bytes = bitmap_bytes(row->frame_count);

		pack->usable = calloc(1, bytes);
		pack->rejected = calloc(1, bytes);
		pack->slots = calloc(row->frame_count, sizeof(*pack->slots));
		if (!pack->usable || !pack->rejected || !pack->slots) {
			free(pack->usable);
			free(pack->rejected);
			free(pack->slots);
			return -ENOMEM;
		}
		for (size_t i = 0; i < bytes; i++)
			pack->usable[i] = (uint8_t)((row->remote ? 0xff : row->present[i]) &
						    ~row->dead[i] & ~row->leaving[i]);
	}
	work->pack_count++;
	return 0;
}

int publish_load_packs(struct publication *work)
{
	struct pack_row row;
	uint32_t after = 0;
	int error;

	while (!(error = catalogue_next_pack(work->store->catalogue, work->domain->id, after,
					     &row))) {
		after = row.id;
		if (row.state == PACK_SETTLED && row.frame_count)
			error = add_pack(work, &row, false);
		pack_row_release(&row);
		if (error)
			return error;
	}
	return error == -ENOENT ? 0 : error;
}

void publish_release_packs(struct publication *work)
{
	while (work->writers) {
		struct pack_writer *writer = work->writers;

		work->writers = writer->next;
		pack_writer_free(writer);
	}
	for (uint32_t i = 0; i < work->pack_count; i++) {
		free(work->packs[i].usable);
		free(work->packs[i].rejected);
		free(work->packs[i].slots);
	}
	free(work->packs);
	free(work->filling);
	while (work->free_frames) {
		struct open_frame *frame = work->free_frames;

		work->free_frames = frame->next;
		free(frame);
	}
}

struct known_pack *publish_pack(const struct publication *work, uint32_t id)
{
	uint32_t low = 0, high = work->pack_count;

	while (low < high) {
		uint32_t middle = (low + high) / 2;

		if (work->packs[middle].id == id)
			return &work->packs[middle];
		if (work->packs[middle].id < id)
			low = middle + 1;
		else
			high = middle;
	}
	return NULL;
}

bool publish_alive(void *context, struct block_ref ref)
{
	const struct known_pack *pack = publish_pack(context, ref.pack);

	if (!pack)
		return false;
	return pack->fresh || (ref.number < pack->frame_count && bitmap_get(pack->usable, ref.number));
}

void publish_mark(struct publication *work, struct block_ref ref)
{
	struct known_pack *pack = publish_pack(work, ref.pack);

	if (pack && !pack->fresh)
		pack->slots[ref.number] |= 1ull << (ref.slot % 64);
}

static int new_writer(struct publication *work)
{
	struct pack_row row = {.state = PACK_WRITING, .session = work->session};
	struct pack_writer *writer;
	int error;

	if (RAND_bytes(row.salt, SALT_BYTES) != 1)
		return -EIO;
	memcpy(row.domain, work->domain->id, DOMAIN_ID_BYTES);
	error = catalogue_add_pack(work->store->catalogue, &row);
	if (!error)
		error = pack_writer_new(work->store->files, work->domain, row.salt, row.id, &writer);
	if (!error)
		error = add_pack(work, &row, true);
	else
		return error;
	writer->next = work->writers;
	work->writers = writer;
	return error;
}

static int seal(struct publication *work, struct pack_writer *writer)
{
	int error = pack_writer_seal(writer);

	pthread_mutex_lock(&work->lock);
	if (!error) {
		work->sealed++;
		work->result->stored_bytes +=
		    pack_bytes(writer->table.table_offset, writer->table.frame_count);
	}
	pthread_mutex_unlock(&work->lock);
	return error;
}

/* The writer that takes another frame; the one before is closed when it is full. */
static int current_writer(struct publication *work, uint32_t plain_bytes,
			  struct pack_writer **writer)
{
	int error;

	if (work->writers && pack_writer_full(work->writers, plain_bytes)) {
		if (pack_writer_close(work->writers)) {
			error = seal(work, work->writers);
			if (error)
				return error;
		}
		error = new_writer(work);
		if (error)
			return error;
	} else if (!work->writers) {
		error = new_writer(work);
		if (error)
			return error;
	}
	*writer = work->writers;
	return 0;
}

static struct open_frame *take_buffer(struct publication *work)
{
	struct open_frame *frame;

	pthread_mutex_lock(&work->lock);
	frame = work->free_frames;
	if (frame)
		work->free_frames = frame->next;
	pthread_mutex_unlock(&work->lock);
	return frame ? frame : malloc(sizeof(*frame));
}

/* Puts a block into the frame that is being filled; full ones are chained to @full. */
int publish_store_block(struct publication *work, const uint8_t *block, struct block_ref *ref,
			struct open_frame **full)
{
	struct open_frame *frame = work->filling;

	if (!frame) {
		struct pack_writer *writer;
		int error = current_writer(work, FRAME_PLAIN_DEFAULT, &writer);

		if (error)
			return error;
		frame = take_buffer(work);
		if (!frame)
			return -ENOMEM;
		frame->next = NULL;
		frame->writer = writer;
		frame->blocks = 0;
		frame->number = pack_writer_allocate(writer, FRAME_PLAIN_DEFAULT);
		work->filling = frame;
	}
	memcpy(frame->plain + frame->blocks * BLOCK_BYTES, block, BLOCK_BYTES);
	*ref = (struct block_ref){frame->writer->id, (uint16_t)frame->number,
				  (uint16_t)frame->blocks};
	work->result->new_blocks++;
	if (++frame->blocks < FRAME_BLOCKS)
		return 0;
	work->filling = NULL;
	while (*full)
		full = &(*full)->next;
	*full = frame;
	return 0;
}

struct open_frame *publish_take_filling(struct publication *work)
{
	struct open_frame *frame = work->filling;

	work->filling = NULL;
	return frame;
}

/*
 * A version on top of another one is fetched by every PC that has the other: it is compressed best (1 %
 * smaller than by the level before, for half as much time again). At a first version or a backup somebody
 * waits: a version is 2 % larger than by the level after, made in three quarters of the time; what people
 * change in a day is no larger.
 */
static int publish_level(const struct publication *work)
{
	const struct publish_options *options = work->options;

	if (options->level)
		return options->level;
	return options->base && !options->changes ? PUBLISH_LEVEL_UPDATE : PUBLISH_LEVEL_FIRST;
}

static int seal_one(struct publication *work, struct frame_codec *codec, uint8_t *scratch,
		    const struct open_frame *frame)
{
	struct frame_header header = {.kind = FRAME_DATA, .number = frame->number};
	struct pack_writer *writer = frame->writer;
	int error;

	memcpy(header.salt, writer->table.salt, SALT_BYTES);
	error = frame_seal(codec, writer->key, &header, frame->plain, frame->blocks * BLOCK_BYTES,
			   publish_level(work), scratch);
	if (!error)
		error = pack_writer_append(writer, frame->number, FRAME_DATA,
					   (uint16_t)frame->blocks, scratch, header.stored_bytes);
	if (!error && pack_writer_complete(writer))
		error = seal(work, writer);
	return error;
}

/* Compresses, encrypts and appends a chain of frames, and gives their buffers back. */
int publish_seal_frames(struct publication *work, struct frame_codec *codec, uint8_t *scratch,
			struct open_frame *frames)
{
	int error = 0;

	while (frames) {
		struct open_frame *frame = frames;

		frames = frame->next;
		if (!error)
			error = seal_one(work, codec, scratch, frame);
		pthread_mutex_lock(&work->lock);
		frame->next = work->free_frames;
		work->free_frames = frame;
		pthread_mutex_unlock(&work->lock);
	}
	return error ? publish_fail(work, error) : 0;
}

/* Stores a page of the map as a frame of its own. */
int publish_store_page(struct publication *work, const uint8_t *page, size_t bytes,
		       struct block_ref *ref)
{
	struct frame_header header = {.kind = FRAME_MAP};
	struct pack_writer *writer;
	uint8_t *scratch = malloc(FRAME_STORED_MAX);
	int error = scratch ? current_writer(work, (uint32_t)bytes, &writer) : -ENOMEM;

	if (!error) {
		header.number = pack_writer_allocate(writer, (uint32_t)bytes);
		memcpy(header.salt, writer->table.salt, SALT_BYTES);
		error = frame_seal(work->codec, writer->key, &header, page, bytes, 9, scratch);
	}
	if (!error)
		error = pack_writer_append(writer, header.number, FRAME_MAP, 0, scratch,
					   header.stored_bytes);
	if (!error) {
		*ref = (struct block_ref){writer->id, (uint16_t)header.number, 0};
		work->result->map_bytes += header.stored_bytes;
	}
	free(scratch);
	return error;
}

/* Notes which packs have their names now, then makes those names last. */
static int gather_sealed(struct publication *work)
{
	for (struct pack_writer *writer = work->writers; writer; writer = writer->next)
		writer->settling = !publish_pack(work, writer->id)->frame_count &&
				   pack_writer_sealed(writer);
	return work->store->files->sync_directory(work->store->files, "packs");
}

/* No more frames will come: seals the last pack. */
int publish_close_writers(struct publication *work)
{
	int error = 0;

	if (work->writers && pack_writer_close(work->writers))
		error = seal(work, work->writers);
	return error ? error : gather_sealed(work);
}

/* Makes sealed packs known. Inside a transaction; their names are on the disk. */
int publish_settle(struct publication *work)
{
	int error = 0;

	for (struct pack_writer *writer = work->writers; writer && !error; writer = writer->next) {
		struct pack_row row = {.id = writer->id, .state = PACK_SETTLED};

		if (!writer->settling)
			continue;
		memcpy(row.salt, writer->table.salt, SALT_BYTES);
		memcpy(row.domain, work->domain->id, DOMAIN_ID_BYTES);
		memcpy(row.table_name, writer->table.name, NAME_BYTES);
		row.table_offset = writer->table.table_offset;
		row.frame_count = writer->table.frame_count;
		error = pack_row_make(&row);
		for (uint32_t i = 0; i < row.frame_count && !error; i++)
			bitmap_set(row.present, i);
		if (!error)
			error = catalogue_update_pack(work->store->catalogue, &row);
		pack_row_release(&row);
	}
	return error;
}

/* Remembers, after a commit, what publish_settle() made known. */
static void mark_settled(struct publication *work)
{
	for (struct pack_writer *writer = work->writers; writer; writer = writer->next) {
		struct known_pack *known = publish_pack(work, writer->id);

		if (!writer->settling)
			continue;
		writer->settling = false;
		known->frame_count = writer->table.frame_count;
		known->table_offset = writer->table.table_offset;
		memcpy(known->table_name, writer->table.name, NAME_BYTES);
	}
}

/* In the middle of a long publication: what is whole stays, even if power fails. */
int publish_checkpoint(struct publication *work)
{
	struct catalogue *catalogue = work->store->catalogue;
	int error = gather_sealed(work);

	if (!error)
		error = index_flush(work->index);
	if (!error)
		error = catalogue_begin(catalogue);
	if (error)
		return error;
	error = catalogue_renew_session(catalogue, work->session,
					work->store->now() + STORE_SESSION_SECONDS);
	if (!error)
		error = publish_settle(work);
	if (!error)
		error = index_commit(work->index);
	if (error) {
		catalogue_rollback(catalogue);
		return error;
	}
	error = catalogue_commit(catalogue);
	if (!error)
		mark_settled(work);
	return error;
}
