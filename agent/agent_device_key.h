/** The device's own key for TLS (EC P-256, made here, never leaves) and the request for its
 * certificate. */
#ifndef AGENT_DEVICE_KEY_H
#define AGENT_DEVICE_KEY_H

#include <stdbool.h>
#include <stdint.h>

/**
 * Makes `key_path` (mode 0600) if it is missing, and `request_path` with it: a lost answer is asked
 * for again with the very same request. `*request` gets the request's PEM (the caller frees).
 * Returns 0 or negative errno.
 */
int agent_device_key_make(const char *key_path, const char *request_path, const char *name,
			  char **request);

/** Whether the certificate at `certificate_path` is in the last third of its life at `now` (seconds since 1970), or over. One
 * that cannot be read is not: asking for another needs it. */
bool agent_device_certificate_is_due(const char *certificate_path, int64_t now);

/** Whether a PEM text begins with a certificate for the key at `key_path`. */
bool agent_device_certificate_fits(const char *certificate, const char *key_path);

#endif
