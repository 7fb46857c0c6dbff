/* Boot traces come with images: what is accepted lies within the disk. */
#include <stdlib.h>

#include "version.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct version_trace trace;

	if (version_trace_read((const char *)data, size, 1000, &trace))
		return 0;
	for (size_t i = 0; i < trace.count; i++)
		if (trace.runs[i].count == 0 || trace.runs[i].first + trace.runs[i].count > 1000)
			abort();
	version_trace_release(&trace);
	return 0;
}
