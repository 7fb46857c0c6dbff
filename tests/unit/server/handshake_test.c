/* handshake_test.c: clients that fall silent in the middle of a TLS handshake cost the server
 * nothing, and nobody else waits for them. */
#include "fixture.h"
#include "server/http_handshake.h"
#include "unit.h"

#include <arpa/inet.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static struct fixture fixture;

struct silent {
	SSL_CTX *context;
	SSL *ssl;
	BIO *in, *out;
	int fd;
};

/* Says hello and stops: the server has answered and waits for the client's last message. */
static void say_hello(struct silent *silent)
{
	struct sockaddr_in address = {.sin_family = AF_INET,
				      .sin_port = htons((uint16_t)fixture.server->port)};
	char bytes[4096];
	int got;

	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	silent->context = SSL_CTX_new(TLS_client_method());
	silent->ssl = SSL_new(silent->context);
	silent->in = BIO_new(BIO_s_mem());
	silent->out = BIO_new(BIO_s_mem());
	SSL_set_bio(silent->ssl, silent->in, silent->out);
	SSL_set_connect_state(silent->ssl);
	SSL_do_handshake(silent->ssl);
	silent->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(connect(silent->fd, (struct sockaddr *)&address, sizeof(address)), 0);
	got = BIO_read(silent->out, bytes, sizeof(bytes));
	assert_true(got > 0 && write(silent->fd, bytes, (size_t)got) == got);
}

static void say_the_rest(struct silent *silent)
{
	char bytes[8192];
	ssize_t got;
	int sent;

	while (SSL_do_handshake(silent->ssl) != 1) {
		got = read(silent->fd, bytes, sizeof(bytes));
		assert_true(got > 0);
		BIO_write(silent->in, bytes, (int)got);
	}
	assert_int_equal(SSL_write(silent->ssl, "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n", 35),
			 35);
	sent = BIO_read(silent->out, bytes, sizeof(bytes));
	assert_true(sent > 0 && write(silent->fd, bytes, (size_t)sent) == sent);
	while (SSL_read(silent->ssl, bytes, 12) != 12) {
		got = read(silent->fd, bytes, sizeof(bytes));
		assert_true(got > 0);
		BIO_write(silent->in, bytes, (int)got);
	}
	assert_memory_equal(bytes, "HTTP/1.1 200", 12);
}

static void fall_away(struct silent *silent)
{
	close(silent->fd);
	SSL_free(silent->ssl);
	SSL_CTX_free(silent->context);
}

/* Waits until @count handshakes sleep; the test's own time limit ends what never comes. */
static void wait_for(size_t count)
{
	while (handshakes_asleep(fixture.server->handshakes) != count)
		poll(NULL, 0, 1);
}

static void silent_clients_sleep_and_others_are_served(void **state)
{
	struct silent silent[6];

	for (int i = 0; i < 6; i++)
		say_hello(&silent[i]);
	wait_for(6);
	for (int i = 0; i < 5; i++)
		assert_int_equal(client_call(&fixture.admin, "GET", "/api/v1/server", NULL, NULL),
				 200);
	wait_for(6);
	for (int i = 0; i < 6; i++)
		fall_away(&silent[i]);
	wait_for(0);
}

static void silent_client_that_goes_on_is_served(void **state)
{
	struct silent silent;

	say_hello(&silent);
	wait_for(1);
	say_the_rest(&silent);
	wait_for(0);
	fall_away(&silent);
}

static void server_stops_while_clients_are_silent(void **state)
{
	struct silent silent[3];

	for (int i = 0; i < 3; i++)
		say_hello(&silent[i]);
	wait_for(3);
	fixture_restart(&fixture);
	for (int i = 0; i < 3; i++)
		fall_away(&silent[i]);
	assert_int_equal(client_call(&fixture.admin, "GET", "/api/v1/server", NULL, NULL), 200);
}

static int set_up(void **state)
{
	fixture_open(&fixture);
	return 0;
}

static int tear_down(void **state)
{
	fixture_close(&fixture);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(silent_clients_sleep_and_others_are_served),
	    cmocka_unit_test(silent_client_that_goes_on_is_served),
	    cmocka_unit_test(server_stops_while_clients_are_silent),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
