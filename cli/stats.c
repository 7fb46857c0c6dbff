/*
 * `bulkhead stats`: why processors entered the hypervisor, how often, and the slowest hypercalls.
 */
#include "machine.h"
#include "output.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static const char *const exit_names[BULKHEAD_EXIT_COUNT] = {
	[BULKHEAD_EXIT_HYPERCALL] = "hypercall",
	[BULKHEAD_EXIT_CPUID] = "cpuid",
	[BULKHEAD_EXIT_MSR] = "msr",
	[BULKHEAD_EXIT_PORT] = "port",
	[BULKHEAD_EXIT_APIC] = "apic",
	[BULKHEAD_EXIT_MEMORY] = "memory",
	[BULKHEAD_EXIT_INTERRUPT] = "interrupt",
	[BULKHEAD_EXIT_WINDOW] = "window",
	[BULKHEAD_EXIT_NMI] = "nmi",
	[BULKHEAD_EXIT_SMI] = "smi",
	[BULKHEAD_EXIT_INIT] = "init",
	[BULKHEAD_EXIT_EXCEPTION] = "exception",
	[BULKHEAD_EXIT_CONTROL] = "control",
	[BULKHEAD_EXIT_HALT] = "halt",
	[BULKHEAD_EXIT_SVM] = "svm",
	[BULKHEAD_EXIT_SHUTDOWN] = "shutdown",
	[BULKHEAD_EXIT_OTHER] = "other",
};

static const char *const call_names[BULKHEAD_CALL_COUNT] = {
	[BULKHEAD_CALL_VERSION] = "version",
	[BULKHEAD_CALL_STATUS] = "status",
	[BULKHEAD_CALL_STATS] = "stats",
	[BULKHEAD_CALL_LOG_READ] = "log_read",
	[BULKHEAD_CALL_GUEST_CREATE] = "guest_create",
	[BULKHEAD_CALL_GUEST_PAY] = "guest_pay",
	[BULKHEAD_CALL_GUEST_REFUND] = "guest_refund",
	[BULKHEAD_CALL_GUEST_RANGE] = "guest_range",
	[BULKHEAD_CALL_GUEST_DONATE] = "guest_donate",
	[BULKHEAD_CALL_GUEST_LOAD] = "guest_load",
	[BULKHEAD_CALL_GUEST_SHARE] = "guest_share",
	[BULKHEAD_CALL_GUEST_UNSHARE] = "guest_unshare",
	[BULKHEAD_CALL_GUEST_SEAL] = "guest_seal",
	[BULKHEAD_CALL_GUEST_MEASURE] = "guest_measure",
	[BULKHEAD_CALL_GUEST_RECLAIM] = "guest_reclaim",
	[BULKHEAD_CALL_GUEST_DESTROY] = "guest_destroy",
	[BULKHEAD_CALL_VCPU_CREATE] = "vcpu_create",
	[BULKHEAD_CALL_VCPU_SET] = "vcpu_set",
	[BULKHEAD_CALL_VCPU_GET] = "vcpu_get",
	[BULKHEAD_CALL_VCPU_RUN] = "vcpu_run",
	[BULKHEAD_CALL_PLATFORM_CREATE] = "platform_create",
	[BULKHEAD_CALL_PLATFORM_BLOB] = "platform_blob",
	[BULKHEAD_CALL_PLATFORM_DEVICE] = "platform_device",
	[BULKHEAD_CALL_PLATFORM_CONFIG] = "platform_config",
	[BULKHEAD_CALL_PLATFORM_RELAY] = "platform_relay",
	[BULKHEAD_CALL_PLATFORM_LINE] = "platform_line",
	[BULKHEAD_CALL_PLATFORM_BACKEND] = "platform_backend",
	[BULKHEAD_CALL_PLATFORM_RELEASE] = "platform_release",
	[BULKHEAD_CALL_PLATFORM_LOSE] = "platform_lose",
};

