/* SPDX-License-Identifier: MIT */
/*
 * Hypercall sequences chosen by a fuzzer, on the core and its naive model at once: any difference, any
 * page reached by a stale translation, any sanitizer report stops it.
 */
#include "core_model.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size_bytes);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size_bytes)
{
	struct model_source source = { .data = data, .size_bytes = size_bytes };

	if (size_bytes == 0)
		return 0;
	model_start(&source);
	while (model_step())
		;
	/* Looking at every page takes longer than the steps: for one input in sixteen. */
	if (size_bytes % 16 == 0)
		model_check_all();
	return 0;
}
