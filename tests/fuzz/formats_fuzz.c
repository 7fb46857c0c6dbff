/*
 * Every judge of bytes that come with an image: the first byte chooses the judge, the rest is the file.
 */
#include <stdlib.h>

#include "format.h"
#include "ova.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct ova_index index;
	static struct ovf_machine machine;
	struct disk_facts facts;
	struct disk_why why;

	if (size < 1)
		return 0;
	struct disk_source source = {.memory = data + 1, .size_bytes = size - 1};

	switch (data[0] % 7) {
	case 0:
		if (ova_index_read(&source, &index, &why) == 0)
			ova_verify(&source, &index, &why);
		break;
	case 1:
		ovf_parse((const char *)data + 1, size - 1, &machine, &why);
		break;
	case 2:
		disk_format_check(&source, disk_format_guess(&source), DISK_BYTES_MAX, &facts, &why);
		break;
	default:
		disk_format_check(&source, data[0] % 7 - 3 + DISK_QCOW2, DISK_BYTES_MAX, &facts, &why);
	}
	return 0;
}
