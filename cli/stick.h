/*
 * Disks that a person plugs into the PC: which there are, and their file systems, seen by whoever holds the descriptor and
 * by nobody else. A disk of which the PC uses any part is none of them.
 */
#ifndef BULKHEAD_CLI_STICK_H
#define BULKHEAD_CLI_STICK_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define STICK_NAME_BYTES 32

/** A disk, or a part of one. */
struct stick {
	char name[STICK_NAME_BYTES];  /**< as in /dev */
	char model[STICK_NAME_BYTES]; /**< as the disk says, without spaces at its end; "": it says none */
	uint64_t size_bytes;
	bool is_part;
};

/** Fills in disks that nothing on this PC uses, each followed by its parts. Returns how many, at most @most. */
int stick_find(struct stick *sticks, int most);

/**
 * Opens the file system on one (FAT, exFAT or ext4), where no program, device or owner of a file on it counts.
 * @writable: whether files can be made there; else nothing on it changes
 * @owner: the user to whom what is on it belongs where the file system has no owners
 * Returns a descriptor of its root; the file system is let go when that and all that was opened from it is closed. Or a
 * negative errno: there is none that can be read.
 */
int stick_open(const char *name, bool writable, uid_t owner);

#endif
