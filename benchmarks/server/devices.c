/*
 * devices.c: many simulated devices in one process: each with a certificate of its own, real
 * TLS 1.3, one epoll loop. It enrols them, then polls two servers by turns in the same way and
 * reads from /proc what each spent.
 */
#include "client.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define PIDS_MAX   16
#define EVENTS	   256
#define PACK_READS 48
#define ENROLLERS  4

enum mode { MODE_KEPT, MODE_RESUMED, MODE_FULL };

struct device {
	SSL_CTX *context;
	SSL_SESSION *session[2]; /* by server */
	SSL *ssl;
	int fd, phase; /* 0 none, 1 connecting, 2 handshake, 3 write, 4 read */
	int polls_left;
	size_t got;
	char answer[1024];
};

struct side {
	const char *name;
	int port, packs_port;
	const char *path;
	int pids[PIDS_MAX];
	int pid_count;
};

static struct device *devices;
static int device_count = 2000, rounds = 3;
static const char *pack_path;
static FILE *rows;

/* User and system time of a server's processes, in nanoseconds. */
static long long spent_ns(const struct side *side)
{
	long long total = 0;

	for (int i = 0; i < side->pid_count; i++) {
		struct timespec time;
		clockid_t clock;

		if (clock_getcpuclockid(side->pids[i], &clock) || clock_gettime(clock, &time)) {
			fprintf(stderr, "bench server: %s is gone\n", side->name);
			exit(1);
		}
		total += time.tv_sec * 1000000000LL + time.tv_nsec;
	}
	return total;
}

static long peak_kib(const struct side *side)
{
	char path[64], line[256];
	long peak = 0, value;
	FILE *file;

	for (int i = 0; i < side->pid_count; i++) {
		snprintf(path, sizeof(path), "/proc/%d/status", side->pids[i]);
		file = fopen(path, "r");
		while (file && fgets(line, sizeof(line), file))
			if (sscanf(line, "VmHWM: %ld", &value) == 1)
				peak += value;
		if (file)
			fclose(file);
	}
	return peak;
}

/* @peer may be NULL; @aim: NULL, or at_most or at_least with a ratio, as ./bench reads it. */
static void row(const char *name, const char *unit, double ours, const char *peer, double peers, const char *aim)
{
	fprintf(rows, "{\"case\":\"%s\",\"unit\":\"%s\",\"ours\":%.4f,", name, unit, ours);
	if (peer)
		fprintf(rows, "\"peer\":\"%s\",\"peer_value\":%.4f,\"ratio\":%.3f%s%s}\n", peer, peers, ours / peers,
			aim ? "," : "", aim ? aim : "");
	else
		fprintf(rows, "\"peer\":null,\"peer_value\":null,\"ratio\":null}\n");
	fflush(rows);
}

struct enrolling {
	pthread_t thread;
	int port, first;
	const char *ca, *secret;
};

static void keep_identity(struct device *device, const struct client *client)
{
	BIO *bio = BIO_new_mem_buf(client->certificate, -1);
	X509 *certificate = PEM_read_bio_X509(bio, NULL, NULL, NULL);
	EVP_PKEY *key;

	BIO_free(bio);
	bio = BIO_new_mem_buf(client->key, -1);
	key = PEM_read_bio_PrivateKey(bio, NULL, NULL, NULL);
	BIO_free(bio);
	device->context = SSL_CTX_new(TLS_client_method());
	SSL_CTX_set_min_proto_version(device->context, TLS1_3_VERSION);
	SSL_CTX_set_verify(device->context, SSL_VERIFY_NONE, NULL);
	SSL_CTX_use_certificate(device->context, certificate);
	SSL_CTX_use_PrivateKey(device->context, key);
	X509_free(certificate);
	EVP_PKEY_free(key);
}

