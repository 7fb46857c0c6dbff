/* Handing work to the working thread: see agent_work.h. */
#include "agent_work.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/eventfd.h>

/* Lives on the stack of who waits, linked into agent->work while it does. */
struct agent_work {
	struct agent_work *next;
	int (*work)(void *context);
	void *context;
	bool done;
	int result;
};

int agent_work_do(struct agent *agent, enum agent_thread thread, int (*work)(void *context),
		  void *context)
{
	struct agent_work piece = {.work = work, .context = context, .result = -ECANCELED};
	struct agent_work **last;

	pthread_mutex_lock(&agent->lock);
	for (last = &agent->work[thread]; *last; last = &(*last)->next)
		;
	if (!agent->stopping)
		*last = &piece;
	else
		piece.done = true;
	pthread_cond_signal(&agent->wake);
	if (thread == AGENT_LISTENING && eventfd_write(agent->listening_wake, 1) != 0)
		piece.done = piece.done || agent->stopping; /* its own second will bring it */
	while (!piece.done)
		pthread_cond_wait(&agent->worked, &agent->lock);
	pthread_mutex_unlock(&agent->lock);
	return piece.result;
}

bool agent_work_run_one(struct agent *agent, enum agent_thread thread)
{
	struct agent_work *piece;
	int result;

	pthread_mutex_lock(&agent->lock);
	piece = agent->work[thread];
	if (piece)
		agent->work[thread] = piece->next;
	pthread_mutex_unlock(&agent->lock);
	if (!piece)
		return false;
	result = piece->work(piece->context);
	pthread_mutex_lock(&agent->lock);
	piece->result = result;
	piece->done = true;
	pthread_cond_broadcast(&agent->worked);
	pthread_mutex_unlock(&agent->lock);
	return true;
}

void agent_work_cancel(struct agent *agent)
{
	pthread_mutex_lock(&agent->lock);
	for (int thread = 0; thread < AGENT_THREADS; thread++) {
		for (struct agent_work *piece = agent->work[thread]; piece; piece = piece->next)
			piece->done = true;
		agent->work[thread] = NULL;
	}
	pthread_cond_broadcast(&agent->worked);
	pthread_mutex_unlock(&agent->lock);
}
