/* bulkhead-agent: the daemon on a PC. See agent.h for what it keeps and docs/agent.md for what it
 * does. */
#include <curl/curl.h>
#include <errno.h>
#include <getopt.h>
#include <poll.h>
#include <signal.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent.h"
#include "agent_control.h"
#include "agent_guest.h"
#include "agent_log.h"
#include "agent_policy.h"
#include "agent_sync.h"
#include "agent_work.h"

static const char usage[] =
    "usage: bulkhead-agent [--config FILE]\n"
    "Keeps this PC at the state its company signed: guests, leases, backups, orders.\n"
    "\n"
    "  --config FILE  its configuration (default /etc/bulkhead/agent.json; docs/agent.md)\n"
    "  --check        reads the configuration, says what is wrong with it, ends\n"
    "  --help\n";

static struct agent agent;

struct connection {
	int file;
};

static void *serve_connection(void *context)
{
	int file = ((struct connection *)context)->file;

	free(context);
	agent_control_serve(&agent, file);
	return NULL;
}

static void accept_one(int listener)
{
	struct connection *connection = malloc(sizeof(*connection));
	pthread_attr_t attributes;
	pthread_t thread;

	if (!connection)
		return;
	connection->file = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	pthread_attr_init(&attributes);
	pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
	if (connection->file < 0 ||
	    pthread_create(&thread, &attributes, serve_connection, connection) != 0) {
		if (connection->file >= 0)
			close(connection->file);
		free(connection);
	}
	pthread_attr_destroy(&attributes);
}

/** Listens until a signal ends it. */
static void listen_and_reap(int listener, int signals)
{
	bool end = false;

	while (!end) {
		struct pollfd waits[] = {
		    {listener, POLLIN, 0}, {signals, POLLIN, 0}, {agent.listening_wake, POLLIN, 0}};
		struct signalfd_siginfo signal;
		eventfd_t times;

		if (poll(waits, 3, 1000) < 0 && errno != EINTR)
			break;
		if (waits[2].revents & POLLIN)
			eventfd_read(agent.listening_wake, &times);
		while (agent_work_run_one(&agent, AGENT_LISTENING))
			;
		if (waits[1].revents & POLLIN)
			while (read(signals, &signal, sizeof(signal)) == sizeof(signal))
				end |= signal.ssi_signo != SIGCHLD;
		if (!end && (waits[0].revents & POLLIN))
			accept_one(listener);
		pthread_mutex_lock(&agent.lock);
		agent_guest_reap(&agent);
		if (!end && agent.autostart_due)
			agent_policy_autostart(&agent);
		pthread_mutex_unlock(&agent.lock);
	}
}

/**
 * Guests end with the agent: nobody else would lock them when the lease does. They are asked, and what does not end in its
 * time is killed by agent_guest_reap().
 */
static void end_guests(void)
{
	pthread_mutex_lock(&agent.lock);
	for (int i = 0; i < AGENT_GUESTS_MAX; i++)
		if (agent.running[i].monitor > 0)
			agent_guest_stop(&agent, agent.running[i].name, false);
	for (int left = 1; left > 0;) {
		agent_guest_reap(&agent);
		left = 0;
		for (int i = 0; i < AGENT_GUESTS_MAX; i++)
			left += agent.running[i].monitor > 0;
		if (left > 0)
			usleep(50000);
	}
	pthread_mutex_unlock(&agent.lock);
}

static int run(void)
{
	sigset_t handled;
	pthread_t worker;
	int signals, listener;

	sigemptyset(&handled);
	sigaddset(&handled, SIGTERM);
	sigaddset(&handled, SIGINT);
	sigaddset(&handled, SIGCHLD);
	pthread_sigmask(SIG_BLOCK, &handled, NULL);
	signal(SIGPIPE, SIG_IGN);
	signals = signalfd(-1, &handled, SFD_CLOEXEC | SFD_NONBLOCK);
	listener = agent_control_listen(agent.config.control);
	if (listener < 0 || signals < 0) {
		fprintf(stderr, "bulkhead-agent: %s: %s\n", agent.config.control,
			strerror(listener < 0 ? -listener : errno));
		return 1;
	}
	if (pthread_create(&worker, NULL, agent_sync_run, &agent) != 0) {
		fprintf(stderr, "bulkhead-agent: the system gives no thread\n");
		return 1;
	}
	agent_log(AGENT_INFO, "agent.started", "s:s, s:b", "version", AGENT_VERSION, "enrolled",
		  agent.enrolled);
	listen_and_reap(listener, signals);
	close(listener);
	unlink(agent.config.control);
	end_guests();
	pthread_mutex_lock(&agent.lock);
	agent.stopping = true;
	pthread_cond_signal(&agent.wake);
	pthread_mutex_unlock(&agent.lock);
	pthread_join(worker, NULL);
	agent_log(AGENT_INFO, "agent.ended", NULL);
	return 0;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {{"config", 1, NULL, 'c'},
						{"check", 0, NULL, 'k'},
						{"help", 0, NULL, 'h'},
						{NULL, 0, NULL, 0}};
	const char *path = "/etc/bulkhead/agent.json";
	char error[AGENT_ERROR_MAX];
	bool check = false;
	int letter, result;

	while ((letter = getopt_long(argc, argv, "h", options, NULL)) != -1) {
		if (letter == 'c')
			path = optarg;
		else if (letter == 'k')
			check = true;
		else {
			fputs(usage, letter == 'h' ? stdout : stderr);
			return letter == 'h' ? 0 : 2;
		}
	}
	umask(0077);
	if (sodium_init() < 0 || signing_key_start() != 0 ||
	    curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) {
		fprintf(stderr, "bulkhead-agent: its libraries do not start\n");
		return 1;
	}
	if (agent_config_load(path, &agent.config, error, sizeof(error)) != 0) {
		fprintf(stderr, "bulkhead-agent: %s\n", error);
		return 1;
	}
	if (check) {
		printf("%s: good\n", path);
		agent_config_release(&agent.config);
		return 0;
	}
	if (agent_open(&agent, error) != 0) {
		fprintf(stderr, "bulkhead-agent: %s\n", error);
		return 1;
	}
	result = run();
	agent_close(&agent);
	return result;
}