/* Each device comes as a PC does: a connection and a key of its own. */
static void *enrol_some(void *context)
{
	const struct enrolling *enrolling = context;
	struct client client;
	char name[32];

	for (int i = enrolling->first; i < device_count; i += ENROLLERS) {
		client_open(&client, enrolling->port, enrolling->ca);
		snprintf(name, sizeof(name), "pc-%d", i);
		if (client_enrol(&client, enrolling->secret, name) != 201) {
			fprintf(stderr, "bench server: enrolment %d: %s\n", i,
				client.body ? client.body : "no answer");
			exit(1);
		}
		keep_identity(&devices[i], &client);
		client_close(&client);
		if (i && i % 1000 == 0)
			fprintf(stderr, "%d enrolled\n", i);
	}
	return NULL;
}

static void enrol(const struct side *side, const char *ca, const char *secret)
{
	struct enrolling all[ENROLLERS];
	long long before = spent_ns(side);

	curl_global_init(CURL_GLOBAL_DEFAULT);
	for (int i = 0; i < ENROLLERS; i++) {
		all[i] = (struct enrolling){.port = side->port, .first = i, .ca = ca, .secret = secret};
		if (pthread_create(&all[i].thread, NULL, enrol_some, &all[i]))
			exit(1);
	}
	for (int i = 0; i < ENROLLERS; i++)
		pthread_join(all[i].thread, NULL);
	row("enrolment", "us CPU a device", (double)(spent_ns(side) - before) / 1e3 / device_count, NULL, 0, NULL);
}

static int keep_session(SSL *ssl, SSL_SESSION *session)
{
	SSL_SESSION **slot = SSL_get_app_data(ssl);

	SSL_SESSION_free(*slot);
	*slot = session;
	return 1;
}

static void drop(struct device *device)
{
	if (device->ssl) {
		/* OpenSSL takes a session that was not shut down for a broken one and would not resume it. */
		SSL_set_shutdown(device->ssl, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
		SSL_free(device->ssl);
	}
	if (device->fd >= 0)
		close(device->fd);
	device->ssl = NULL;
	device->fd = -1;
	device->phase = 0;
}

static int begin(struct device *device, const struct side *side, int side_index, enum mode mode,
		 int epoll)
{
	struct sockaddr_in address = {.sin_family = AF_INET,
				      .sin_port = htons((uint16_t)side->port)};
	struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLET, .data.ptr = device};

	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	device->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (device->fd < 0 ||
	    (connect(device->fd, (struct sockaddr *)&address, sizeof(address)) &&
	     errno != EINPROGRESS) ||
	    epoll_ctl(epoll, EPOLL_CTL_ADD, device->fd, &event))
		return -1;
	device->ssl = SSL_new(device->context);
	SSL_set_fd(device->ssl, device->fd);
	SSL_set_connect_state(device->ssl);
	SSL_set_app_data(device->ssl, &device->session[side_index]);
	if (mode == MODE_RESUMED && device->session[side_index])
		SSL_set_session(device->ssl, device->session[side_index]);
	device->phase = 2;
	return 0;
}

/* Moves a device on. Returns 1 when its polls are done, 0 to wait, -1 on an error. */
static int advance(struct device *device, const struct side *side, long *resumed)
{
	char request[512];
	int length, result;

	for (;;) {
		if (device->phase == 2) {
			result = SSL_do_handshake(device->ssl);
			if (result != 1)
				return SSL_get_error(device->ssl, result) == SSL_ERROR_WANT_READ ||
					       SSL_get_error(device->ssl, result) ==
						   SSL_ERROR_WANT_WRITE
					   ? 0
					   : -1;
			*resumed += SSL_session_reused(device->ssl);
			device->phase = 3;
		}
		if (device->phase == 3) {
			length = snprintf(
			    request, sizeof(request),
			    "GET %s HTTP/1.1\r\nHost: 127.0.0.1\r\nIf-None-Match: %s\r\n%s\r\n",
			    side->path, "\"none\"",
			    device->polls_left > 1 ? "" : "Connection: close\r\n");
			if (SSL_write(device->ssl, request, length) != length)
				return -1;
			device->got = 0;
			device->phase = 4;
		}
		result = SSL_read(device->ssl, device->answer + device->got,
				  (int)(sizeof(device->answer) - 1 - device->got));
		if (result <= 0)
			return SSL_get_error(device->ssl, result) == SSL_ERROR_WANT_READ ? 0 : -1;
		device->got += (size_t)result;
		device->answer[device->got] = 0;
		if (strncmp(device->answer, "HTTP/1.1 200", device->got < 12 ? device->got : 12))
			return -1;
		/* Both answers are one small body: whole once its last byte, a closing brace, is
		 * there. */
		if (device->got < 12 || !strstr(device->answer, "\r\n\r\n") ||
		    device->answer[device->got - 1] != '}') {
			if (device->got == sizeof(device->answer) - 1)
				device->got = 600; /* keep the head, go on reading */
			continue;
		}
		if (!--device->polls_left)
			return 1;
		device->phase = 3;
	}
}

