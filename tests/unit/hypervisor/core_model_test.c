/* SPDX-License-Identifier: MIT */
/*
 * The core against the naive model, on random hypercalls. Usage: core_model_test [STEPS [SEED]]
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#include "core_model.h"

#define STEPS_BETWEEN_FULL_CHECKS 4000u

static uint64_t steps = 40000;
static uint64_t seed = 0x42756c6b68656164ull;

static void core_does_what_the_model_does(void **state)
{
	struct model_source source = { .seed = seed };

	(void)state;
	model_start(&source);
	for (uint64_t i = 0; i < steps; i++) {
		(void)model_step();
		if (i % STEPS_BETWEEN_FULL_CHECKS == 0)
			model_check_all();
	}
	model_check_all();
	for (uint64_t i = 0; i <= BULKHEAD_CALL_COUNT; i++)
		if (model_done[i])
			printf("# call %02llx: %llu\n", (unsigned long long)i, (unsigned long long)model_done[i]);
}

int main(int argc, char **argv)
{
	static const struct CMUnitTest tests[] = { cmocka_unit_test(core_does_what_the_model_does) };

	if (argc > 1)
		steps = strtoull(argv[1], NULL, 0);
	if (argc > 2)
		seed = strtoull(argv[2], NULL, 0) | 1;
	return cmocka_run_group_tests_name("core-model", tests, NULL, NULL);
}
