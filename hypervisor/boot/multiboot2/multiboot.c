/* SPDX-License-Identifier: MIT */
/*
 * See multiboot.h. Multiboot 0.6.96, 3.3; Multiboot2 2.0, 3.6. The loader that started us is trusted:
 * it could have started anything else.
 */
#include "multiboot.h"

#define MAGIC1 0x2badb002u
#define MAGIC2 0x36d76289u

#define INFO_COMMAND_LINE (1u << 2)
#define INFO_MODULES	  (1u << 3)
#define INFO_MEMORY_MAP	  (1u << 6)

struct info1 {
	uint32_t flags, lower, upper, boot_device, command_line;
	uint32_t module_count, modules, symbols[4];
	uint32_t map_bytes, map;
};

struct module1 {
	uint32_t base, end, text, reserved;
};

struct entry1 {
	uint32_t size_bytes; /* of what follows */
	uint64_t base, length;
	uint32_t type;
} __attribute__((packed));

struct tag2 {
	uint32_t type, size_bytes;
};

struct module2 {
	struct tag2 tag;
	uint32_t base, end;
	char text[];
};

struct map2 {
	struct tag2 tag;
	uint32_t entry_bytes, version;
	uint8_t entries[];
};

struct entry2 {
	uint64_t base, length;
	uint32_t type, reserved;
};

static const void *at(uint64_t address)
{
	return (const void *)address;
}

static void add_region(struct multiboot *result, uint64_t base, uint64_t length, uint32_t type)
{
	if (result->region_count < BOOT_MAX_REGIONS && length > 0)
		result->regions[result->region_count++] = (struct boot_region){
			base, length, type == 1 ? BOOT_MEMORY_RAM : BOOT_MEMORY_RESERVED
		};
}

/* Version 1 is QEMU's here, and it puts the file's name first; GRUB, by version 2, leaves the name out. */
static const char *without_name(const char *text)
{
	while (*text && *text != ' ')
		text++;
	while (*text == ' ')
		text++;
	return text;
}

static void add_module(struct multiboot *result, uint64_t base, uint64_t end, const char *text)
{
	if (result->module_count < MULTIBOOT_MAX_MODULES)
		result->modules[result->module_count++] =
			(struct multiboot_module){ base, end, text };
}

static void read1(const struct info1 *info, struct multiboot *result)
{
	if (info->flags & INFO_COMMAND_LINE)
		result->command_line = without_name(at(info->command_line));
	for (uint32_t i = 0; (info->flags & INFO_MODULES) && i < info->module_count; i++) {
		const struct module1 *module = at(info->modules + i * sizeof(*module));

		add_module(result, module->base, module->end, without_name(at(module->text)));
	}
	for (uint32_t i = 0; (info->flags & INFO_MEMORY_MAP) && i < info->map_bytes;) {
		const struct entry1 *entry = at(info->map + i);

		add_region(result, entry->base, entry->length, entry->type);
		i += entry->size_bytes + 4;
	}
}

static void read_map2(const struct map2 *map, struct multiboot *result)
{
	for (uint32_t i = sizeof(*map); i + map->entry_bytes <= map->tag.size_bytes;
	     i += map->entry_bytes) {
		const struct entry2 *entry = at((uint64_t)map + i);

		add_region(result, entry->base, entry->length, entry->type);
	}
}

static void read2(uint64_t info, struct multiboot *result)
{
	uint32_t total = *(const uint32_t *)at(info);

	for (uint32_t i = 8; i + sizeof(struct tag2) <= total;) {
		const struct tag2 *tag = at(info + i);
		const struct module2 *module = (const void *)tag;

		if (tag->type == 0 || tag->size_bytes < sizeof(*tag))
			return;
		if (tag->type == 1)
			result->command_line = (const char *)(tag + 1);
		if (tag->type == 3)
			add_module(result, module->base, module->end, module->text);
		if (tag->type == 6)
			read_map2((const void *)tag, result);
		/* ACPI's root, old and new: where there is no BIOS, nobody finds it by searching. */
		if (tag->type == 15 || (tag->type == 14 && !result->rsdp))
			result->rsdp = tag + 1;
		i += (tag->size_bytes + 7) & ~7u;
	}
}

bool multiboot_read(uint32_t magic, uint32_t info, struct multiboot *result)
{
	*result = (struct multiboot){ .command_line = "" };
	if (magic == MAGIC1)
		read1(at(info), result);
	else if (magic == MAGIC2)
		read2(info, result);
	return result->module_count > 0 && result->region_count > 0;
}
