/**
 * Who a guest is on this PC: machine-id, host name, SSH host key. All of it comes from 32 bytes
 * that lie in the vault, so it is the same at every start, another on every PC, and gone with a
 * wipe. It reaches the guest on a configuration disk made anew at every start: cloud-init's NoCloud
 * files, and an answer file for Windows.
 */
#ifndef AGENT_IDENTITY_H
#define AGENT_IDENTITY_H

#include <stddef.h>

#define IDENTITY_KEY_BYTES 32
#define IDENTITY_HOST_MAX  64

struct identity_request {
	unsigned char key[IDENTITY_KEY_BYTES]; /* from the vault */
	const char *guest;
	const char *device; /* %d of the pattern */
	const char *user;   /* %u of the pattern; may be empty */
	const char
	    *host_pattern; /* from policy: letters, digits, '-', %d, %u; empty: GUEST-DEVICE */
	const char *cloud_config; /* from policy: the guest's user-data; may be empty */
};

/** Host name by the pattern, as RFC 1123 wants it: letters, digits, hyphens, at most 63. */
void identity_host_name(const struct identity_request *request, char host[IDENTITY_HOST_MAX]);

/** 32 hexadecimal digits for /etc/machine-id. */
void identity_machine_id(const struct identity_request *request, char id[33]);

/**
 * Writes the configuration disk's image (FAT_IMAGE_BYTES, fat_image.h). It holds a private key.
 * Returns 0, -ENOSPC (the policy's cloud-config is too long) or -ENOMEM.
 */
int identity_write_disk(const struct identity_request *request, unsigned char *image);

#endif
