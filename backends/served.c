/* A served disk's parts; see served.h. */
#include "served.h"
#include "control.h"
#include "feed.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#define TRACE_BYTES_MAX (64u << 20)
#define FOLDER_BYTES	80
#define FEED_PAUSE_MS	250
#define FEED_TRIES_UNTOLD 480 /* two minutes */

struct served {
	struct guestdisk disk;
	bool disk_made;
	struct store_files *state;
	struct store *store;
	struct domain domain;
	struct version *version;
	struct version_trace trace;
	struct layer *top;
	struct feed *feed;
	struct control *control;
	int file_fd; /* -1: not a plain file */
	int stop_fd;
	const char *record;
};

int served_read_key(const char *path, uint8_t key[SERVED_KEY_BYTES], struct problem *problem)
{
	uint8_t bytes[SERVED_KEY_BYTES + 1];
	ssize_t length;
	int fd;

	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return problem_errno(problem, -errno, "%s", path);
	length = read(fd, bytes, sizeof(bytes));
	close(fd);
	if (length == SERVED_KEY_BYTES)
		memcpy(key, bytes, SERVED_KEY_BYTES);
	OPENSSL_cleanse(bytes, sizeof(bytes));
	return length == SERVED_KEY_BYTES
		       ? 0
		       : problem_set(problem, -EINVAL, "%s: is no key; a key file has exactly %u bytes", path,
				     SERVED_KEY_BYTES);
}

/** The key of one layer: no two have the same. */
static int layer_key(const struct served_options *options, const char *label, uint8_t key[LAYER_KEY_BYTES],
		     struct problem *problem)
{
	unsigned int length = 0;

	if (!options->key)
		return problem_set(problem, -EINVAL, "a key is needed");
	if (!HMAC(EVP_sha256(), options->key, SERVED_KEY_BYTES, (const uint8_t *)label, strlen(label), key, &length))
		return problem_errno(problem, -EIO, "no key for %s", label);
	return 0;
}

static void drop_layer(struct store_files *files, const char *folder)
{
	/* The map first: without it the rest is no layer. */
	static const char *const names[] = {"map", "map.part", "data", "tags", "aside"};
	char path[FOLDER_BYTES + 16];

	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
		snprintf(path, sizeof(path), "%s/%s", folder, names[i]);
		(void)files->unlink(files, path);
	}
}

/** Opens a writable layer, making it if @create_blocks is not 0 and there is none. */
static int open_top(struct served *served, const struct served_options *options, const char *folder, const char *label,
		    uint64_t create_blocks, struct problem *problem)
{
	uint8_t key[LAYER_KEY_BYTES];
	int error = layer_key(options, label, key, problem);

	if (!error) {
		error = layer_open(served->state, folder, key, &served->top, create_blocks ? NULL : problem);
		if (error == -ENOENT && create_blocks) {
			error = layer_create(served->state, folder, LAYER_WRITABLE, create_blocks, LAYER_JOURNAL_BYTES,
					     key, problem);
			if (!error)
				error = layer_open(served->state, folder, key, &served->top, problem);
		} else if (error && create_blocks) {
			error = layer_open(served->state, folder, key, &served->top, problem); /* to say why */
		}
	}
	OPENSSL_cleanse(key, sizeof(key));
	return error;
}

static int load_trace(struct served *served, const char *path, uint64_t blocks, struct problem *problem)
{
	char *text = NULL;
	size_t length = 0;
	FILE *file = fopen(path, "re");
	int error = 0;

	if (!file)
		return problem_errno(problem, -errno, "%s", path);
	text = malloc(TRACE_BYTES_MAX);
	if (text)
		length = fread(text, 1, TRACE_BYTES_MAX, file);
	if (!text || ferror(file) || !feof(file))
		error = problem_set(problem, -EFBIG, "%s: cannot be read whole", path);
	fclose(file);
	if (!error && version_trace_read(text, length, blocks, &served->trace))
		error = problem_set(problem, -EBADMSG, "%s: is not a boot trace of this version; record it again", path);
	free(text);
	return error;
}

