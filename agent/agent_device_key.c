/* The device's own key: see agent_device_key.h. */
#include "agent_device_key.h"

#include <errno.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

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

/** A time of X.509 in seconds since 1970; 0: it is none. */
static int64_t seconds_of(const ASN1_TIME *time)
{
	struct tm parts;

	return ASN1_TIME_to_tm(time, &parts) == 1 ? (int64_t)timegm(&parts) : 0;
}

static X509 *read_certificate(const char *text)
{
	BIO *memory = BIO_new_mem_buf(text, -1);
	X509 *certificate = memory ? PEM_read_bio_X509(memory, NULL, NULL, NULL) : NULL;

	BIO_free(memory);
	return certificate;
}

bool agent_device_certificate_is_due(const char *certificate_path, int64_t now)
{
	unsigned char *text;
	X509 *certificate;
	int64_t begin, end;
	size_t size;

	if (durable_file_read(certificate_path, 65536, &text, &size) != 0)
		return false;
	certificate = read_certificate((const char *)text);
	free(text);
	if (!certificate)
		return false;
	begin = seconds_of(X509_get0_notBefore(certificate));
	end = seconds_of(X509_get0_notAfter(certificate));
	X509_free(certificate);
	return begin < end && now > end - (end - begin) / 3;
}

bool agent_device_certificate_fits(const char *text, const char *key_path)
{
	X509 *certificate = read_certificate(text);
	BIO *file = BIO_new_file(key_path, "r");
	EVP_PKEY *key = file ? PEM_read_bio_PrivateKey(file, NULL, NULL, NULL) : NULL;
	bool fits = certificate && key && X509_check_private_key(certificate, key) == 1;

	EVP_PKEY_free(key);
	BIO_free(file);
	X509_free(certificate);
	return fits;
}
