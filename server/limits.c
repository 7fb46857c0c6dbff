/* limits.c: see limits.h. */
#include "server/limits.h"

#include <pthread.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#define BUCKETS 8192

struct bucket {
	int64_t filled; /* when */
	uint32_t left;
};

struct limits {
	pthread_mutex_t lock;
	uint8_t
	    key[crypto_shorthash_KEYBYTES]; /* nobody outside can choose whose bucket to share */
	struct {
		uint32_t per_minute, most;
	} rules[LIMIT_COUNT];
	struct bucket buckets[LIMIT_COUNT][BUCKETS];
};

struct limits *limits_new(unsigned int open_calls_per_minute)
{
	struct limits *limits = calloc(1, sizeof(*limits));

	if (!limits)
		return NULL;
	pthread_mutex_init(&limits->lock, NULL);
	randombytes_buf(limits->key, sizeof(limits->key));
	limits->rules[LIMIT_OPEN].per_minute = open_calls_per_minute;
	limits->rules[LIMIT_OPEN].most = open_calls_per_minute;
	limits->rules[LIMIT_DEVICE].per_minute = 6000;
	limits->rules[LIMIT_DEVICE].most = 12000;
	return limits;
}

void limits_free(struct limits *limits)
{
	if (!limits)
		return;
	pthread_mutex_destroy(&limits->lock);
	free(limits);
}

bool limits_take(struct limits *limits, enum limit limit, const char *who, int64_t now)
{
	uint64_t hash, more;
	struct bucket *bucket;
	bool has_one;

	crypto_shorthash((uint8_t *)&hash, (const uint8_t *)who, strlen(who), limits->key);
	bucket = &limits->buckets[limit][hash % BUCKETS];
	pthread_mutex_lock(&limits->lock);
	if (!bucket->filled || now < bucket->filled) {
		bucket->left = limits->rules[limit].most;
		bucket->filled = now;
	}
	more = (uint64_t)(now - bucket->filled) * limits->rules[limit].per_minute / 60;
	if (more) {
		more += bucket->left;
		bucket->left =
		    more > limits->rules[limit].most ? limits->rules[limit].most : (uint32_t)more;
		bucket->filled = now;
	}
	has_one = bucket->left > 0;
	bucket->left -= has_one;
	pthread_mutex_unlock(&limits->lock);
	return has_one;
}
