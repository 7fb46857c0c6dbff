/* SPDX-License-Identifier: MIT */
/*
 * Whether what runs is what was signed, or can at least be told afterwards. Firmware verifies this
 * file under Secure Boot and measures it into PCR 4 where there is a TPM; its parts are measured
 * once more, one event each, into PCR 12, so that a log reader can tell which of them changed.
 */
#include <bulkhead/hypercall.h>

#include "loader.h"

#define PCR_PARTS 12u
#define EV_IPL	  13u /* TCG PC Client Firmware Profile, 10.4.1 */

static bool variable_is(const struct loader *loader, const uint16_t *name, uint8_t wanted)
{
	uint8_t value = 0;
	uint64_t size = sizeof(value);

	return loader->system->runtime->get_variable(name, &efi_guid_global_variable, NULL, &size,
						     &value) == EFI_SUCCESS &&
	       size == 1 && value == wanted;
}

static bool measure(struct efi_tcg *tcg, const char *name, struct pe_section section)
{
	struct efi_tcg_event event = { .header_bytes = 14,
				       .header_version = 1,
				       .register_index = PCR_PARTS,
				       .event_type = EV_IPL };
	uint32_t length = 0;

	if (!section.data)
		return true;
	for (; name[length] && length < sizeof(event.text); length++)
		event.text[length] = (uint8_t)name[length];
	event.size_bytes = (uint32_t)offsetof(struct efi_tcg_event, text) + length;
	return tcg->hash_log_extend(tcg, 0, (uint64_t)section.data, section.size_bytes, &event) ==
	       EFI_SUCCESS;
}

void trust_establish(struct loader *loader)
{
	static const uint16_t secure_boot[] = { 'S', 'e', 'c', 'u', 'r', 'e', 'B', 'o', 'o', 't', 0 };
	static const uint16_t setup_mode[] = { 'S', 'e', 't', 'u', 'p', 'M', 'o', 'd', 'e', 0 };
	const uint8_t *base = loader->image->base;
	struct efi_tcg *tcg = NULL;

	if (variable_is(loader, secure_boot, 1) && variable_is(loader, setup_mode, 0))
		loader->facts |= BULKHEAD_FACT_SECURE_BOOT;
	if (loader->boot->locate_protocol(&efi_guid_tcg, NULL, (void **)&tcg) != EFI_SUCCESS || !tcg)
		return;
	if (!measure(tcg, "bulkhead configuration",
		     pe_section_find(base, loader->image->size_bytes, ".bhconf")) ||
	    !measure(tcg, "bulkhead initrd", loader->initrd) ||
	    !measure(tcg, "bulkhead command line", loader->command_line)) {
		console_line(loader, "the TPM refused a measurement", NULL);
		return;
	}
	loader->facts |= BULKHEAD_FACT_MEASURED_BOOT;
}
