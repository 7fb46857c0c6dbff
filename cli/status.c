/*
 * `bulkhead status`. What is not protected stands as prominently as what is: a report that only lists strengths
 * would make people trust what they should not.
 */
#include "machine.h"
#include "output.h"

#include "trust/policy.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/** A fact the hypervisor states, and what either answer means for the person who reads it. */
static const struct fact {
	uint64_t bit;
	const char *key;
	const char *yes; /* what is protected */
	const char *no;	 /* what is not */
	const char *remedy;
} facts[] = {
	{BULKHEAD_FACT_DMA_CONTAINED, "dma_contained",
	 "devices (DMA) reach only the service domain's memory",
	 "devices (DMA) reach all memory: one command to a disk or network card defeats everything else",
	 "enable the IOMMU (AMD-Vi, VT-d) in the firmware's settings"},
	{BULKHEAD_FACT_INTERRUPTS_CHECKED, "interrupts_checked",
	 "devices cannot send INIT, SMI or NMI messages",
	 "devices can send INIT, SMI and NMI messages, and so stop or restart a processor",
	 "enable the IOMMU with interrupt remapping in the firmware's settings"},
	{BULKHEAD_FACT_SECURE_BOOT, "secure_boot",
	 "firmware verified the hypervisor and what it starts (Secure Boot)",
	 "firmware did not verify what it started: whoever can write the boot disk can replace the hypervisor",
	 "enrol the platform's key and switch Secure Boot on"},
	{BULKHEAD_FACT_MEASURED_BOOT, "measured_boot",
	 "what was started is measured into the TPM",
	 "what was started is not measured: no key can be bound to it",
	 "enable the TPM 2.0 in the firmware's settings"},
	{BULKHEAD_FACT_SMRAM_LOCKED, "smram_locked",
	 "firmware locked its system management memory",
	 "system management memory is not locked by the firmware; the hypervisor keeps the service domain away "
	 "from it",
	 "update the firmware"},
};

/** What a person can do about a fact that does not hold. */
static const char *remedy_of(const struct fact *fact, uint64_t all)
{
	/* An IOMMU that contains DMA is there and on: the firmware has nothing left to enable. */
	if (fact->bit == BULKHEAD_FACT_INTERRUPTS_CHECKED && (all & BULKHEAD_FACT_DMA_CONTAINED))
		return "update the firmware: its IOMMU tables do not allow interrupt remapping; `bulkhead log` says why";
	return fact->remedy;
}

static json_t *point(const char *key, const char *text, const char *remedy)
{
	json_t *entry = json_pack("{s:s, s:s}", "key", key, "text", text);

	if (remedy)
		json_object_set_new(entry, "remedy", json_string(remedy));
	return entry;
}

/** The policy fields that a company may sign and nothing here obeys. */
static json_t *unenforced_policy(void)
{
	char text[512] = "what the company's policy says of";
	size_t length = strlen(text), found = 0;

	for (int field = 0; field < POLICY_FIELD_COUNT; field++)
		if (!policy_field_rules[field].enforced_by && length < sizeof(text))
			length += (size_t)snprintf(text + length, sizeof(text) - length, "%s %s", found++ ? "," : "",
						   policy_field_rules[field].name);
	if (length < sizeof(text))
		snprintf(text + length, sizeof(text) - length, ": not enforced by this version");
	return found ? point("policy", text, NULL) : NULL;
}

static const char *guest_state(uint8_t state)
{
	static const char *const names[] = {
		[BULKHEAD_GUEST_FREE] = "free",	    [BULKHEAD_GUEST_LOADING] = "loading",
		[BULKHEAD_GUEST_SEALING] = "sealing", [BULKHEAD_GUEST_SEALED] = "ready",
		[BULKHEAD_GUEST_DYING] = "ending",
	};

	return state < sizeof(names) / sizeof(names[0]) ? names[state] : "unknown";
}

static json_t *describe_guests(const struct bulkhead_status *status)
{
	json_t *guests = json_array();

	for (size_t i = 0; i < BULKHEAD_MAX_GUESTS; i++) {
		const struct bulkhead_guest_status *guest = &status->guests[i];

		if (guest->handle == 0)
			continue;
		json_array_append_new(
			guests, json_pack("{s:I, s:s, s:b, s:i, s:I, s:I}", "handle", (json_int_t)guest->handle,
					  "state", guest_state(guest->state), "protected", guest->is_protected != 0,
					  "processors", (int)guest->vcpu_count, "memory_bytes",
					  (json_int_t)guest->memory_pages * BULKHEAD_PAGE_BYTES, "table_bytes",
					  ((json_int_t)guest->table_pages + guest->spare_pages) *
						  BULKHEAD_PAGE_BYTES));
	}
	return guests;
}