static json_t *describe_calls(const struct bulkhead_stats *stats, uint32_t count)
{
	json_t *calls = json_array();

	for (size_t call = 0; call < BULKHEAD_CALL_COUNT; call++) {
		uint64_t made = 0, worst = 0;

		for (uint32_t cpu = 0; cpu < count; cpu++) {
			made += stats[cpu].calls[call].count;
			if (stats[cpu].calls[call].worst_cycles > worst)
				worst = stats[cpu].calls[call].worst_cycles;
		}
		if (!call_names[call] && !made)
			continue;
		json_array_append_new(calls, json_pack("{s:s, s:I, s:I}", "call",
						       call_names[call] ? call_names[call] : "unknown", "count",
						       (json_int_t)made, "worst_cycles", (json_int_t)worst));
	}
	return calls;
}

json_t *stats_describe(const struct bulkhead_stats *stats, uint32_t count)
{
	json_t *exits = json_object(), *flushes = json_array(), *switches = json_array();
	json_t *guest_flushes = json_array(), *relayed = json_array();

	for (size_t reason = 0; reason < BULKHEAD_EXIT_COUNT; reason++) {
		json_t *row = json_array();

		for (uint32_t cpu = 0; cpu < count; cpu++)
			json_array_append_new(row, json_integer((json_int_t)stats[cpu].exits[reason]));
		json_object_set_new(exits, exit_names[reason], row);
	}
	for (uint32_t cpu = 0; cpu < count; cpu++) {
		json_array_append_new(flushes, json_integer((json_int_t)stats[cpu].flushes));
		json_array_append_new(switches, json_integer((json_int_t)stats[cpu].world_switches));
		json_array_append_new(guest_flushes, json_integer((json_int_t)stats[cpu].guest_flushes));
		json_array_append_new(relayed, json_integer((json_int_t)stats[cpu].relayed_bytes));
	}
	return json_pack("{s:I, s:o, s:o, s:o, s:o, s:o, s:o}", "processors", (json_int_t)count, "exits", exits, "calls",
			 describe_calls(stats, count), "flushes", flushes, "world_switches", switches, "guest_flushes",
			 guest_flushes, "relayed_bytes", relayed);
}

void stats_subtract(struct bulkhead_stats *later, const struct bulkhead_stats *earlier, uint32_t count)
{
	for (uint32_t cpu = 0; cpu < count; cpu++) {
		later[cpu].flushes -= earlier[cpu].flushes;
		later[cpu].world_switches -= earlier[cpu].world_switches;
		later[cpu].guest_flushes -= earlier[cpu].guest_flushes;
		later[cpu].relayed_bytes -= earlier[cpu].relayed_bytes;
		for (size_t i = 0; i < sizeof(later->exits) / sizeof(later->exits[0]); i++)
			later[cpu].exits[i] -= earlier[cpu].exits[i];
		for (size_t i = 0; i < BULKHEAD_CALL_COUNT; i++)
			later[cpu].calls[i].count -= earlier[cpu].calls[i].count;
	}
}

/** Rows of the exits' table: reason, total (or per second), and each processor's share. */
static json_t *exit_rows(const struct bulkhead_stats *stats, uint32_t count, double seconds, bool with_zero)
{
	json_t *rows = json_array();
	uint64_t sum = 0;

	for (size_t reason = 0; reason < BULKHEAD_EXIT_COUNT; reason++) {
		uint64_t total = 0;
		json_t *row;

		for (uint32_t cpu = 0; cpu < count; cpu++)
			total += stats[cpu].exits[reason];
		sum += total;
		if (!total && !with_zero)
			continue;
		row = json_pack("{s:s, s:I}", "reason", exit_names[reason], "total", (json_int_t)total);
		if (seconds > 0)
			json_object_set_new(row, "rate", json_real((double)total / seconds));
		json_array_append_new(rows, row);
	}
	json_array_append_new(rows, json_pack("{s:s, s:I}", "reason", "all", "total", (json_int_t)sum));
	if (seconds > 0)
		json_object_set_new(json_array_get(rows, json_array_size(rows) - 1), "rate",
				    json_real((double)sum / seconds));
	return rows;
}