/** Waits a moment. False: this disk is to stop, or has waited long enough where nobody could tell it to. */
static bool may_ask_again(const struct served *served, unsigned int tries)
{
	struct pollfd stop = {.fd = served->stop_fd, .events = POLLIN};

	if (poll(&stop, served->stop_fd >= 0, FEED_PAUSE_MS) != 0)
		return false;
	return served->stop_fd >= 0 || tries < FEED_TRIES_UNTOLD;
}

/**
 * Asks for a frame. Who waits for one waits as long as the line is down: a guest whose read fails takes its file system
 * for broken. What nobody waits for is asked for later.
 */
static int ask_feed(void *context, const struct image_frame *frame, bool urgent)
{
	const struct served *served = context;
	int error;

	for (unsigned int tries = 0;; tries++) {
		error = feed_ask(served->feed, &frame->address, urgent);
		/* The agent starts anew, or has no line to the server. */
		if (error == -ENOENT || error == -ECONNREFUSED || error == -EPIPE)
			error = -EAGAIN;
		if (error != -EAGAIN || !urgent || !may_ask_again(served, tries))
			return error;
	}
}

static int open_version(struct served *served, const struct served_options *options, char id[2 * VERSION_ID_BYTES + 1],
			struct problem *problem)
{
	uint8_t key[LAYER_KEY_BYTES];
	char folder[FOLDER_BYTES];
	struct version_row row;
	int error = options->domain_key ? domain_open(options->domain_key, &served->domain)
					: problem_set(problem, -EINVAL, "the key of the version's domain is needed");

	if (!error)
		error = store_open(options->store, false, &served->store, problem);
	if (!error)
		error = store_find_version(served->store, options->version ? options->version : "", &row, problem);
	if (error)
		return error;
	store_hex(row.id, 16, id);
	snprintf(folder, sizeof(folder), "arrived-%s", id);
	error = layer_key(options, folder, key, problem);
	if (!error && options->feed) {
		served->feed = feed_new(options->feed);
		if (!served->feed)
			error = problem_set(problem, -ENAMETOOLONG, "%s: is too long for a socket's path", options->feed);
	}
	if (!error && options->trace)
		error = load_trace(served, options->trace, (row.disk_bytes + BLOCK_BYTES - 1) / BLOCK_BYTES, problem);
	struct version_options version = {
		.store = served->store,
		.domain = &served->domain,
		.id = row.id,
		.files = served->state,
		.folder = folder,
		.key = key,
		.fetch = options->feed ? ask_feed : NULL,
		.context = served,
		.trace = options->trace ? &served->trace : NULL,
		.background = !options->no_background,
	};
	if (!error)
		error = version_open(&version, &served->version, problem);
	OPENSSL_cleanse(key, sizeof(key));
	if (!error && options->record) {
		served->record = options->record;
		version_record(served->version);
	}
	return error;
}

static int open_system_disk(struct served *served, const struct served_options *options, struct problem *problem)
{
	char id[2 * VERSION_ID_BYTES + 1], folder[FOLDER_BYTES];
	struct guestdisk_base base;
	uint64_t bytes;
	int error = open_version(served, options, id, problem);

	if (error)
		return error;
	bytes = version_disk_bytes(served->version);
	snprintf(folder, sizeof(folder), "overlay-%s", id);
	if (options->drop_overlay)
		drop_layer(served->state, folder);
	if (!options->read_only)
		error = open_top(served, options, folder, folder, (bytes + BLOCK_BYTES - 1) / BLOCK_BYTES, problem);
	base = guestdisk_version(served->version);
	return error ? error : guestdisk_make(&served->disk, served->top, &base, bytes);
}