/* Every device polls @polls times; at most @at_once at the same time. Returns the number of errors.
 */
static int run(const struct side *side, int side_index, enum mode mode, int polls, int at_once,
	       long *resumed)
{
	struct epoll_event events[EVENTS];
	int epoll = epoll_create1(EPOLL_CLOEXEC), next = 0, active = 0, done = 0, errors = 0;
	time_t deadline = time(NULL) + 300;

	*resumed = 0;
	while (done < device_count && time(NULL) < deadline) {
		while (active < at_once && next < device_count) {
			struct device *device = &devices[next++];

			device->polls_left = polls;
			active++;
			if (begin(device, side, side_index, mode, epoll)) {
				errors++;
				drop(device);
				active--;
				done++;
			}
		}
		int count = epoll_wait(epoll, events, EVENTS, 1000);

		for (int i = 0; i < count; i++) {
			struct device *device = events[i].data.ptr;
			int result = device->phase ? advance(device, side, resumed) : 0;

			if (!result)
				continue;
			errors += result < 0;
			drop(device);
			active--;
			done++;
		}
	}
	for (int i = 0; i < device_count; i++)
		drop(&devices[i]);
	close(epoll);
	return errors + (device_count - done);
}

static void compare(struct side sides[2], const char *name, enum mode mode, int polls, int at_once)
{
	long long spent[2] = {0, 0};
	long resumed[2] = {0, 0}, once;
	int errors[2] = {0, 0};

	for (int round = 0; round < rounds; round++)
		for (int s = 0; s < 2; s++) {
			long long before = spent_ns(&sides[s]);

			errors[s] += run(&sides[s], s, mode, polls, at_once, &once);
			resumed[s] += once;
			spent[s] += spent_ns(&sides[s]) - before;
		}
	fprintf(stderr, "%s: errors %d and %d, resumed %ld and %ld of %d\n", name, errors[0],
		errors[1], resumed[0], resumed[1], device_count * rounds);
	if (errors[0] || errors[1])
		exit(1);
	double unit = 1e-3 / rounds / device_count / polls;

	row(name, "us CPU a poll", (double)spent[0] * unit, "nginx", (double)spent[1] * unit, "\"at_most\":1.5");
}

/* Reads the pack over plain HTTP. Returns its bytes. */
static long long read_pack(int port)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
	static char buffer[1 << 18];
	long long total = 0;
	ssize_t got;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	snprintf(buffer, sizeof(buffer), "GET %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
		 pack_path);
	if (connect(fd, (struct sockaddr *)&address, sizeof(address)) ||
	    write(fd, buffer, strlen(buffer)) != (ssize_t)strlen(buffer)) {
		perror("bench server: packs");
		exit(1);
	}
	while ((got = read(fd, buffer, sizeof(buffer))) > 0)
		total += got;
	close(fd);
	return total;
}

static double seconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static int by_size(const void *a, const void *b)
{
	double first = *(const double *)a, second = *(const double *)b;

	return first < second ? -1 : first > second;
}

/* Rates depend on what else the machine does: the middle of many, by turns. Processor time decides. */
static void compare_packs(struct side sides[2])
{
	static double rates[2][PACK_READS];
	long long spent[2] = {0, 0}, bytes[2] = {0, 0};

	for (int round = 0; round < PACK_READS; round++)
		for (int s = 0; s < 2; s++) {
			long long before = spent_ns(&sides[s]);
			double start = seconds();
			long long got = read_pack(sides[s].packs_port);

			rates[s][round] = (double)got / (seconds() - start) / 1e6;
			bytes[s] += got;
			spent[s] += spent_ns(&sides[s]) - before;
		}
	for (int s = 0; s < 2; s++)
		qsort(rates[s], PACK_READS, sizeof(double), by_size);
	row("packs in plain, middle of 48", "MB/s", rates[0][PACK_READS / 2], "nginx", rates[1][PACK_READS / 2],
	    "\"at_least\":0.9");
	row("packs in plain", "ms CPU a GB", (double)spent[0] * 1e3 / (double)bytes[0], "nginx",
	    (double)spent[1] * 1e3 / (double)bytes[1], NULL);
}

