/* SPDX-License-Identifier: MIT */
/*
 * The store decoder over arbitrary bytes: it never reads past what could be fetched, and what it accepts
 * makes sense.
 */
#include <stdlib.h>
#include <string.h>

#include "store_decoder.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint64_t gprs[16] = { 0 };
	uint8_t *exact;
	struct store store;

	if (size < 1)
		return 0;
	exact = malloc(size);
	if (!exact)
		abort();
	memcpy(exact, data + 1, size - 1);
	if (store_decode(exact, size - 1, data[0] & 1, &store)) {
		if (store.length_bytes == 0 || store.length_bytes > size - 1 ||
		    store.length_bytes > INSTRUCTION_BYTES || store.size_bytes == 0 ||
		    (store.size_bytes & (store.size_bytes - 1)) || store.size_bytes > 8 ||
		    (store.gpr > 15 && store.gpr != 0xff))
			abort();
		(void)store_value(&store, gprs);
		if (store.is_exchange)
			store_exchange(&store, gprs, ~0ull);
	}
	free(exact);
	return 0;
}
