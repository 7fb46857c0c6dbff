/*
 * authority.h: the server's certificate authority (X.509, EC P-256).
 *
 * From a device's request only the public key is taken; name, purpose and life time are the
 * server's. Certificates say who talks; what a device may install or obey is signed by other keys
 * (trust/roles.h).
 */
#ifndef SERVER_AUTHORITY_H
#define SERVER_AUTHORITY_H

#include <stddef.h>
#include <stdint.h>

struct authority;

/**
 * Opens the authority kept in directory @path, making it (and the server's own certificate) if
 * there is none. The server's certificate is made anew when it has less than 30 days left or @names
 * changed.
 *
 * @names, @name_count: DNS names and addresses of the server.
 * @problem: receives one line on failure: what, why, remedy.
 *
 * Returns 0, or a negative errno; -EKEYEXPIRED if the authority's certificate has expired.
 */
int authority_open(const char *path, const char *const *names, size_t name_count, int64_t now,
		   struct authority **authority, char *problem, size_t problem_bytes);
void authority_close(struct authority *authority);

/** PEM texts for TLS: the server's key and chain, and the CA's certificate. Owned by the authority.
 */
const char *authority_server_key(const struct authority *authority);
const char *authority_server_certificate(const struct authority *authority);
const char *authority_ca(const struct authority *authority);

/** SHA-256 of the CA certificate's DER: the pin that enrolment tokens carry. */
void authority_pin(const struct authority *authority, uint8_t pin[32]);

/** A device's new certificate. */
struct authority_certificate {
	char *pem;	  /* freed by the caller */
	uint8_t hash[32]; /* SHA-256 of its DER */
	int64_t expires;
};

/**
 * Certifies the key of a request for @device.
 *
 * The request must be signed by its own key, EC P-256 or P-384; nothing else of it is used.
 *
 * Returns 0, -EBADMSG (no such request), -EKEYREJECTED (signature or kind of key), -ENOMEM.
 */
int authority_certify(struct authority *authority, const char *csr_pem, const char *device,
		      int64_t now, struct authority_certificate *certificate);

#endif
