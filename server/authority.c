/* authority.c: see authority.h. */
#include "server/authority.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/bn.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define DAY		    86400
#define CA_LIFE_DAYS	    (20 * 365)
#define SERVER_LIFE_DAYS    397
#define SERVER_RENEW_DAYS   30
#define DEVICE_LIFE_DAYS    365
#define CLOCK_SLACK_SECONDS 300
#define PEM_MAX		    65536

struct authority {
	EVP_PKEY *key;
	X509 *certificate;
	char *ca_pem, *server_key_pem, *server_pem;
};

struct profile {
	int days;
	const char *basic, *usage, *extended;
};

static const struct profile ca_profile = {CA_LIFE_DAYS, "critical,CA:TRUE,pathlen:0",
					  "critical,keyCertSign,cRLSign", NULL};
static const struct profile server_profile = {SERVER_LIFE_DAYS, "critical,CA:FALSE",
					      "critical,digitalSignature", "serverAuth"};
static const struct profile device_profile = {DEVICE_LIFE_DAYS, "critical,CA:FALSE",
					      "critical,digitalSignature", "clientAuth"};

static char *bio_text(BIO *bio)
{
	char *data, *text;
	long bytes = BIO_get_mem_data(bio, &data);

	text = malloc((size_t)bytes + 1);
	if (text) {
		memcpy(text, data, (size_t)bytes);
		text[bytes] = 0;
	}
	BIO_free(bio);
	return text;
}

static char *certificate_text(X509 *certificate)
{
	BIO *bio = BIO_new(BIO_s_mem());

	PEM_write_bio_X509(bio, certificate);
	return bio_text(bio);
}

static char *key_text(EVP_PKEY *key)
{
	BIO *bio = BIO_new(BIO_s_mem());

	PEM_write_bio_PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL);
	return bio_text(bio);
}

static bool add_extension(X509 *certificate, X509 *issuer, int nid, const char *value)
{
	X509V3_CTX context;
	X509_EXTENSION *extension;
	bool good;

	X509V3_set_ctx(&context, issuer, certificate, NULL, NULL, 0);
	extension = X509V3_EXT_conf_nid(NULL, &context, nid, value);
	good = extension && X509_add_ext(certificate, extension, -1);
	X509_EXTENSION_free(extension);
	return good;
}

static bool set_serial(X509 *certificate)
{
	uint8_t bytes[16];
	BIGNUM *number;
	bool good;

	if (RAND_bytes(bytes, sizeof(bytes)) != 1)
		return false;
	bytes[0] = (bytes[0] & 0x7f) | 0x40;
	number = BN_bin2bn(bytes, sizeof(bytes), NULL);
	good = number && BN_to_ASN1_INTEGER(number, X509_get_serialNumber(certificate));
	BN_free(number);
	return good;
}

/* Makes and signs a certificate. @issuer NULL: signs itself. */
static X509 *make(EVP_PKEY *key, const char *name, const char *alternative,
		  const struct profile *profile, X509 *issuer, EVP_PKEY *issuer_key, int64_t now)
{
	X509 *certificate = X509_new();
	X509_NAME *subject = X509_NAME_new();
	time_t start = (time_t)now - CLOCK_SLACK_SECONDS,
	       end = (time_t)now + (time_t)profile->days * DAY;

	if (!certificate || !subject || !X509_set_version(certificate, 2) ||
	    !set_serial(certificate) ||
	    !X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_UTF8, (const uint8_t *)name, -1, -1,
					0) ||
	    !X509_set_subject_name(certificate, subject) ||
	    !X509_set_issuer_name(certificate, issuer ? X509_get_subject_name(issuer) : subject) ||
	    !ASN1_TIME_set(X509_getm_notBefore(certificate), start) ||
	    !ASN1_TIME_set(X509_getm_notAfter(certificate), end) ||
	    !X509_set_pubkey(certificate, key) ||
	    !add_extension(certificate, issuer ? issuer : certificate, NID_basic_constraints,
			   profile->basic) ||
	    !add_extension(certificate, issuer ? issuer : certificate, NID_key_usage,
			   profile->usage) ||
	    !add_extension(certificate, issuer ? issuer : certificate, NID_subject_key_identifier,
			   "hash") ||
	    (issuer &&
	     !add_extension(certificate, issuer, NID_authority_key_identifier, "keyid")) ||
	    (profile->extended &&
	     !add_extension(certificate, issuer, NID_ext_key_usage, profile->extended)) ||
	    (alternative &&
	     !add_extension(certificate, issuer, NID_subject_alt_name, alternative)) ||
	    !X509_sign(certificate, issuer_key, EVP_sha256())) {
		X509_free(certificate);
		certificate = NULL;
	}
	X509_NAME_free(subject);
	return certificate;
}

