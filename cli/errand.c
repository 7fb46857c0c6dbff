/* A request beside the console's loop: see errand.h. */
#include "errand.h"
#include "agent_link.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct errand {
	pthread_t thread;
	char socket[200];
	json_t *request;
	int file;
	struct errand_end end; /* the thread's until it is over */
	pthread_mutex_t lock;  /* of the rest */
	char progress[128];
	bool is_over;
};

static void note_progress(void *context, const char *line)
{
	struct errand *errand = context;

	pthread_mutex_lock(&errand->lock);
	snprintf(errand->progress, sizeof(errand->progress), "%s", line);
	pthread_mutex_unlock(&errand->lock);
}

static void *run(void *context)
{
	struct errand *errand = context;
	struct errand_end *end = &errand->end;

	agent_link_ask(errand->socket, errand->request, errand->file, note_progress, errand, &end->result, end->error,
		       sizeof(end->error));
	/* A stick may be pulled as soon as we say that it is done. */
	if (errand->file >= 0 && syncfs(errand->file) != 0 && !end->error[0])
		snprintf(end->error, sizeof(end->error), "the disk: %s", strerror(errno));
	if (errand->file >= 0)
		close(errand->file);
	pthread_mutex_lock(&errand->lock);
	errand->is_over = true;
	pthread_mutex_unlock(&errand->lock);
	return NULL;
}

struct errand *errand_begin(const char *socket, json_t *request, int file)
{
	struct errand *errand = calloc(1, sizeof(*errand));
	bool runs = false;

	if (errand && request && strlen(socket) < sizeof(errand->socket)) {
		memcpy(errand->socket, socket, strlen(socket) + 1);
		errand->request = request;
		errand->file = file;
		pthread_mutex_init(&errand->lock, NULL);
		runs = pthread_create(&errand->thread, NULL, run, errand) == 0;
	}
	if (runs)
		return errand;
	json_decref(request);
	if (file >= 0)
		close(file);
	free(errand);
	return NULL;
}

void errand_progress(struct errand *errand, char *line, size_t line_bytes)
{
	pthread_mutex_lock(&errand->lock);
	snprintf(line, line_bytes, "%s", errand->progress);
	pthread_mutex_unlock(&errand->lock);
}

bool errand_is_over(struct errand *errand, struct errand_end *end)
{
	bool over;

	pthread_mutex_lock(&errand->lock);
	over = errand->is_over;
	pthread_mutex_unlock(&errand->lock);
	if (!over)
		return false;
	pthread_join(errand->thread, NULL);
	*end = errand->end;
	pthread_mutex_destroy(&errand->lock);
	free(errand);
	return true;
}
