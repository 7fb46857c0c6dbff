/*
 * Requests of the entropy device; see entropy.h. Random bytes are made in the thread's own buffer and then copied.
 */
#include "entropy.h"

#include <string.h>
#include <sys/random.h>

static uint32_t serve(void *context, const struct vhost_request *request, void *scratch)
{
	size_t size = request->in_bytes < ENTROPY_REQUEST_BYTES ? (size_t)request->in_bytes : ENTROPY_REQUEST_BYTES;
	ssize_t made = getrandom(scratch, size, 0);

	(void)context;
	/* Shorter than asked for only if a signal came; what there is counts. */
	if (made <= 0 || !vhost_copy_to(request->in, request->in_count, 0, scratch, (size_t)made))
		made = 0;
	explicit_bzero(scratch, size);
	return (uint32_t)made;
}

const struct vhost_kind entropy_kind = {
	.queue_count = 1,
	.serve = serve,
	.scratch_bytes = ENTROPY_REQUEST_BYTES,
	.worker_max = 1,
};
