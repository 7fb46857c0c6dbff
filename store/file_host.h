/* file_host.h: what the files of the host's struct store_files share; see file.h. */
#ifndef STORE_FILE_HOST_H
#define STORE_FILE_HOST_H

#include "store/file.h"

struct host_file {
	struct store_file file;
	int fd;
};

static inline int host_fd(const struct store_file *file)
{
	return ((const struct host_file *)file)->fd;
}

/** The whole of one transfer, by ordinary calls: what io_uring left undone, or could not do. */
int host_transfer_one(const struct store_io *io);

/** struct store_files' transfer: by io_uring, several at once; one after the other where the kernel has none. */
int host_transfer(struct store_io *ios, size_t count);

#endif