json_t *status_describe(const struct bulkhead_status *status)
{
	json_t *protected = json_array(), *unprotected = json_array(), *bits = json_object(), *policy;

	json_array_append_new(protected, point("guest_memory",
					       "memory and registers of protected guests, from each other and from "
					       "this Linux", NULL));
	for (size_t i = 0; i < sizeof(facts) / sizeof(facts[0]); i++) {
		bool holds = status->facts & facts[i].bit;

		json_object_set_new(bits, facts[i].key, json_boolean(holds));
		if (holds)
			json_array_append_new(protected, point(facts[i].key, facts[i].yes, NULL));
		else
			json_array_append_new(unprotected,
					      point(facts[i].key, facts[i].no, remedy_of(&facts[i], status->facts)));
	}
	json_object_set_new(bits, "uefi", json_boolean(status->facts & BULKHEAD_FACT_UEFI));
	json_array_append_new(unprotected,
			      point("devices_content",
				    "disk contents, network, keys pressed and screen of every guest: this Linux sees "
				    "and can change them, so a changed boot disk can reveal all of that guest", NULL));
	if ((policy = unenforced_policy()))
		json_array_append_new(unprotected, policy);
	return json_pack(
		"{s:b, s:s, s:s, s:s, s:I, s:o, s:o, s:o, s:o, s:{s:I, s:I, s:I, s:I, s:I}}", "running", 1, "build",
		status->build_id, "back_end", status->back_end, "started_by",
		status->facts & BULKHEAD_FACT_UEFI ? "UEFI" : "Multiboot2", "processors",
		(json_int_t)status->processor_count, "facts", bits, "protected", protected, "unprotected", unprotected,
		"guests", describe_guests(status), "memory", "total_bytes",
		(json_int_t)status->memory_pages * BULKHEAD_PAGE_BYTES, "hypervisor_bytes",
		(json_int_t)status->hypervisor_pages * BULKHEAD_PAGE_BYTES, "guest_bytes",
		(json_int_t)status->guest_pages * BULKHEAD_PAGE_BYTES, "table_bytes",
		(json_int_t)status->table_pages * BULKHEAD_PAGE_BYTES, "spare_bytes",
		(json_int_t)status->spare_pages * BULKHEAD_PAGE_BYTES);
}

static void print_points(const char *title, const json_t *points)
{
	size_t index;
	json_t *entry;

	printf("\n%s:\n", title);
	json_array_foreach(points, index, entry) {
		const char *remedy = json_string_value(json_object_get(entry, "remedy"));

		printf("  - %s\n", json_string_value(json_object_get(entry, "text")));
		if (remedy)
			printf("      remedy: %s\n", remedy);
	}
}

static void print_memory(const json_t *memory)
{
	static const struct {
		const char *key, *text;
	} rows[] = {
		{"total_bytes", "in all"},
		{"hypervisor_bytes", "the hypervisor's own"},
		{"guest_bytes", "given to guests"},
		{"table_bytes", "page tables of the service domain"},
	};
	char text[16];

	printf("\nMemory:\n");
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		printf("  %8s  %s\n",
		       output_bytes((uint64_t)json_integer_value(json_object_get(memory, rows[i].key)), text),
		       rows[i].text);
}

static void print_status(const json_t *report)
{
	static const struct output_column columns[] = {
		{"handle", "GUEST", OUTPUT_NUMBER},	   {"state", "STATE", OUTPUT_TEXT},
		{"protected", "PROTECTED", OUTPUT_TEXT},   {"processors", "PROCESSORS", OUTPUT_NUMBER},
		{"memory_bytes", "MEMORY", OUTPUT_BYTES},
	};

	printf("Bulkhead runs this machine: %s, %" JSON_INTEGER_FORMAT " processors, started by %s, build %s\n",
	       json_string_value(json_object_get(report, "back_end")),
	       json_integer_value(json_object_get(report, "processors")),
	       json_string_value(json_object_get(report, "started_by")),
	       json_string_value(json_object_get(report, "build")));
	print_points("Protected", json_object_get(report, "protected"));
	print_points("NOT protected", json_object_get(report, "unprotected"));
	printf("\n");
	output_table(json_object_get(report, "guests"), OUTPUT_COLUMNS(columns),
		     "Guests: none");
	print_memory(json_object_get(report, "memory"));
}

int status_run(const struct cli_context *context)
{
	struct bulkhead_status status;
	int device = machine_open(context);
	json_t *report;
	int result;

	if (device < 0)
		return CLI_FAILED;
	memset(&status, 0, sizeof(status));
	result = machine_request(context, device, BULKHEAD_DEVICE_STATUS, &status, "status");
	close(device);
	if (result != CLI_OK)
		return result;
	/* The texts come from a kernel that may be hostile to this program: end them here. */
	status.build_id[sizeof(status.build_id) - 1] = 0;
	status.back_end[sizeof(status.back_end) - 1] = 0;
	report = status_describe(&status);
	if (!report)
		return cli_fail(context, "status: the hypervisor's answer holds text that is not UTF-8; "
					 "install driver, hypervisor and command of the same release");
	if (cli_switch(context, "json"))
		output_json(report);
	else
		print_status(report);
	json_decref(report);
	return CLI_OK;
}