static int open_one_layer(struct served *served, const struct served_options *options, struct problem *problem)
{
	uint64_t blocks = (options->layer_bytes + BLOCK_BYTES - 1) / BLOCK_BYTES;
	const char *folder = options->layer ? options->layer : "user";
	int error = open_top(served, options, folder, options->layer_label ? options->layer_label : folder, blocks,
			     problem);

	if (error)
		return error;
	return guestdisk_make(&served->disk, served->top, NULL, layer_blocks(served->top) * BLOCK_BYTES);
}

/** Reads blocks of a plain file; what the last one has beyond its end is zero. */
static int read_file(void *context, uint64_t first, uint64_t count, void *buffer)
{
	const struct served *served = context;
	uint64_t bytes = count * BLOCK_BYTES, done = 0;

	while (done < bytes) {
		ssize_t got = pread(served->file_fd, (uint8_t *)buffer + done, bytes - done,
				    (off_t)(first * BLOCK_BYTES + done));

		if (got < 0)
			return -errno;
		if (got == 0)
			break;
		done += (uint64_t)got;
	}
	memset((uint8_t *)buffer + done, 0, bytes - done);
	return 0;
}

static int open_file(struct served *served, const struct served_options *options, struct problem *problem)
{
	const struct guestdisk_base base = {.read = read_file, .context = served};
	struct stat status;

	served->file_fd = open(options->file, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (served->file_fd < 0 || fstat(served->file_fd, &status))
		return problem_errno(problem, -errno, "%s", options->file);
	if (!S_ISREG(status.st_mode) || status.st_size < (off_t)SECTOR_BYTES)
		return problem_set(problem, -EINVAL, "%s: is no file with a disk in it", options->file);
	return guestdisk_make(&served->disk, NULL, &base, (uint64_t)status.st_size);
}

static int open_state(struct served *served, const struct served_options *options, struct problem *problem)
{
	int error = options->state ? store_files_open_direct(options->state, true, options->direct, &served->state) : -EINVAL;

	if (error)
		return problem_errno(problem, error, "%s", options->state ? options->state : "a folder for the state is needed");
	return options->store ? open_system_disk(served, options, problem) : open_one_layer(served, options, problem);
}

int served_open(const struct served_options *options, struct served **opened, struct problem *problem)
{
	struct served *served = calloc(1, sizeof(*served));
	int error;

	if (!served)
		return problem_errno(problem, -ENOMEM, "the disk cannot be opened");
	served->stop_fd = options->stop_fd;
	served->file_fd = -1;
	error = options->file ? open_file(served, options, problem) : open_state(served, options, problem);
	served->disk_made = !error;
	if (!error && options->control)
		error = control_start(options->control, served_layer(served), served_version(served), &served->control);
	if (error) {
		problem_errno(problem, error, "the disk cannot be opened");
		served_close(served, NULL);
		return error;
	}
	*opened = served;
	return 0;
}

static int write_trace(struct served *served, struct problem *problem)
{
	int error, fd = open(served->record, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);

	if (fd < 0)
		return problem_errno(problem, -errno, "%s", served->record);
	error = version_write_trace(served->version, fd);
	close(fd);
	return error ? problem_errno(problem, error, "%s", served->record) : 0;
}

int served_close(struct served *served, struct problem *problem)
{
	int error = 0, trace_error = 0;

	control_stop(served->control);
	if (served->disk_made)
		guestdisk_release(&served->disk);
	if (served->top)
		error = layer_close(served->top);
	if (error)
		problem_errno(problem, error, "what the guest wrote last is lost");
	if (served->record && served->version)
		trace_error = write_trace(served, problem);
	if (served->version)
		version_close(served->version);
	feed_free(served->feed);
	version_trace_release(&served->trace);
	if (served->store)
		store_close(served->store);
	domain_forget(&served->domain);
	if (served->state)
		served->state->release(served->state);
	if (served->file_fd >= 0)
		close(served->file_fd);
	free(served);
	return error ? error : trace_error;
}

struct guestdisk *served_disk(struct served *served)
{
	return &served->disk;
}

struct layer *served_layer(struct served *served)
{
	return served->top;
}

struct version *served_version(struct served *served)
{
	return served->version;
}
