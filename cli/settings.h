/* settings.h: small private files of a command's user: read whole, written beside and renamed. */
#ifndef BULKHEAD_CLI_SETTINGS_H
#define BULKHEAD_CLI_SETTINGS_H

#include <stddef.h>

/** Path of a file in the configuration directory. @path: 4096 bytes. Returns 0 or -ENAMETOOLONG. */
int settings_path(const char *name, char *path);

/** Reads a file of at most @most bytes; the caller frees *@text. Returns 0 or a negative errno. */
int settings_read(const char *path, size_t most, char **text, size_t *text_bytes);

/** Writes a file that only its owner may read, making the directory. Returns 0 or a negative errno.
 */
int settings_write(const char *path, const char *text);

/**
 * Asks for a secret on the terminal without showing it, or reads the first line of @file.
 *
 * @secret: 512 bytes.
 *
 * Returns 0, -ENOTTY (no terminal, no file) or another negative errno.
 */
int settings_secret(const char *prompt, const char *file, char *secret);

#endif