static int read_file(const char *path, char **text)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t got;

	if (fd < 0)
		return -errno;
	*text = calloc(1, PEM_MAX);
	got = *text ? read(fd, *text, PEM_MAX - 1) : -1;
	close(fd);
	if (got > 0)
		return 0;
	free(*text);
	*text = NULL;
	return -EIO;
}

/* Writes beside, syncs, renames: a crash leaves the old file or the new one. */
static int write_file(const char *path, const char *text)
{
	char beside[4200];
	int fd, status = 0;

	snprintf(beside, sizeof(beside), "%s.new", path);
	fd = open(beside, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd < 0)
		return -errno;
	if (write(fd, text, strlen(text)) != (ssize_t)strlen(text) || fsync(fd))
		status = -errno;
	close(fd);
	if (!status && rename(beside, path))
		status = -errno;
	return status;
}

static EVP_PKEY *parse_key(const char *pem)
{
	BIO *bio = BIO_new_mem_buf(pem, -1);
	EVP_PKEY *key = PEM_read_bio_PrivateKey(bio, NULL, NULL, (void *)"");

	BIO_free(bio);
	return key;
}

static X509 *parse_certificate(const char *pem)
{
	BIO *bio = BIO_new_mem_buf(pem, -1);
	X509 *certificate = PEM_read_bio_X509(bio, NULL, NULL, NULL);

	BIO_free(bio);
	return certificate;
}

static int64_t expiry(const X509 *certificate)
{
	struct tm parts;

	return ASN1_TIME_to_tm(X509_get0_notAfter(certificate), &parts) ? (int64_t)timegm(&parts)
									: 0;
}

/* Key and certificate travel in one file: they are one thing and are renamed as one. */
static int load_pair(const char *path, EVP_PKEY **key, X509 **certificate)
{
	char *text = NULL;
	int status = read_file(path, &text);

	if (status)
		return status;
	*key = parse_key(text);
	*certificate = parse_certificate(text);
	free(text);
	if (*key && *certificate && X509_check_private_key(*certificate, *key) == 1)
		return 0;
	EVP_PKEY_free(*key);
	X509_free(*certificate);
	*key = NULL;
	*certificate = NULL;
	return -EBADMSG;
}

static int save_pair(const char *path, EVP_PKEY *key, X509 *certificate)
{
	char *key_pem = key_text(key), *certificate_pem = certificate_text(certificate),
	     *both = NULL;
	int status = -ENOMEM;

	if (key_pem && certificate_pem && asprintf(&both, "%s%s", key_pem, certificate_pem) > 0)
		status = write_file(path, both);
	free(key_pem);
	free(certificate_pem);
	free(both);
	return status;
}

static int open_ca(struct authority *authority, const char *path, int64_t now)
{
	int status = load_pair(path, &authority->key, &authority->certificate);

	if (status != -ENOENT)
		return status ? status : expiry(authority->certificate) <= now ? -EKEYEXPIRED : 0;
	authority->key = EVP_EC_gen("P-256");
	if (authority->key)
		authority->certificate = make(authority->key, "Bulkhead CA", NULL, &ca_profile,
					      NULL, authority->key, now);
	return authority->certificate ? save_pair(path, authority->key, authority->certificate)
				      : -ENOMEM;
}

static void write_names(const char *const *names, size_t name_count, char *out, size_t out_bytes)
{
	uint8_t address[16];
	size_t used = 0;

	for (size_t i = 0; i < name_count && used < out_bytes; i++) {
		bool is_address = inet_pton(AF_INET, names[i], address) == 1 ||
				  inet_pton(AF_INET6, names[i], address) == 1;

		used += (size_t)snprintf(out + used, out_bytes - used, "%s%s:%s", i ? "," : "",
					 is_address ? "IP" : "DNS", names[i]);
	}
}

static bool names_match(X509 *certificate, const char *const *names, size_t name_count)
{
	for (size_t i = 0; i < name_count; i++)
		if (X509_check_host(certificate, names[i], 0, 0, NULL) != 1 &&
		    X509_check_ip_asc(certificate, names[i], 0) != 1)
			return false;
	return true;
}

