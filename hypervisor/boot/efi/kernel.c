/* SPDX-License-Identifier: MIT */
/*
 * Starts the service domain's kernel, which is a section of this file, from memory. Under Secure Boot
 * firmware verifies it once more: it must be signed by a key of the machine's, too.
 *
 * A plain kernel asks for its initrd by LoadFile2 (Linux, Documentation/x86/boot: the initrd media
 * path); a unified kernel image brings its own.
 */
#include "loader.h"

static struct pe_section initrd;

/* Vendor media path with LINUX_EFI_INITRD_MEDIA_GUID, then the end node (UEFI 10.3). */
static const uint8_t initrd_path[] = { 4, 3, 20, 0, 0x27, 0xe4, 0x68, 0x55, 0xfc, 0x68, 0x3d, 0x4f,
				       0xac, 0x74, 0xca, 0x55, 0x52, 0x31, 0xcc, 0x68, 0x7f, 0xff,
				       4, 0 };

static efi_status EFIAPI load_initrd(struct efi_load_file *self, void *path, uint8_t boot_policy,
				     uint64_t *size, void *buffer)
{
	(void)self;
	(void)path;
	if (boot_policy)
		return EFI_UNSUPPORTED;
	if (!size)
		return EFI_INVALID;
	if (!buffer || *size < initrd.size_bytes) {
		*size = initrd.size_bytes;
		return EFI_BUFFER_TOO_SMALL;
	}
	__builtin_memcpy(buffer, initrd.data, initrd.size_bytes);
	*size = initrd.size_bytes;
	return EFI_SUCCESS;
}

static bool offer_initrd(struct loader *loader)
{
	static struct efi_load_file protocol = { load_initrd };
	efi_handle handle = NULL;

	initrd = loader->initrd;
	return !initrd.data ||
	       loader->boot->install_protocols(&handle, &efi_guid_device_path, initrd_path,
					       &efi_guid_load_file2, &protocol, NULL) == EFI_SUCCESS;
}

/* Load options are UTF-16. */
static bool set_options(struct loader *loader, struct efi_loaded_image *image)
{
	const struct pe_section *line = &loader->command_line;
	uint64_t count = line->size_bytes;
	uint16_t *options;

	while (count > 0 && (line->data[count - 1] == '\n' || line->data[count - 1] == 0))
		count--;
	if (count == 0)
		return true;
	if (loader->boot->allocate_pool(EFI_LOADER_DATA, 2 * (count + 1), (void **)&options))
		return false;
	for (uint64_t i = 0; i < count; i++)
		options[i] = line->data[i];
	options[count] = 0;
	image->options = options;
	image->options_bytes = (uint32_t)(2 * (count + 1));
	return true;
}

void kernel_start(struct loader *loader)
{
	struct efi_loaded_image *image;
	efi_handle kernel = NULL;

	if (loader->boot->load_image(0, loader->self, NULL, loader->kernel.data,
				     loader->kernel.size_bytes, &kernel) ||
	    loader->boot->handle_protocol(kernel, &efi_guid_loaded_image, (void **)&image)) {
		console_line(loader, "firmware refuses the kernel",
			     "under Secure Boot it must be signed by a key in db");
		return;
	}
	image->device = loader->image->device;
	if (!offer_initrd(loader) || !set_options(loader, image)) {
		console_line(loader, "out of memory", NULL);
		return;
	}
	loader->boot->start_image(kernel, NULL, NULL);
}
