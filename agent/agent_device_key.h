/** The device's own key for TLS (EC P-256, made here, never leaves) and the request for its
 * certificate. */
#ifndef AGENT_DEVICE_KEY_H
#define AGENT_DEVICE_KEY_H

/**
 * Makes `key_path` (mode 0600) if it is missing, and `request_path` with it: a lost answer is asked
 * for again with the very same request. `*request` gets the request's PEM (the caller frees).
 * Returns 0 or negative errno.
 */
int agent_device_key_make(const char *key_path, const char *request_path, const char *name,
			  char **request);

#endif
