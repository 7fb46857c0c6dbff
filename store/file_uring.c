/*
 * file_uring.c: several reads, writes and syncs at once, by io_uring. Each thread has a ring of its own, made when first
 * needed and gone with the thread: no lock, and a call leaves nothing in flight. Where the kernel refuses a ring (none
 * built in, forbidden by sysctl or a filter, no memory) and for whatever it did only a part of, the ordinary calls serve.
 */
#include "store/file_host.h"

#include <errno.h>
#include <liburing.h>
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

static pthread_key_t ring_key;
static pthread_once_t ring_once = PTHREAD_ONCE_INIT;
static bool ring_key_made;
static bool refused; /* atomic: the kernel gives no rings, or this process wants none */

static void end_ring(void *context)
{
	io_uring_queue_exit(context);
	free(context);
}

static void make_key(void)
{
	ring_key_made = pthread_key_create(&ring_key, end_ring) == 0;
}

void store_file_refuse_rings(void)
{
	__atomic_store_n(&refused, true, __ATOMIC_RELAXED);
}

/* This thread's ring, or NULL. */
static struct io_uring *thread_ring(void)
{
	struct io_uring *ring;

	pthread_once(&ring_once, make_key);
	if (!ring_key_made || __atomic_load_n(&refused, __ATOMIC_RELAXED))
		return NULL;
	ring = pthread_getspecific(ring_key);
	if (ring)
		return ring;
	ring = malloc(sizeof(*ring));
	if (!ring || io_uring_queue_init(STORE_IO_MAX, ring, 0)) {
		free(ring);
		store_file_refuse_rings();
		return NULL;
	}
	if (pthread_setspecific(ring_key, ring)) {
		end_ring(ring);
		return NULL;
	}
	return ring;
}

static void prepare(struct io_uring_sqe *entry, struct store_io *io)
{
	int fd = host_fd(io->file);

	switch (io->kind) {
	case STORE_IO_READ:
		io_uring_prep_read(entry, fd, io->buffer, (unsigned int)io->bytes, io->offset);
		break;
	case STORE_IO_WRITE:
		io_uring_prep_write(entry, fd, io->buffer, (unsigned int)io->bytes, io->offset);
		break;
	case STORE_IO_SYNC:
		io_uring_prep_fsync(entry, fd, IORING_FSYNC_DATASYNC);
		break;
	}
	io_uring_sqe_set_data(entry, io);
}

/* What the kernel made of one: all of it, or the ordinary calls do what is left and find the error. */
static void settle(struct store_io *io, int result)
{
	bool whole = io->kind == STORE_IO_SYNC ? result == 0 : result >= 0 && (size_t)result == io->bytes;

	/* After a failed sync the next one may say that all is well: its error is the one that counts. */
	if (whole || (io->kind == STORE_IO_SYNC && result != -EINTR && result != -EAGAIN))
		io->error = result < 0 ? result : 0;
	else
		io->error = host_transfer_one(io);
}

/* Takes the answers of @count that were sent. */
static void take_answers(struct io_uring *ring, size_t count)
{
	struct io_uring_cqe *done;
	int result;

	for (size_t i = 0; i < count; i++) {
		while ((result = io_uring_wait_cqe(ring, &done)) == -EINTR)
			;
		/* What is in flight may still write into buffers that are about to go: nothing in this process could
		 * be trusted to be right after that. */
		if (result)
			abort();
		settle(io_uring_cqe_get_data(done), done->res);
		io_uring_cqe_seen(ring, done);
	}
}

/* Sends all and takes all answers. A ring that does not take all is given up; the ordinary calls do the rest. */
static void carry_out(struct io_uring *ring, struct store_io *ios, size_t count)
{
	size_t sent = 0;
	int result = 1;

	for (size_t i = 0; i < count; i++)
		prepare(io_uring_get_sqe(ring), &ios[i]);
	while (sent < count && result > 0) {
		while ((result = io_uring_submit(ring)) == -EINTR)
			;
		sent += result > 0 ? (size_t)result : 0;
	}
	take_answers(ring, sent);
	if (sent == count)
		return;
	pthread_setspecific(ring_key, NULL);
	end_ring(ring);
	for (; sent < count; sent++)
		ios[sent].error = host_transfer_one(&ios[sent]);
}

int host_transfer(struct store_io *ios, size_t count)
{
	struct io_uring *ring = count > 1 && count <= STORE_IO_MAX ? thread_ring() : NULL;
	int error = 0;

	if (ring)
		carry_out(ring, ios, count);
	for (size_t i = 0; i < count; i++) {
		if (!ring)
			ios[i].error = host_transfer_one(&ios[i]);
		if (!error)
			error = ios[i].error;
	}
	return error;
}
