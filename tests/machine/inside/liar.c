/*
 * liar: a vhost-user entropy backend that says it has written more than there was room for. The guest's own driver would
 * believe it, and hand out what lies behind its buffer as random bytes.
 */
#include <vhost_device.h>

#include <stdio.h>
#include <string.h>

#define LIE_BYTES 4096u

static uint32_t serve(void *context, const struct vhost_request *request, void *scratch)
{
	memset(scratch, 'x', LIE_BYTES);
	(void)vhost_copy_to(request->in, request->in_count, 0, scratch,
			    request->in_bytes < LIE_BYTES ? (size_t)request->in_bytes : LIE_BYTES);
	return (uint32_t)request->in_bytes + LIE_BYTES;
}

int main(int argc, char **argv)
{
	static const struct vhost_kind kind = {
		.queue_count = 1, .serve = serve, .scratch_bytes = LIE_BYTES, .worker_max = 1 };
	int listener = argc == 2 ? vhost_open(argv[1]) : -1;

	if (listener < 0) {
		fprintf(stderr, "usage: liar SOCKET\n");
		return 2;
	}
	return vhost_accept(listener, &kind, -1) ? 1 : 0;
}
