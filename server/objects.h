/*
 * objects.h: the server's immutable objects (packs, manifests) behind one interface.
 *
 * A key is a short path of checked parts ("packs/HEX", "manifests/HEX", "disks/NAME/HEX"). An
 * object appears whole, after its SHA-256 was checked, and never changes. An unfinished upload
 * stays apart and can be continued. A directory is the driver here; a driver for an object store
 * fills the same table.
 */
#ifndef SERVER_OBJECTS_H
#define SERVER_OBJECTS_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define OBJECTS_KEY_MAX 200

/** An object that is being read. */
struct object {
	int fd; /* a file that can be handed to the kernel whole, or -1: use the driver's read */
	void *handle;
	uint64_t size_bytes;
};

/** An upload in progress. */
struct object_put {
	char key[OBJECTS_KEY_MAX];
	int fd;
	uint64_t offset_bytes;
};

struct objects_driver {
	const char *name;
	int (*open)(const char *location, void **handle);
	void (*close)(void *handle);
	/* Opens an object: 0 or -ENOENT, -EIO. Close fd (or handle) through release. */
	int (*get)(void *handle, const char *key, struct object *object);
	ssize_t (*read)(void *handle, const struct object *object, uint64_t offset_bytes,
			void *buffer, size_t bytes);
	void (*release)(void *handle, struct object *object);
	/* Bytes of an unfinished upload, 0 if there is none. */
	uint64_t (*partial)(void *handle, const char *key);
	/* Starts or goes on at @offset_bytes, which must be what partial() says: else -ESTALE.
	 * Whoever holds it is left with nothing to publish; -EBUSY: somebody else came first. */
	int (*put_start)(void *handle, const char *key, uint64_t offset_bytes,
			 struct object_put *put);
	int (*put_write)(void *handle, struct object_put *put, const void *data, size_t bytes);
	/* Keeps what has arrived for a later call. */
	int (*put_pause)(void *handle, struct object_put *put);
	/* Checks and publishes: 0, -EKEYREJECTED (hash differs; the upload is dropped), -ENOSPC,
	 * -EIO. */
	int (*put_commit)(void *handle, struct object_put *put, const uint8_t sha256[32]);
	void (*put_drop)(void *handle, struct object_put *put);
	/* Proves that something can be written: 0 or a negative errno. */
	int (*probe)(void *handle);
};

extern const struct objects_driver objects_directory;

#endif
