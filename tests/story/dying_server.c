/*
 * dying_server.c: bulkhead-server that dies at the n-th step (server/step.h) after it is told to: the environment's
 * DIE_AT_STEP is n, SIGUSR1 begins the count. The rest of it is the product's.
 */
#include "server/step.h"

#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

#define DIED 9

static atomic_int left; /* 0: the count has not begun */

void step(void)
{
	if (atomic_load(&left) && atomic_fetch_sub(&left, 1) == 1)
		_exit(DIED);
}

static int wanted;

static void begin(int number)
{
	(void)number;
	atomic_store(&left, wanted);
}

__attribute__((constructor)) static void listen_for_the_word(void)
{
	const char *text = getenv("DIE_AT_STEP");

	wanted = text ? atoi(text) : 0;
	signal(SIGUSR1, begin);
}
