/* SPDX-License-Identifier: MIT */
/*
 * bulkhead.efi: started by UEFI firmware, starts the service domain beneath which the hypervisor runs.
 *
 * Everything it needs is a section of its own file, so that what firmware verified or measured is all
 * there is: the hypervisor, .bhconf (boot_config.h), .linux or .uki, .initrd, .cmdline.
 */
#include <bulkhead/hypercall.h>

#include "loader.h"

efi_status EFIAPI efi_main(efi_handle self, struct efi_system_table *system);

/** The names by which MSVC's conventions make the compiler ask for what C leaves out. */
int _fltused;

static struct loader loader;

static void read_sections(void)
{
	const uint8_t *base = loader.image->base;
	uint64_t size = loader.image->size_bytes;
	struct pe_section config = pe_section_find(base, size, ".bhconf");

	loader.kernel = pe_section_find(base, size, ".linux");
	if (!loader.kernel.data)
		loader.kernel = pe_section_find(base, size, ".uki");
	loader.initrd = pe_section_find(base, size, ".initrd");
	loader.command_line = pe_section_find(base, size, ".cmdline");
	if (!boot_config_parse((const char *)config.data, config.size_bytes, &loader.config)) {
		char line[11];
		uint32_t number = loader.config.bad_line, at = 10;

		line[10] = 0;
		do
			line[--at] = (char)('0' + number % 10);
		while ((number /= 10) > 0);
		console_line(&loader, "configuration (.bhconf), line without sense", line + at);
		console_stop(&loader, "the configuration must be mended");
	}
	if (!loader.kernel.data)
		console_stop(&loader, "this file has no kernel (section .linux or .uki)");
}

efi_status EFIAPI efi_main(efi_handle self, struct efi_system_table *system)
{
	enum boot_result result;

	loader.self = self;
	loader.system = system;
	loader.boot = system->boot;
	if (loader.boot->handle_protocol(self, &efi_guid_loaded_image, (void **)&loader.image))
		return EFI_UNSUPPORTED;
	loader.boot->set_watchdog(0, 0, 0, NULL);
	read_sections();
	trust_establish(&loader);
	if (!(loader.facts & (BULKHEAD_FACT_SECURE_BOOT | BULKHEAD_FACT_MEASURED_BOOT))) {
		console_line(&loader, "firmware neither verified nor measured this file", NULL);
		if (!loader.config.continue_unverified)
			console_stop(&loader, "enable Secure Boot or a TPM, or set if-unverified=continue");
	}
	result = launch(&loader);
	if (result != BOOT_OK) {
		console_line(&loader, "this machine cannot run Bulkhead", boot_result_text(result));
		if (!loader.config.start_linux_if_unable)
			console_stop(&loader, "nothing is started (if-unable=stop)");
		console_line(&loader, "starting Linux without it (if-unable=start-linux)", NULL);
	}
	kernel_start(&loader);
	console_stop(&loader, "the kernel did not start");
}
