/* A budget of bytes a second: see pace.h. What nobody used is not saved up, so no burst follows a pause. */
#include "pace.h"

void pace_init(struct pace *pace)
{
	pthread_mutex_init(&pace->lock, NULL);
	pace->bytes_per_second = 0;
	pace->paid_until_ns = 0;
}

void pace_destroy(struct pace *pace)
{
	pthread_mutex_destroy(&pace->lock);
}

void pace_set(struct pace *pace, uint64_t bytes_per_second)
{
	pthread_mutex_lock(&pace->lock);
	if (pace->bytes_per_second != bytes_per_second)
		pace->paid_until_ns = 0;
	pace->bytes_per_second = bytes_per_second;
	pthread_mutex_unlock(&pace->lock);
}

uint64_t pace_get(struct pace *pace)
{
	uint64_t bytes_per_second;

	pthread_mutex_lock(&pace->lock);
	bytes_per_second = pace->bytes_per_second;
	pthread_mutex_unlock(&pace->lock);
	return bytes_per_second;
}

int64_t pace_take(struct pace *pace, uint64_t bytes, int64_t now_ns)
{
	int64_t wait = 0;

	pthread_mutex_lock(&pace->lock);
	if (pace->bytes_per_second > 0) {
		if (pace->paid_until_ns < now_ns)
			pace->paid_until_ns = now_ns;
		pace->paid_until_ns += (int64_t)((double)bytes * 1e9 / (double)pace->bytes_per_second);
		wait = pace->paid_until_ns - now_ns;
	}
	pthread_mutex_unlock(&pace->lock);
	return wait;
}