static char *read_file(const char *path)
{
	static char text[65536];
	FILE *file = fopen(path, "r");

	if (!file) {
		perror(path);
		exit(1);
	}
	text[fread(text, 1, sizeof(text) - 1, file)] = 0;
	fclose(file);
	return text;
}

static void read_pids(struct side *side, char *list)
{
	for (char *rest = NULL, *pid = strtok_r(list, ",", &rest);
	     pid && side->pid_count < PIDS_MAX; pid = strtok_r(NULL, ",", &rest))
		side->pids[side->pid_count++] = atoi(pid);
}

int main(int argc, char **argv)
{
	struct side sides[2] = {{.name = "bulkhead-server", .path = "/api/v1/device/state"},
				{.name = "nginx", .path = "/state.json"}};
	struct rlimit files;
	long resumed;
	double start;
	int errors;

	if (argc != 12) {
		fputs("usage: devices COUNT CA SECRET PORT PACKS-PORT PIDS NGINX-PORT "
		      "NGINX-PACKS-PORT NGINX-PIDS PACK ROWS\n",
		      stderr);
		return 2;
	}
	signal(SIGPIPE, SIG_IGN); /* a connection that the server ended is an error to count */
	getrlimit(RLIMIT_NOFILE, &files);
	files.rlim_cur = files.rlim_max;
	setrlimit(RLIMIT_NOFILE, &files);
	device_count = atoi(argv[1]);
	if (getenv("ROUNDS"))
		rounds = atoi(getenv("ROUNDS")) > 0 ? atoi(getenv("ROUNDS")) : 1;
	sides[0].port = atoi(argv[4]);
	sides[0].packs_port = atoi(argv[5]);
	read_pids(&sides[0], argv[6]);
	sides[1].port = atoi(argv[7]);
	sides[1].packs_port = atoi(argv[8]);
	read_pids(&sides[1], argv[9]);
	pack_path = argv[10];
	rows = fopen(argv[11], "a");
	devices = calloc((size_t)device_count, sizeof(*devices));
	if (!rows || !devices)
		return 1;
	for (int i = 0; i < device_count; i++)
		devices[i].fd = -1;
	fprintf(stderr, "enrolling %d devices\n", device_count);
	enrol(&sides[0], read_file(argv[2]), argv[3]);
	for (int i = 0; i < device_count; i++) {
		SSL_CTX_set_session_cache_mode(
		    devices[i].context, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL_STORE);
		SSL_CTX_sess_set_new_cb(devices[i].context, keep_session);
	}
	compare(sides, "poll, new connection, full handshake", MODE_FULL, 1, 64);
	compare(sides, "poll, new connection, session resumed", MODE_RESUMED, 1, 64);
	compare(sides, "poll, ten on one connection", MODE_KEPT, 10, 64);
	start = seconds();
	errors = run(&sides[0], 0, MODE_FULL, 1, device_count, &resumed);
	fprintf(stderr, "storm: %d devices at once, %d errors\n", device_count, errors);
	row("all devices at once: errors", "errors", errors, NULL, 0, NULL);
	{
		double ours = seconds() - start, peers;

		start = seconds();
		if (run(&sides[1], 1, MODE_FULL, 1, device_count, &resumed))
			fprintf(stderr, "storm: nginx had errors\n");
		peers = seconds() - start;
		row("all devices at once: time to drain", "s", ours, "nginx", peers, NULL);
	}
	compare_packs(sides);
	row("memory of the server at its peak", "MiB", (double)peak_kib(&sides[0]) / 1024, "what is allowed", 256,
	    "\"at_most\":1.0");
	fclose(rows);
	return errors != 0;
}
