/* SPDX-License-Identifier: MIT */
/*
 * Messages of the loader, on whatever firmware calls its console, and UEFI's identifiers.
 */
#include "loader.h"

const struct efi_guid efi_guid_loaded_image = { 0x5b1b31a1, 0x9562, 0x11d2,
	{ 0x8e, 0x3f, 0x00, 0xa0, 0xc9, 0x69, 0x72, 0x3b } };
const struct efi_guid efi_guid_mp_services = { 0x3fdda605, 0xa76e, 0x4f46,
	{ 0xad, 0x29, 0x12, 0xf4, 0x53, 0x1b, 0x3d, 0x08 } };
const struct efi_guid efi_guid_tcg = { 0x607f766c, 0x7455, 0x42be,
	{ 0x93, 0x0b, 0xe4, 0xd7, 0x6d, 0xb2, 0x72, 0x0f } };
const struct efi_guid efi_guid_load_file2 = { 0x4006c0c1, 0xfcb3, 0x403e,
	{ 0x99, 0x6d, 0x4a, 0x6c, 0x87, 0x24, 0xe0, 0x6d } };
const struct efi_guid efi_guid_device_path = { 0x09576e91, 0x6d3f, 0x11d2,
	{ 0x8e, 0x39, 0x00, 0xa0, 0xc9, 0x69, 0x72, 0x3b } };
const struct efi_guid efi_guid_acpi20 = { 0x8868e871, 0xe4f1, 0x11d3,
	{ 0xbc, 0x22, 0x00, 0x80, 0xc7, 0x3c, 0x88, 0x81 } };
const struct efi_guid efi_guid_acpi10 = { 0xeb9d2d30, 0x2d88, 0x11d3,
	{ 0x9a, 0x16, 0x00, 0x90, 0x27, 0x3f, 0xc1, 0x4d } };
const struct efi_guid efi_guid_global_variable = { 0x8be4df61, 0x93ca, 0x11d2,
	{ 0xaa, 0x0d, 0x00, 0xe0, 0x98, 0x03, 0x2b, 0x8c } };

static void put(const struct loader *loader, const char *text)
{
	uint16_t wide[2] = { 0, 0 };

	for (; *text; text++) {
		wide[0] = (uint8_t)*text;
		loader->system->console->output(loader->system->console, wide);
	}
}

void console_line(const struct loader *loader, const char *text, const char *more)
{
	put(loader, "bulkhead: ");
	put(loader, text);
	if (more) {
		put(loader, ": ");
		put(loader, more);
	}
	put(loader, "\r\n");
}

void console_stop(const struct loader *loader, const char *reason)
{
	console_line(loader, "stopped", reason);
	for (;;)
		loader->boot->stall(1000000);
}