static void print_stats(const struct bulkhead_stats *stats, uint32_t count, double seconds, bool with_zero)
{
	static const struct output_column exit_columns[] = {
		{"reason", "EXIT", OUTPUT_TEXT},
		{"total", "COUNT", OUTPUT_NUMBER},
		{"rate", "PER SECOND", OUTPUT_NUMBER},
	};
	static const struct output_column call_columns[] = {
		{"call", "HYPERCALL", OUTPUT_TEXT},
		{"count", "COUNT", OUTPUT_NUMBER},
		{"worst_cycles", "WORST TICKS", OUTPUT_NUMBER},
	};
	json_t *exits = exit_rows(stats, count, seconds, with_zero);
	json_t *calls = describe_calls(stats, count), *used = json_array(), *row;
	size_t index;

	output_table(exits, exit_columns, seconds > 0 ? 3 : 2, "");
	json_array_foreach(calls, index, row)
		if (with_zero || json_integer_value(json_object_get(row, "count")))
			json_array_append(used, row);
	printf("\n");
	output_table(used, OUTPUT_COLUMNS(call_columns), "No hypercalls");
	json_decref(used);
	json_decref(calls);
	json_decref(exits);
}

static int read_all(const struct cli_context *context, int device, struct bulkhead_stats *stats, uint32_t count)
{
	for (uint32_t cpu = 0; cpu < count; cpu++) {
		int result;

		memset(&stats[cpu], 0, sizeof(stats[cpu]));
		stats[cpu].processor = cpu;
		result = machine_request(context, device, BULKHEAD_DEVICE_STATS, &stats[cpu], "counters");
		if (result != CLI_OK)
			return result;
	}
	return CLI_OK;
}

static double now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

/** Reads the counters now or, with an interval, what happened in it; *@seconds gets its real length. */
static int read_interval(const struct cli_context *context, int device, struct bulkhead_stats *stats, uint32_t count,
			 uint64_t interval, double *seconds)
{
	struct bulkhead_stats *before = NULL;
	double start;
	int result;

	*seconds = 0;
	if (!interval)
		return read_all(context, device, stats, count);
	before = calloc(count, sizeof(*before));
	if (!before)
		return cli_fail(context, "counters: no memory for %u processors", count);
	result = read_all(context, device, before, count);
	start = now();
	if (result == CLI_OK) {
		struct timespec left = {.tv_sec = (time_t)interval};

		while (nanosleep(&left, &left) < 0 && errno == EINTR)
			;
		*seconds = now() - start;
		result = read_all(context, device, stats, count);
	}
	if (result == CLI_OK)
		stats_subtract(stats, before, count);
	free(before);
	return result;
}

int stats_run(const struct cli_context *context)
{
	struct bulkhead_status status;
	struct bulkhead_stats *stats = NULL;
	uint64_t interval = 0;
	double seconds;
	int device, result;

	if (cli_number(context, "interval", 1, 86400, &interval) != CLI_OK)
		return CLI_USAGE;
	device = machine_open(context);
	if (device < 0)
		return CLI_FAILED;
	memset(&status, 0, sizeof(status));
	result = machine_request(context, device, BULKHEAD_DEVICE_STATUS, &status, "status");
	if (result != CLI_OK)
		goto out;
	stats = calloc(status.processor_count ? status.processor_count : 1, sizeof(*stats));
	if (!stats) {
		result = cli_fail(context, "counters: no memory for %u processors", status.processor_count);
		goto out;
	}
	result = read_interval(context, device, stats, status.processor_count, interval, &seconds);
	if (result != CLI_OK)
		goto out;
	if (cli_switch(context, "json")) {
		json_t *report = stats_describe(stats, status.processor_count);

		if (interval)
			json_object_set_new(report, "seconds", json_real(seconds));
		output_json(report);
		json_decref(report);
	} else {
		print_stats(stats, status.processor_count, seconds, cli_switch(context, "all"));
	}
out:
	free(stats);
	close(device);
	return result;
}
