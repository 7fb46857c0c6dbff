/* Finding the company's CA by its hash: see agent_pin.h. */
#include "agent_pin.h"

#include <errno.h>
#include <openssl/pem.h>
#include <openssl/sha.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <string.h>

static char *write_pem(X509 *certificate)
{
	BIO *memory = BIO_new(BIO_s_mem());
	char *data, *text = NULL;
	long size;

	if (memory && PEM_write_bio_X509(memory, certificate) == 1) {
		size = BIO_get_mem_data(memory, &data);
		text = strndup(data, (size_t)size);
	}
	BIO_free(memory);
	return text;
}

static int search(STACK_OF(X509) * chain, const uint8_t pin[32], char **pem)
{
	for (int i = 0; chain && i < sk_X509_num(chain); i++) {
		unsigned char *der = NULL, digest[32];
		int size = i2d_X509(sk_X509_value(chain, i), &der);

		if (size <= 0)
			continue;
		SHA256(der, (size_t)size, digest);
		OPENSSL_free(der);
		if (memcmp(digest, pin, sizeof(digest)) != 0)
			continue;
		*pem = write_pem(sk_X509_value(chain, i));
		return *pem ? 0 : -ENOMEM;
	}
	return -EKEYREJECTED;
}

int agent_pin_find(const char *server, const uint8_t pin[32], char **pem)
{
	char address[300], host[256];
	SSL_CTX *context = SSL_CTX_new(TLS_client_method());
	BIO *connection = NULL;
	SSL *tls = NULL;
	int result = -EHOSTUNREACH;

	*pem = NULL;
	if (strncmp(server, "https://", 8) != 0 || strlen(server) - 8 >= sizeof(host) || !context) {
		SSL_CTX_free(context);
		return context ? -EINVAL : -ENOMEM;
	}
	snprintf(host, sizeof(host), "%s", server + 8);
	host[strcspn(host, "/")] = '\0';
	snprintf(address, sizeof(address), "%s%s", host, strchr(host, ':') ? "" : ":443");
	host[strcspn(host, ":")] = '\0';
	/* Nothing is believed yet, so nothing is checked but the hash. */
	SSL_CTX_set_verify(context, SSL_VERIFY_NONE, NULL);
	SSL_CTX_set_min_proto_version(context, TLS1_3_VERSION);
	connection = BIO_new_ssl_connect(context);
	if (connection) {
		BIO_set_conn_hostname(connection, address);
		BIO_get_ssl(connection, &tls);
		if (tls && SSL_set_tlsext_host_name(tls, host) == 1 &&
		    BIO_do_connect(connection) == 1 && BIO_do_handshake(connection) == 1)
			result = search(SSL_get_peer_cert_chain(tls), pin, pem);
	}
	BIO_free_all(connection);
	SSL_CTX_free(context);
	return result;
}
