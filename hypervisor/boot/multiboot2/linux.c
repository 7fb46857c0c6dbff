/* SPDX-License-Identifier: MIT */
/*
 * See linux.h.
 */
#include "linux.h"

#define PARAMS_RSDP	  0x070u
#define PARAMS_E820_COUNT 0x1e8u
#define PARAMS_HEADER	  0x1f1u
#define PARAMS_E820	  0x2d0u
#define MAX_E820	  128u
#define HEADER_END	  0x201u
#define SETUP_SECTORS	  0x1f1u
#define MAGIC_OFFSET	  0x202u
#define HEADER_MAGIC	  0x53726448u /* "HdrS" */
#define VERSION		  0x206u
#define LOADER_TYPE	  0x210u
#define RAMDISK_IMAGE	  0x218u
#define RAMDISK_BYTES	  0x21cu
#define COMMAND_LINE	  0x228u
#define ALIGNMENT	  0x230u
#define XLOADFLAGS	  0x236u
#define INIT_BYTES	  0x260u
#define ENTRY_64	  0x200u
#define E820_RAM	  1u
#define E820_RESERVED	  2u

struct e820 {
	uint64_t base, size_bytes;
	uint32_t type;
} __attribute__((packed));

static uint8_t params[4096] __attribute__((aligned(4096)));

static uint32_t field(const uint8_t *image, uint32_t offset, unsigned int size_bytes)
{
	uint32_t value = 0;

	__builtin_memcpy(&value, image + offset, size_bytes);
	return value;
}

static void set_field(uint32_t offset, uint64_t value, unsigned int size_bytes)
{
	__builtin_memcpy(params + offset, &value, size_bytes);
}

static bool is_in_ram(const struct boot_region *regions, uint32_t count, uint64_t base, uint64_t end)
{
	for (uint32_t i = 0; i < count; i++)
		if (regions[i].kind == BOOT_MEMORY_RAM && base >= regions[i].base &&
		    end <= regions[i].base + regions[i].size_bytes)
			return true;
	return false;
}

const char *linux_prepare(const struct multiboot_module *kernel, const struct multiboot_module *initrd,
			  const struct boot_region *regions, uint32_t region_count,
			  uint64_t rsdp, struct linux_kernel *result)
{
	const uint8_t *image = (const uint8_t *)kernel->base;
	uint64_t size = kernel->end - kernel->base, place = kernel->end, setup, align;

	if (size < 0x1000 || field(image, MAGIC_OFFSET, 4) != HEADER_MAGIC ||
	    field(image, VERSION, 2) < 0x20c || !(field(image, XLOADFLAGS, 2) & 1))
		return "the first module is no 64-bit Linux kernel";
	setup = (field(image, SETUP_SECTORS, 1) ? field(image, SETUP_SECTORS, 1) : 4u) * 512 + 512;
	align = field(image, ALIGNMENT, 4);
	if (setup > size || align == 0 || (align & (align - 1)))
		return "the kernel's header makes no sense";
	if (initrd && initrd->end > place)
		place = initrd->end;
	place = ((place < 0x1000000 ? 0x1000000 : place) + align - 1) & ~(align - 1);
	if (!is_in_ram(regions, region_count, place, place + field(image, INIT_BYTES, 4)))
		return "too little memory for the kernel";
	__builtin_memcpy((void *)place, image + setup, size - setup);
	__builtin_memcpy(params + PARAMS_HEADER, image + PARAMS_HEADER,
			 MAGIC_OFFSET + field(image, HEADER_END, 1) - PARAMS_HEADER);
	set_field(PARAMS_RSDP, rsdp, 8);
	set_field(LOADER_TYPE, 0xff, 1);
	set_field(COMMAND_LINE, (uint64_t)kernel->text, 4);
	if (initrd) {
		set_field(RAMDISK_IMAGE, initrd->base, 4);
		set_field(RAMDISK_BYTES, initrd->end - initrd->base, 4);
	}
	for (uint32_t i = 0; i < region_count && i < MAX_E820; i++) {
		struct e820 entry = { regions[i].base, regions[i].size_bytes,
				      regions[i].kind == BOOT_MEMORY_RAM ? E820_RAM : E820_RESERVED };

		__builtin_memcpy(params + PARAMS_E820 + i * sizeof(entry), &entry, sizeof(entry));
		set_field(PARAMS_E820_COUNT, i + 1, 1);
	}
	result->entry = place + ENTRY_64;
	result->boot_params = params;
	return NULL;
}
