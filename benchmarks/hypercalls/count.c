/* SPDX-License-Identifier: MIT */
/*
 * See count.h. Linked with --wrap=hypercall_dispatch: every call of a test comes by here.
 */
#include <stdio.h>
#include <valgrind/callgrind.h>

#include "count.h"
#include "hypercall.h"

static const char *scenario = "";

void __real_hypercall_dispatch(struct hypercall *call);
void __wrap_hypercall_dispatch(struct hypercall *call);

void count_scenario(const char *name)
{
	scenario = name;
}

void __wrap_hypercall_dispatch(struct hypercall *call)
{
	char label[128];

	CALLGRIND_ZERO_STATS;
	__real_hypercall_dispatch(call);
	snprintf(label, sizeof(label), "CALL %llu %u %s", (unsigned long long)call->number, call->status, scenario);
	CALLGRIND_DUMP_STATS_AT(label);
}
