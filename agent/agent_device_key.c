/* The device's own key: see agent_device_key.h. */
#include "agent_device_key.h"

#include <errno.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <stdlib.h>
#include <string.h>

#include "durable_file.h"

static int save(BIO *memory, const char *path)
{
	char *data;
	long size = BIO_get_mem_data(memory, &data);

	return durable_file_write(path, data, (size_t)size, 0600);
}

static X509_REQ *make_request(EVP_PKEY *key, const char *name)
{
	X509_REQ *request = X509_REQ_new();

	if (request &&
	    X509_NAME_add_entry_by_txt(X509_REQ_get_subject_name(request), "CN", MBSTRING_UTF8,
				       (const unsigned char *)name, -1, -1, 0) == 1 &&
	    X509_REQ_set_pubkey(request, key) == 1 && X509_REQ_sign(request, key, EVP_sha256()) > 0)
		return request;
	X509_REQ_free(request);
	return NULL;
}

static int make(const char *key_path, const char *request_path, const char *name)
{
	EVP_PKEY *key = EVP_EC_gen("P-256");
	X509_REQ *request = key ? make_request(key, name) : NULL;
	BIO *memory = BIO_new(BIO_s_mem());
	int result = -EIO;

	if (request && memory &&
	    PEM_write_bio_PrivateKey(memory, key, NULL, NULL, 0, NULL, NULL) == 1) {
		result = save(memory, key_path);
		(void)BIO_reset(memory);
		/* The request last: where it is, its key is. */
		if (result == 0 && PEM_write_bio_X509_REQ(memory, request) == 1)
			result = save(memory, request_path);
	}
	BIO_free(memory);
	X509_REQ_free(request);
	EVP_PKEY_free(key);
	return result;
}

int agent_device_key_make(const char *key_path, const char *request_path, const char *name,
			  char **request)
{
	size_t size;
	int result = durable_file_read(request_path, 16384, (unsigned char **)request, &size);

	if (result != -ENOENT)
		return result;
	result = make(key_path, request_path, name);
	return result == 0
		   ? durable_file_read(request_path, 16384, (unsigned char **)request, &size)
		   : result;
}
