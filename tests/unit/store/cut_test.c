/*
 * cut_test.c: power is cut at every single write while versions are published, fetched, backed up and
 * collected at the same time. Afterwards nothing that was acknowledged is lost, and whatever is
 * offered as complete is complete.
 *
 * By default every STEP-th operation is tried, with one way of losing unsynced writes, in turn;
 * STORE_CUT_SEEDS=n tries n ways at every single one: all written, nothing kept that was not synced,
 * then random subsets with torn sectors. STORE_CUT_JOBS processes share the work (default: one for
 * each processor).
 */
#include "model_disk.h"
#include "store_test.h"
#include "store/collect.h"
#include "store/fetch.h"
#include "store/image.h"
#include "store/repair.h"

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#define DISK_BYTES (300u * BLOCK_BYTES)
#define VERSIONS   8
#define STEP       11 /* no divisor of anything that repeats */

/* What the scenario was told, and when: in operations of the disk. */
struct acknowledged {
	uint8_t id[VERSION_ID_BYTES];
	uint8_t domain;
	uint8_t data[DISK_BYTES];
	size_t from;  /* publish or fetch returned */
	size_t until; /* removal was asked for */
};

struct scenario {
	struct model_disk *disk;
	struct store *store;
	struct store *elsewhere;
	uint8_t fetched[VERSION_ID_BYTES];
	struct acknowledged versions[VERSIONS];
	int count;
	pthread_mutex_t lock;
	int errors;
};

static struct acknowledged *acknowledge(struct scenario *scenario, const uint8_t *id, uint8_t domain,
					const struct test_disk *disk)
{
	struct acknowledged *version;

	pthread_mutex_lock(&scenario->lock);
	version = &scenario->versions[scenario->count++];
	memcpy(version->id, id, VERSION_ID_BYTES);
	version->domain = domain;
	memcpy(version->data, disk->data, DISK_BYTES);
	version->from = model_disk_operations(scenario->disk);
	version->until = SIZE_MAX;
	pthread_mutex_unlock(&scenario->lock);
	return version;
}

static int publish_one(struct scenario *scenario, struct test_disk *disk, const char *label,
		       const uint8_t *base, const struct block_range *changes, size_t change_count,
		       struct acknowledged **version)
{
	struct domain domain = test_domain(1);
	struct publish_source source = test_disk_source(disk);
	struct publish_options options = {.label = label,
					  .threads = 1,
					  .base = base,
					  .changes = changes,
					  .change_count = change_count,
					  .signer = test_signer()};
	struct publish_result result;
	int error = publish_version(scenario->store, &domain, &source, &options, &result, NULL);

	if (!error)
		*version = acknowledge(scenario, result.version, 1, disk);
	return error;
}

/* Publishes, changes, backs up, and takes an old version away. */
static void *publisher(void *context)
{
	struct scenario *scenario = context;
	struct test_disk *disk = test_disk_new(DISK_BYTES);
	struct block_range changes[] = {{20, 5}, {200, 70}};
	struct acknowledged *first = NULL, *second = NULL, *third = NULL;
	int error;

	test_disk_fill(disk, 0, 150, 1);
	error = publish_one(scenario, disk, "v1", NULL, NULL, 0, &first);
	test_disk_fill(disk, 10, 100, 2);
	if (!error)
		error = publish_one(scenario, disk, "v2", first->id, NULL, 0, &second);
	if (!error) {
		pthread_mutex_lock(&scenario->lock);
		first->until = model_disk_operations(scenario->disk);
		pthread_mutex_unlock(&scenario->lock);
		error = store_remove_version(scenario->store, first->id, NULL);
	}
	test_disk_fill(disk, 22, 2, 3);
	test_disk_fill(disk, 200, 70, 3);
	if (!error)
		error = publish_one(scenario, disk, "day", second->id, changes, 2, &third);
	test_disk_free(disk);
	if (error)
		__atomic_fetch_add(&scenario->errors, 1, __ATOMIC_RELAXED);
	return NULL;
}

static void *fetcher(void *context)
{
	struct scenario *scenario = context;
	struct fetch_source source = fetch_source_store(scenario->elsewhere);
	struct version_trust trust = test_trust();
	struct fetch_options options = {.threads = 1, .range_bytes = 1};
	struct test_disk *disk = test_disk_new(DISK_BYTES);
	struct fetch *fetch;
	char *envelope;
	int error;

	test_disk_fill(disk, 0, 260, 7);
	error = store_version_envelope(scenario->elsewhere, scenario->fetched, &envelope, NULL);
	if (!error)
		error = fetch_open(scenario->store, &source, envelope, strlen(envelope), &trust, &fetch,
				   NULL);
	if (!error) {
		error = fetch_run(fetch, &options, NULL);
		if (!error)
			acknowledge(scenario, scenario->fetched, 2, disk);
		if (fetch_close(fetch))
			error = -EIO;
	}
	free(envelope);
	test_disk_free(disk);
	if (error)
		__atomic_fetch_add(&scenario->errors, 1, __ATOMIC_RELAXED);
	return NULL;
}

