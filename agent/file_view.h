/** How bulkhead-file-view ends, and where it finds its blocks. */
#ifndef AGENT_FILE_VIEW_H
#define AGENT_FILE_VIEW_H

#define FILE_VIEW_BLOCKS 3

enum file_view_status {
	FILE_VIEW_DONE = 0,
	FILE_VIEW_NOT_CONFINED = 10,
	FILE_VIEW_NO_FILE_SYSTEM, /* no ext4 on the whole disk */
	FILE_VIEW_NOT_FOUND,
	FILE_VIEW_NO_FILE, /* a directory, a device */
	FILE_VIEW_DAMAGED,
	FILE_VIEW_CANNOT_WRITE,
};

#endif
