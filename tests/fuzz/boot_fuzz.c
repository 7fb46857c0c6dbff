/* SPDX-License-Identifier: MIT */
/*
 * What the loaders parse, over arbitrary bytes: configuration, PE sections, the hypervisor's ELF file,
 * and the search for power-off in AML.
 */
#include <stdlib.h>
#include <string.h>

#include "../../hypervisor/boot/boot_config.h"
#include "../../hypervisor/boot/elf_load.h"
#include "sleep_type.h"

#define IMAGE_MOST (1u << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct elf_layout layout;
	struct boot_config config;
	struct pe_section section;
	uint8_t *exact = malloc(size ? size : 1);

	if (!exact)
		abort();
	memcpy(exact, data, size);
	(void)boot_config_parse((const char *)exact, size, &config);
	section = pe_section_find(exact, size, ".linux");
	if (section.data && (section.data < exact || section.size_bytes > size ||
			     section.data + section.size_bytes > exact + size))
		abort();
	if (sleep_type_of_off(exact, size) > (int)SLEEP_TYPE_MAX)
		abort();
	if (elf_measure(exact, size, &layout) && layout.image_bytes <= IMAGE_MOST) {
		uint8_t *memory = aligned_alloc(4096, layout.image_bytes);

		if (!memory)
			abort();
		(void)elf_place(exact, size, memory, &layout);
		free(memory);
	}
	free(exact);
	return 0;
}