static void *collector(void *context)
{
	struct scenario *scenario = context;

	for (int i = 0; i < 4; i++)
		if (collect_run(scenario->store, false, NULL, NULL))
			__atomic_fetch_add(&scenario->errors, 1, __ATOMIC_RELAXED);
	return NULL;
}

static void record_scenario(struct scenario *scenario)
{
	void *(*const parts[])(void *) = {publisher, fetcher, collector};
	pthread_t threads[3];

	for (int i = 0; i < 3; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, parts[i], scenario), 0);
	for (int i = 0; i < 3; i++)
		pthread_join(threads[i], NULL);
	assert_int_equal(scenario->errors, 0);
	/* What the first collections marked goes now; the store is at rest. */
	assert_int_equal(collect_run(scenario->store, false, NULL, NULL), 0);
	assert_int_equal(collect_run(scenario->store, true, NULL, NULL), 0);
}

struct inspection {
	struct scenario *scenario;
	struct store *store;
	size_t cut;
	uint32_t seed;
	bool seen[VERSIONS];
};

/* A cut that broke a promise: says which, and ends this process, which tried it. */
__attribute__((format(printf, 2, 3), noreturn)) static void broken(const struct inspection *inspection,
								   const char *format, ...)
{
	va_list words;

	fprintf(stderr, "# cut at %zu, seed %u: ", inspection->cut, inspection->seed);
	va_start(words, format);
	vfprintf(stderr, format, words);
	va_end(words);
	fputc('\n', stderr);
	_exit(1);
}

static bool reads_as(struct store *store, const struct acknowledged *version)
{
	struct domain domain = test_domain(version->domain);
	uint8_t *data = malloc(DISK_BYTES);
	struct image *image;
	bool same;

	if (image_open(store, &domain, version->id, &image, NULL)) {
		free(data);
		return false;
	}
	same = !image_read(image, 0, DISK_BYTES / BLOCK_BYTES, data, NULL) &&
	       !memcmp(data, version->data, DISK_BYTES);
	image_close(image);
	free(data);
	return same;
}

static int look_at(void *context, const struct version_row *row)
{
	struct inspection *inspection = context;
	struct scenario *scenario = inspection->scenario;

	for (int i = 0; i < scenario->count; i++) {
		if (memcmp(scenario->versions[i].id, row->id, VERSION_ID_BYTES) || !row->arrived)
			continue;
		inspection->seen[i] = true;
		if (!reads_as(inspection->store, &scenario->versions[i]))
			broken(inspection, "version %s is offered but not whole", row->label);
	}
	return 0;
}

/* What every acknowledged version and every frame must be after a cut. */
static void inspect(struct inspection *inspection)
{
	const struct scenario *scenario = inspection->scenario;
	struct problem problem = {""};
	struct check_result result;

	memset(inspection->seen, 0, sizeof(inspection->seen));
	if (store_each_version(inspection->store, look_at, inspection))
		broken(inspection, "the versions cannot be listed");
	for (int i = 0; i < scenario->count; i++)
		if (scenario->versions[i].from <= inspection->cut &&
		    inspection->cut < scenario->versions[i].until && !inspection->seen[i])
			broken(inspection, "acknowledged version %d is lost", i);
	if (repair_check(inspection->store, NULL, NULL, NULL, &result, &problem))
		broken(inspection, "check: %s", problem.line);
	if (result.faults)
		broken(inspection, "%llu faults", (unsigned long long)result.faults);
}

/* One cut: the store opens, keeps its promises, and still works. */
static void try_cut(struct scenario *scenario, size_t cut, uint32_t seed)
{
	struct model_disk *disk = model_disk_after_cut(scenario->disk, cut, seed);
	struct inspection inspection = {.scenario = scenario, .cut = cut, .seed = seed};
	struct problem problem = {""};

	if (store_open_files(model_disk_files(disk), &inspection.store, &problem))
		broken(&inspection, "%s", problem.line);
	inspect(&inspection);
	/* A collection after the restart takes nothing that is needed. */
	if (collect_run(inspection.store, false, NULL, &problem))
		broken(&inspection, "%s", problem.line);
	inspect(&inspection);
	store_close(inspection.store);
	model_disk_free(disk);
}

/* Tries every @jobs-th of the wished cuts; returns how many. */
static size_t try_share(struct scenario *scenario, uint32_t seeds, size_t job, size_t jobs)
{
	size_t operations = model_disk_operations(scenario->disk), step = seeds ? 1 : STEP;
	size_t number = 0, tried = 0;

	for (size_t cut = 0; cut <= operations; cut += step) {
		for (uint32_t i = 0; i < (seeds ? seeds : 1); i++, number++) {
			if (number % jobs != job)
				continue;
			try_cut(scenario, cut, seeds ? i : (uint32_t)(number % 5));
			tried++;
		}
	}
	return tried;
}

