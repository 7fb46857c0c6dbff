/* SPDX-License-Identifier: MIT */
/*
 * The Multiboot loader: for emulators and benchmarks, where firmware would only cost time. It starts
 * the hypervisor and, on it, a Linux kernel given as first module with its command line, the initrd as
 * second. One processor: others stay where firmware left them.
 *
 * Its own command line holds words of the configuration (boot_config.h); the word "bare" starts the
 * kernel without the hypervisor, on the same path, to compare.
 */
#include "../boot_config.h"
#include "../elf_load.h"
#include "linux.h"

#define SERIAL_PORT    0x3f8u
#define LARGE_PAGE     0x200000ull
#define LOW_MEMORY     0x100000000ull
#define TOP_CLEARANCE  (64ull << 20) /* the chipset may cover the top of low RAM */
#define SMM_STUB       0x30000ull
#define SMM_STUB_BYTES 0x10000ull

extern const uint8_t hypervisor_file[], hypervisor_file_end[];

void loader_main(uint32_t magic, uint32_t info);
__attribute__((noreturn)) void kernel_jump(uint64_t entry, void *boot_params);

#define PAGE_BYTES   4096u
#define RSDP_BYTES   36u /* ACPI 2.0 and later; older ones have 20 */

/* A page of its own, which the kernel is told to leave alone: the loader's copy may lie anywhere. */
static uint8_t rsdp_page[PAGE_BYTES] __attribute__((aligned(PAGE_BYTES)));

static struct multiboot multiboot;
static struct boot_info info;
static struct boot_config config;
static bool is_bare;

static void put(char character)
{
	uint8_t status;

	do
		__asm__ volatile("inb %1, %0" : "=a"(status) : "Nd"((uint16_t)(SERIAL_PORT + 5)));
	while (!(status & 0x20));
	__asm__ volatile("outb %0, %1" : : "a"(character), "Nd"((uint16_t)SERIAL_PORT));
}

static void print(const char *text)
{
	while (*text)
		put(*text++);
}

static void stop(const char *reason)
{
	print("bulkhead: stopped: ");
	print(reason);
	print("\r\n");
	for (;;)
		__asm__ volatile("cli; hlt");
}

/* Words of the command line become lines of a configuration. */
static void read_command_line(void)
{
	static char text[512];
	const char *from = multiboot.command_line;
	size_t size = 0, word = 0;

	for (; *from && size < sizeof(text) - 1; from++) {
		text[size++] = *from == ' ' ? '\n' : *from;
		if (*from == ' ' || from[1] == 0) {
			if (size - word >= 4 && __builtin_memcmp(text + word, "bare", 4) == 0) {
				is_bare = true;
				size = word;
			}
			word = size;
		}
	}
	if (!boot_config_parse(text, size, &config))
		stop("the command line holds a word without sense");
}

/* Cuts a stretch out of the RAM that is handed on; the list grows by one or two entries. */
static void reserve(struct boot_region *regions, uint32_t *count, uint64_t base, uint64_t size_bytes)
{
	for (uint32_t i = 0; i < *count; i++) {
		struct boot_region *region = &regions[i];
		uint64_t end = region->base + region->size_bytes;

		if (region->kind != BOOT_MEMORY_RAM || base < region->base || base + size_bytes > end)
			continue;
		if (*count + 2 > BOOT_MAX_REGIONS)
			stop("the memory map has too many entries");
		region->size_bytes = base - region->base;
		regions[(*count)++] = (struct boot_region){ base, size_bytes, BOOT_MEMORY_RESERVED };
		regions[(*count)++] = (struct boot_region){ base + size_bytes, end - base - size_bytes,
							    BOOT_MEMORY_RAM };
		return;
	}
}

/* The highest place in low RAM below what the chipset may cover. Firmware may have cut RAM into many pieces. */
static void find_own_place(void)
{
	uint64_t ram = 0, limit = 0;

	for (uint32_t i = 0; i < info.region_count; i++) {
		const struct boot_region *region = &info.regions[i];
		uint64_t end = region->base + region->size_bytes;

		if (region->kind != BOOT_MEMORY_RAM)
			continue;
		ram += region->size_bytes;
		if (end <= LOW_MEMORY && end > limit)
			limit = end;
	}
	info.own_bytes = boot_own_bytes(ram, info.processor_count);
	limit = limit > TOP_CLEARANCE ? limit - TOP_CLEARANCE : 0;
	for (uint32_t i = 0; i < info.region_count; i++) {
		const struct boot_region *region = &info.regions[i];
		uint64_t end = region->base + region->size_bytes, at;

		if (end > limit)
			end = limit;
		if (region->kind != BOOT_MEMORY_RAM || end < info.own_bytes + LARGE_PAGE)
			continue;
		at = (end - info.own_bytes) & ~(LARGE_PAGE - 1);
		if (at >= region->base && at > info.own_base)
			info.own_base = at;
	}
	if (info.own_base == 0)
		stop(boot_result_text(BOOT_TOO_LITTLE_MEMORY));
}

static void launch(void)
{
	size_t file_bytes = (size_t)(hypervisor_file_end - hypervisor_file);
	struct elf_layout layout;
	boot_entry *entry;
	uint32_t result;

	if (!elf_measure(hypervisor_file, file_bytes, &layout) ||
	    !elf_place(hypervisor_file, file_bytes, (uint8_t *)info.own_base, &layout))
		stop("the hypervisor's file is damaged");
	info.image_bytes = layout.image_bytes;
	entry = (boot_entry *)(info.own_base + layout.entry);
	for (uint64_t operation = BOOT_CHECK; operation <= BOOT_ENTER; operation++) {
		result = entry(operation, &info);
		if (result != BOOT_OK)
			stop(boot_result_text(result));
	}
}

void loader_main(uint32_t magic, uint32_t address)
{
	struct linux_kernel kernel;
	struct boot_region *regions = multiboot.regions;
	const char *error;

	if (!multiboot_read(magic, address, &multiboot))
		stop("no kernel: give it as first module, the initrd as second");
	read_command_line();
	info.magic = BOOT_INFO_MAGIC;
	info.processor_count = 1;
	info.log_level = config.log_level;
	info.region_count = multiboot.region_count;
	__builtin_memcpy(info.regions, regions, sizeof(info.regions));
	info.smm_stub = SMM_STUB;
	if (multiboot.rsdp) {
		__builtin_memcpy(rsdp_page, multiboot.rsdp, RSDP_BYTES);
		info.rsdp = (uint64_t)rsdp_page;
		reserve(regions, &multiboot.region_count, info.rsdp, PAGE_BYTES);
	}
	find_own_place();
	/* A bare kernel gets the same memory, so that both do the same work. */
	reserve(regions, &multiboot.region_count, info.own_base, info.own_bytes);
	reserve(regions, &multiboot.region_count, SMM_STUB, SMM_STUB_BYTES);
	error = linux_prepare(&multiboot.modules[0],
			      multiboot.module_count > 1 ? &multiboot.modules[1] : NULL, regions,
			      multiboot.region_count, info.rsdp, &kernel);
	if (error)
		stop(error);
	if (!is_bare)
		launch();
	kernel_jump(kernel.entry, kernel.boot_params);
}
