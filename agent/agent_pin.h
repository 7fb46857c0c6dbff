/** Finding the company's CA at the first contact: by the hash that the enrolment token carries,
 * nothing else. */
#ifndef AGENT_PIN_H
#define AGENT_PIN_H

#include <stddef.h>
#include <stdint.h>

/**
 * Connects to `server` ("https://HOST[:PORT]"), looks for the certificate whose DER has the SHA-256
 * `pin` in what it shows, and returns it as PEM in `*pem` (the caller frees). Sends nothing that is
 * secret. Returns 0, -EKEYREJECTED (it shows no such certificate), -EHOSTUNREACH (no TLS
 * connection) or -ENOMEM.
 */
int agent_pin_find(const char *server, const uint8_t pin[32], char **pem);

#endif