/* Shares the cuts among processes; each that breaks a promise says so and fails. */
static size_t try_all(struct scenario *scenario, uint32_t seeds)
{
	const char *wish = getenv("STORE_CUT_JOBS");
	long jobs = wish ? atol(wish) : sysconf(_SC_NPROCESSORS_ONLN);
	size_t tried = 0;
	int failed = 0, pipes[2];

	jobs = jobs < 1 ? 1 : jobs > 64 ? 64 : jobs;
	assert_int_equal(pipe(pipes), 0);
	for (long job = 0; job < jobs; job++) {
		pid_t child = fork();

		assert_true(child >= 0);
		if (!child) {
			size_t share = try_share(scenario, seeds, (size_t)job, (size_t)jobs);

			_exit(write(pipes[1], &share, sizeof(share)) != sizeof(share));
		}
	}
	for (long job = 0; job < jobs; job++) {
		size_t share = 0;
		int status;

		assert_true(wait(&status) > 0);
		if (status)
			failed++;
		else if (read(pipes[0], &share, sizeof(share)) == sizeof(share))
			tried += share;
	}
	close(pipes[0]);
	close(pipes[1]);
	assert_int_equal(failed, 0);
	return tried;
}

static void power_may_fail_at_any_write(void **state)
{
	struct scenario *scenario = calloc(1, sizeof(*scenario));
	struct model_disk *elsewhere = model_disk_new();
	struct domain other = test_domain(2);
	struct test_disk *disk = test_disk_new(DISK_BYTES);
	struct publish_result result;
	const char *wish = getenv("STORE_CUT_SEEDS");
	uint32_t seeds = wish ? (uint32_t)atoi(wish) : 0;
	size_t cuts;

	pthread_mutex_init(&scenario->lock, NULL);
	assert_int_equal(store_open_files(model_disk_files(elsewhere), &scenario->elsewhere, NULL), 0);
	test_disk_fill(disk, 0, 260, 7);
	test_publish(scenario->elsewhere, &other, disk, "elsewhere", NULL, &result);
	memcpy(scenario->fetched, result.version, VERSION_ID_BYTES);
	scenario->disk = model_disk_new();
	assert_int_equal(store_open_files(model_disk_files(scenario->disk), &scenario->store, NULL), 0);
	record_scenario(scenario);
	store_close(scenario->store);
	cuts = try_all(scenario, seeds);
	print_message("# %zu cuts over %zu operations\n", cuts,
		      model_disk_operations(scenario->disk));
	assert_true(cuts > model_disk_operations(scenario->disk) / STEP);
	store_close(scenario->elsewhere);
	model_disk_free(elsewhere);
	model_disk_free(scenario->disk);
	test_disk_free(disk);
	free(scenario);
}

/* A disk that is full is said in one line, and everything that was there before is still there. */
static void a_full_disk_loses_nothing(void **state)
{
	struct domain domain = test_domain(1);
	struct test_disk *disk = test_disk_new(DISK_BYTES);
	struct publish_result first;

	for (uint64_t room = 1000; room < 1200000; room += 47000) {
		struct model_disk *model = model_disk_new();
		struct publish_source source = test_disk_source(disk);
		struct publish_options options = {.label = "v2", .threads = 1, .signer = test_signer()};
		struct problem problem = {""};
		struct check_result result;
		struct store *store;
		struct version_row row;
		int error;

		memset(disk->data, 0, DISK_BYTES);
		test_disk_fill(disk, 0, 100, 1);
		assert_int_equal(store_open_files(model_disk_files(model), &store, NULL), 0);
		test_publish(store, &domain, disk, "v1", NULL, &first);
		model_disk_limit(model, room, room % 2 ? -EDQUOT : -ENOSPC);
		test_disk_fill(disk, 0, 290, 4);
		error = publish_version(store, &domain, &source, &options, &first, &problem);
		if (error) {
			assert_true(error == -ENOSPC || error == -EDQUOT);
			assert_non_null(strstr(problem.line, "nothing was lost"));
			assert_int_equal(store_find_version(store, "v2", &row, NULL), -ENOENT);
		}
		model_disk_limit(model, UINT64_MAX, 0);
		assert_int_equal(repair_check(store, NULL, NULL, NULL, &result, NULL), 0);
		assert_int_equal(result.faults, 0);
		if (error)
			test_publish(store, &domain, disk, "v2", NULL, &first);
		test_same(store, &domain, first.version, disk);
		store_close(store);
		model_disk_free(model);
		if (!error)
			break;
	}
	test_disk_free(disk);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(power_may_fail_at_any_write),
	    cmocka_unit_test(a_full_disk_loses_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
