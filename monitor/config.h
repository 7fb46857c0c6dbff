/* SPDX-License-Identifier: MIT */
/*
 * A guest's configuration file: "key = value" lines, # comments. monitor(1) lists the keys.
 */
#ifndef BULKHEAD_MONITOR_CONFIG_H
#define BULKHEAD_MONITOR_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CONFIG_DISKS_MAX      8u
#define CONFIG_DEVICES_MAX    8u /* disks included; BULKHEAD_DEVICES_MAX */
#define CONFIG_PROCESSORS_MAX 16u

struct config_disk {
	char *socket; /**< of its vhost-user-blk backend */
};

struct config {
	char *name;
	uint64_t memory_bytes; /**< a multiple of 2 MiB */
	unsigned int processors;
	char *kernel, *initrd, *command_line; /**< a kernel that is started directly, or */
	char *firmware;			      /**< firmware that starts what the disk holds */
	char *console; /**< "stdio", or a socket to listen on */
	char *control; /**< a socket to listen on; NULL: none */
	struct config_disk disks[CONFIG_DISKS_MAX];
	unsigned int disk_count;
	bool balloon;	  /**< the guest can be asked to do without some of its memory */
	bool unprotected; /**< share memory and registers with the service domain */
	char *network;	  /**< a vhost-user-net socket; NULL: none */
	char *entropy;	  /**< a vhost-user-rng socket; NULL: none */
	char *virtio_console; /**< a vhost-user-console socket; NULL: none */
	char *guest_agent;    /**< a vhost-user-console socket of one named port; NULL: none */
	uint8_t mac[6];
	bool mac_given;
	char *descriptor; /**< what the guest must measure as, signed; NULL: anything */
	char *descriptor_key; /**< public key that signs it */
};

/**
 * Parses configuration text.
 * @text: the file's content, ended by 0; not kept
 * @file: its name, for messages
 * @error: filled with one line that names file, line, reason and remedy when false is returned
 * The caller frees with config_free(), also after false.
 */
bool config_parse(struct config *config, const char *text, const char *file, char *error, size_t error_bytes);

/** Reads and parses a file; as config_parse(). */
bool config_load(struct config *config, const char *path, char *error, size_t error_bytes);

void config_free(struct config *config);

#endif
