/** Serving a whole file system to questions (file_view.h), within bulkhead-file-view. */
#ifndef AGENT_FILE_VIEW_TREE_H
#define AGENT_FILE_VIEW_TREE_H

#include <ext2fs/ext2fs.h>

/** Answers questions at `socket` until it closes. Returns an enum file_view_status. */
int file_view_tree(ext2_filsys files, int socket);

/** 0, -ENOENT or -EIO of what libext2fs says of a path. */
int file_view_error(errcode_t error);

#endif