static int open_server(struct authority *authority, const char *path, const char *const *names,
		       size_t name_count, int64_t now)
{
	EVP_PKEY *key = NULL;
	X509 *certificate = NULL;
	char alternative[2048] = "", *leaf;
	int status = load_pair(path, &key, &certificate);

	if (status && status != -ENOENT)
		return status;
	if (status || expiry(certificate) < now + SERVER_RENEW_DAYS * DAY ||
	    !names_match(certificate, names, name_count) ||
	    X509_verify(certificate, authority->key) != 1) {
		EVP_PKEY_free(key);
		X509_free(certificate);
		write_names(names, name_count, alternative, sizeof(alternative));
		key = EVP_EC_gen("P-256");
		certificate = key ? make(key, names[0], alternative, &server_profile,
					 authority->certificate, authority->key, now)
				  : NULL;
		status = certificate ? save_pair(path, key, certificate) : -EINVAL;
	}
	if (!status) {
		authority->server_key_pem = key_text(key);
		leaf = certificate_text(certificate);
		if (!leaf || asprintf(&authority->server_pem, "%s%s", leaf, authority->ca_pem) < 0)
			status = -ENOMEM;
		free(leaf);
	}
	EVP_PKEY_free(key);
	X509_free(certificate);
	return status;
}

int authority_open(const char *path, const char *const *names, size_t name_count, int64_t now,
		   struct authority **authority, char *problem, size_t problem_bytes)
{
	struct authority *made = calloc(1, sizeof(*made));
	char file[4096];
	int status;

	if (!made)
		return -ENOMEM;
	snprintf(file, sizeof(file), "%s/ca.pem", path);
	status = open_ca(made, file, now);
	if (!status) {
		made->ca_pem = certificate_text(made->certificate);
		snprintf(file, sizeof(file), "%s/server.pem", path);
		status = open_server(made, file, names, name_count, now);
	}
	if (!status) {
		*authority = made;
		return 0;
	}
	if (status == -EKEYEXPIRED)
		snprintf(problem, problem_bytes,
			 "%s: the authority's certificate has expired; move the file away to make "
			 "a new one, "
			 "then enrol every device again",
			 file);
	else if (status == -EBADMSG)
		snprintf(problem, problem_bytes,
			 "%s: not a key with its certificate; restore the file from a backup",
			 file);
	else
		snprintf(problem, problem_bytes, "%s: %s", file, strerror(-status));
	authority_close(made);
	return status;
}

void authority_close(struct authority *authority)
{
	if (!authority)
		return;
	EVP_PKEY_free(authority->key);
	X509_free(authority->certificate);
	free(authority->ca_pem);
	free(authority->server_key_pem);
	free(authority->server_pem);
	free(authority);
}

const char *authority_server_key(const struct authority *authority)
{
	return authority->server_key_pem;
}

const char *authority_server_certificate(const struct authority *authority)
{
	return authority->server_pem;
}

const char *authority_ca(const struct authority *authority)
{
	return authority->ca_pem;
}

void authority_pin(const struct authority *authority, uint8_t pin[32])
{
	unsigned int bytes = 32;

	X509_digest(authority->certificate, EVP_sha256(), pin, &bytes);
}

static bool key_is_allowed(const EVP_PKEY *key)
{
	char group[32];
	size_t bytes;

	return EVP_PKEY_get_base_id(key) == EVP_PKEY_EC &&
	       EVP_PKEY_get_group_name(key, group, sizeof(group), &bytes) &&
	       (!strcmp(group, "prime256v1") || !strcmp(group, "secp384r1"));
}

int authority_certify(struct authority *authority, const char *csr_pem, const char *device,
		      int64_t now, struct authority_certificate *certificate)
{
	BIO *bio = BIO_new_mem_buf(csr_pem, -1);
	X509_REQ *request = PEM_read_bio_X509_REQ(bio, NULL, NULL, NULL);
	EVP_PKEY *key = request ? X509_REQ_get0_pubkey(request) : NULL;
	unsigned int bytes = 32;
	X509 *made;
	char *leaf;
	int status = -EBADMSG;

	memset(certificate, 0, sizeof(*certificate));
	BIO_free(bio);
	if (!key)
		goto out;
	status = -EKEYREJECTED;
	if (!key_is_allowed(key) || X509_REQ_verify(request, key) != 1)
		goto out;
	status = -ENOMEM;
	made =
	    make(key, device, NULL, &device_profile, authority->certificate, authority->key, now);
	if (!made)
		goto out;
	leaf = certificate_text(made);
	if (leaf && asprintf(&certificate->pem, "%s%s", leaf, authority->ca_pem) > 0) {
		X509_digest(made, EVP_sha256(), certificate->hash, &bytes);
		certificate->expires = expiry(made);
		status = 0;
	}
	free(leaf);
	X509_free(made);
out:
	X509_REQ_free(request);
	return status;
}
