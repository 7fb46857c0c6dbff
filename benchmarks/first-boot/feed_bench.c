/*
 * feed_bench.c: stands for the agent of a PC that has nothing, for the benchmark beside this file; not a product. It
 * brings a version's map from one store into another, then frames only as a disk server asks for them (backends/feed.h),
 * or those of a boot trace first, and counts every byte that a line would have carried.
 *
 *   feed_bench SOURCE LOCAL DOMAIN-KEY VERSION SOCKET [TRACE]
 *
 * Prints "ready BYTES" when a guest can start, and at SIGTERM "moved BYTES asked FRAMES whole BYTES".
 */
#include "feed.h"
#include "version.h"

#include "store/fetch.h"
#include "store/image.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define TRACE_MAX (4u << 20)

static struct problem problem;
static struct fetch *fetching;
static struct store *source, *local;
static struct domain domain;
static uint64_t asked;

static void die(const char *what, int error)
{
	fprintf(stderr, "feed_bench: %s: %s\n", what, problem.line[0] ? problem.line : strerror(-error));
	exit(1);
}

static void check(const char *what, int error)
{
	if (error)
		die(what, error);
}

static int get(void *context, const struct frame_address *address, bool urgent)
{
	if (!urgent)
		return -EAGAIN;
	__atomic_add_fetch(&asked, 1, __ATOMIC_RELAXED);
	return fetch_frame(fetching, address);
}

static void *answer(void *context)
{
	int connection = (int)(intptr_t)context;

	feed_answer(connection, get, NULL);
	close(connection);
	return NULL;
}

static void read_domain(const char *path)
{
	uint8_t key[DOMAIN_KEY_BYTES];
	int file = open(path, O_RDONLY);

	if (file < 0 || read(file, key, sizeof(key)) != sizeof(key) || domain_open(key, &domain))
		die(path, -EINVAL);
	close(file);
}

static void open_stores(char **words)
{
	static struct fetch_source from;
	static const struct fetch_options map = {.map_only = true};
	struct version_row row;
	char *envelope;

	check("source", store_open(words[1], false, &source, &problem));
	check("local", store_open(words[2], true, &local, &problem));
	read_domain(words[3]);
	check("version", store_find_version(source, words[4], &row, &problem));
	check("version", store_version_envelope(source, row.id, &envelope, &problem));
	from = fetch_source_store(source);
	check("fetch", fetch_open(local, &from, envelope, strlen(envelope), NULL, &fetching, &problem));
	check("map", fetch_run(fetching, &map, &problem));
	free(envelope);
}

/* The frames that the trace's blocks lie in, in its order. */
static void follow(const char *path)
{
	static char text[TRACE_MAX];
	struct version_trace trace;
	struct image *image;
	FILE *file = fopen(path, "r");
	size_t bytes = file ? fread(text, 1, sizeof(text), file) : 0;
	uint64_t frames = 0;

	check(path, bytes ? 0 : -errno);
	fclose(file);
	check("image", image_open(local, &domain, fetch_version_id(fetching), &image, &problem));
	check(path, version_trace_read(text, bytes, manifest_blocks(image_manifest(image)), &trace));
	for (size_t i = 0; i < trace.count; i++)
		for (uint64_t at = 0; at < trace.runs[i].count; at++) {
			struct image_frame frame;
			struct block_ref ref;

			check("locate", image_locate(image, trace.runs[i].first + at, 1, &ref, NULL));
			if (ref_is_zero(ref) || image_frame_at(image, ref, &frame) ||
			    fetch_frame_state(fetching, &frame.address) != FETCH_ABSENT)
				continue;
			check("frame", fetch_frame(fetching, &frame.address));
			frames++;
		}
	version_trace_release(&trace);
	image_close(image);
	fprintf(stderr, "feed_bench: the trace names %llu frames\n", (unsigned long long)frames);
}

static void *listen_for_questions(void *context)
{
	const char *path = context;
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int listener = socket(AF_UNIX, SOCK_STREAM, 0), connection;
	pthread_t thread;

	if (strlen(path) >= sizeof(address.sun_path))
		die(path, -ENAMETOOLONG);
	strcpy(address.sun_path, path);
	unlink(path);
	if (bind(listener, (struct sockaddr *)&address, sizeof(address)) || listen(listener, 16))
		die(path, -errno);
	while ((connection = accept(listener, NULL, NULL)) >= 0)
		if (!pthread_create(&thread, NULL, answer, (void *)(intptr_t)connection))
			pthread_detach(thread);
	return NULL;
}

static uint64_t moved(void)
{
	struct fetch_result totals;

	fetch_totals(fetching, &totals);
	return totals.fetched_bytes;
}

int main(int argc, char **argv)
{
	pthread_t thread;
	sigset_t end;
	int signal_number;

	if (argc < 6 || argc > 7)
		return 2;
	sigemptyset(&end);
	sigaddset(&end, SIGTERM);
	pthread_sigmask(SIG_BLOCK, &end, NULL);
	signal(SIGPIPE, SIG_IGN);
	open_stores(argv);
	if (argc == 7)
		follow(argv[6]);
	if (pthread_create(&thread, NULL, listen_for_questions, argv[5]))
		return 1;
	printf("ready %llu\n", (unsigned long long)moved());
	fflush(stdout);
	sigwait(&end, &signal_number);
	printf("moved %llu asked %llu whole %llu\n", (unsigned long long)moved(), (unsigned long long)asked,
	       (unsigned long long)fetch_manifest(fetching)->stored_bytes);
	fflush(stdout);
	_exit(0);
}
