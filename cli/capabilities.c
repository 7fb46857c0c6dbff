/*
 * `bulkhead capabilities`. One table: a requirement, how to judge it, what to say. The same collection prints the entry
 * that docs/hardware.md keeps of real machines.
 */
#include "capabilities.h"
#include "machine.h"
#include "output.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define MIB (1ull << 20)
/** Less than this, and the hypervisor, a service domain and one guest do not fit. */
#define MEMORY_MIN_BYTES  (900 * MIB)
#define MEMORY_GOOD_BYTES (7000 * MIB)
#define REQUIREMENTS	  8

struct verdict {
	enum capability capability;
	const char *text, *remedy;
};

static struct verdict judge_processor(const struct facts *facts)
{
	if (facts->under_bulkhead)
		return (struct verdict){CAPABILITY_GOOD, "Bulkhead runs on this machine now", NULL};
	if (facts->has_svm)
		return (struct verdict){CAPABILITY_GOOD, "the processor has AMD virtualization (SVM)", NULL};
	if (facts->has_vmx)
		return (struct verdict){CAPABILITY_MISSING,
					"the processor has Intel virtualization (VT-x), which this release does not use",
					"use a machine with an AMD processor"};
	if (facts->is_guest)
		return (struct verdict){CAPABILITY_MISSING,
					"this is a virtual machine without nested virtualization",
					"run it on the PC itself, or give the virtual machine SVM"};
	return (struct verdict){CAPABILITY_MISSING, "the processor shows no virtualization (SVM)",
				"enable SVM in the firmware's settings; without such a setting use another machine"};
}

static struct verdict judge_lock(const struct facts *facts)
{
	if (facts->under_bulkhead || facts->svm_locked == FACTS_NO)
		return (struct verdict){CAPABILITY_GOOD, "firmware leaves SVM on", NULL};
	if (facts->svm_locked == FACTS_YES)
		return (struct verdict){CAPABILITY_MISSING, "firmware has switched SVM off and locked it (VM_CR)",
					"enable SVM in the firmware's settings, then power off and on"};
	return (struct verdict){CAPABILITY_UNKNOWN, "whether firmware has locked SVM cannot be read",
				"run as root, after `modprobe msr`"};
}

static struct verdict judge_nested_paging(const struct facts *facts)
{
	if (facts->under_bulkhead || facts->has_npt)
		return (struct verdict){CAPABILITY_GOOD, "the processor has nested paging", NULL};
	return (struct verdict){CAPABILITY_MISSING, "the processor has no nested paging", "use another machine"};
}

static struct verdict judge_memory(const struct facts *facts)
{
	if (facts->memory_bytes == 0)
		return (struct verdict){CAPABILITY_UNKNOWN, "the size of memory cannot be read", "mount /proc"};
	if (facts->memory_bytes < MEMORY_MIN_BYTES)
		return (struct verdict){CAPABILITY_MISSING, "too little memory for a hypervisor and a guest",
					"1 GiB is the least, 8 GiB and more make sense"};
	if (facts->memory_bytes < MEMORY_GOOD_BYTES)
		return (struct verdict){CAPABILITY_WEAK, "memory is enough to run, not for two desktop guests",
					"8 GiB and more make sense"};
	return (struct verdict){CAPABILITY_GOOD, "memory is enough", NULL};
}

static struct verdict judge_iommu(const struct facts *facts)
{
	if (strcmp(facts->iommu, "amd") == 0)
		return (struct verdict){CAPABILITY_GOOD, "an IOMMU (AMD-Vi) can contain devices", NULL};
	if (strcmp(facts->iommu, "intel") == 0)
		return (struct verdict){CAPABILITY_WEAK,
					"an Intel IOMMU (VT-d), which this release does not use: DMA is not contained",
					"use a machine with AMD-Vi where devices are not trusted"};
	/* The hypervisor keeps its IOMMU's table from Linux; only its own report knows. */
	if (facts->under_bulkhead)
		return (struct verdict){CAPABILITY_GOOD, "the hypervisor holds the IOMMU, if there is one",
					NULL};
	return (struct verdict){CAPABILITY_WEAK, "no IOMMU: devices reach all memory (DMA is not contained)",
				"enable the IOMMU in the firmware's settings"};
}

static struct verdict judge_firmware(const struct facts *facts)
{
	if (facts->uefi)
		return (struct verdict){CAPABILITY_GOOD, "UEFI firmware", NULL};
	return (struct verdict){CAPABILITY_WEAK, "not started by UEFI firmware: nothing verified or measured the boot",
				"switch the firmware from legacy (CSM) to UEFI"};
}

static struct verdict judge_secure_boot(const struct facts *facts)
{
	if (facts->secure_boot == FACTS_YES)
		return (struct verdict){CAPABILITY_GOOD, "Secure Boot is on", NULL};
	if (facts->secure_boot == FACTS_NO)
		return (struct verdict){CAPABILITY_WEAK, "Secure Boot is off",
					"enrol the platform's key and switch it on"};
	return (struct verdict){CAPABILITY_UNKNOWN, "whether Secure Boot is on cannot be read",
				"mount efivarfs on /sys/firmware/efi/efivars"};
}

static struct verdict judge_tpm(const struct facts *facts)
{
	if (facts->tpm_major >= 2)
		return (struct verdict){CAPABILITY_GOOD, "a TPM 2.0 can hold keys", NULL};
	return (struct verdict){CAPABILITY_WEAK,
				facts->tpm_major ? "the TPM is older than 2.0" : "no TPM: no key is bound to this machine",
				"enable the TPM 2.0 in the firmware's settings"};
}

static const struct requirement {
	const char *key;
	struct verdict (*judge)(const struct facts *facts);
} requirements[REQUIREMENTS] = {
	{"processor", judge_processor},
	{"svm_unlocked", judge_lock},
	{"nested_paging", judge_nested_paging},
	{"memory", judge_memory},
	{"iommu", judge_iommu},
	{"firmware", judge_firmware},
	{"secure_boot", judge_secure_boot},
	{"tpm", judge_tpm},
};

static const char *const names[] = {
	[CAPABILITY_GOOD] = "good",
	[CAPABILITY_WEAK] = "weak",
	[CAPABILITY_UNKNOWN] = "unknown",
	[CAPABILITY_MISSING] = "missing",
};

json_t *capabilities_judge(const struct facts *facts)
{
	json_t *verdicts = json_array();

	for (size_t i = 0; i < REQUIREMENTS; i++) {
		struct verdict verdict = requirements[i].judge(facts);
		json_t *entry = json_pack("{s:s, s:s, s:s}", "key", requirements[i].key, "verdict",
					  names[verdict.capability], "text", verdict.text);

		if (verdict.remedy)
			json_object_set_new(entry, "remedy", json_string(verdict.remedy));
		json_array_append_new(verdicts, entry);
	}
	return verdicts;
}

bool capabilities_suffice(const json_t *verdicts)
{
	size_t index;
	json_t *entry;

	json_array_foreach(verdicts, index, entry)
		if (strcmp(json_string_value(json_object_get(entry, "verdict")), names[CAPABILITY_MISSING]) == 0)
			return false;
	return true;
}

static void print_verdicts(const struct facts *facts, const json_t *verdicts)
{
	size_t index;
	json_t *entry;

	printf("%s\n\n", !capabilities_suffice(verdicts) ? "This machine cannot run Bulkhead."
			 : facts->under_bulkhead	 ? "This machine runs Bulkhead."
							 : "This machine can run Bulkhead.");
	json_array_foreach(verdicts, index, entry) {
		const char *remedy = json_string_value(json_object_get(entry, "remedy"));

		printf("%-8s %s\n", json_string_value(json_object_get(entry, "verdict")),
		       json_string_value(json_object_get(entry, "text")));
		if (remedy)
			printf("%8s   remedy: %s\n", "", remedy);
	}
}

static const char *word(enum facts_answer value)
{
	return value == FACTS_UNKNOWN ? "unknown" : value == FACTS_YES ? "yes" : "no";
}

/** The machine's entry in the form docs/hardware.md has. */
static void print_entry(const struct facts *facts, const json_t *verdicts)
{
	char date[16], memory[16];
	time_t now = time(NULL);
	struct tm broken_down;

	if (!gmtime_r(&now, &broken_down) || !strftime(date, sizeof(date), "%Y-%m-%d", &broken_down))
		strcpy(date, "unknown date");
	printf("## %s %s\n\n", facts->maker[0] ? facts->maker : "Unknown maker",
	       facts->product[0] ? facts->product : "unknown model");
	printf("| fact | value |\n|---|---|\n");
	printf("| looked at | %s, %s Bulkhead |\n", date, facts->under_bulkhead ? "under" : "without");
	printf("| verdict | %s |\n", capabilities_suffice(verdicts) ? "can run Bulkhead" : "cannot run Bulkhead");
	printf("| firmware | %s; %s; Secure Boot: %s |\n", facts->firmware, facts->uefi ? "UEFI" : "legacy",
	       word(facts->secure_boot));
	printf("| processor | %s, %u threads, microcode %#x |\n", facts->model, facts->processors, facts->microcode);
	printf("| virtualization | SVM: %s, features %#x, locked: %s; VT-x: %s; 1 GiB pages: %s; %u physical bits |\n",
	       word(facts->has_svm ? FACTS_YES : FACTS_NO), facts->svm_features, word(facts->svm_locked),
	       word(facts->has_vmx ? FACTS_YES : FACTS_NO), word(facts->has_1gib_pages ? FACTS_YES : FACTS_NO),
	       facts->physical_bits);
	printf("| memory | %s; MTRR ranges: %u |\n", output_bytes(facts->memory_bytes, memory), facts->mtrr_ranges);
	printf("| IOMMU | %s; driven by Linux: %s; x2APIC: %s |\n", facts->iommu[0] ? facts->iommu : "none seen",
	       word(facts->iommu_in_use ? FACTS_YES : FACTS_NO), word(facts->has_x2apic ? FACTS_YES : FACTS_NO));
	printf("| TPM | %u |\n", facts->tpm_major);
	printf("| suspend | %s |\n| ran | say here what was tried and what happened |\n", facts->suspend);
}

int capabilities_run(const struct cli_context *context)
{
	json_t *verdicts, *described;
	struct facts facts;
	bool suffices;

	facts_collect(&facts, "");
	verdicts = capabilities_judge(&facts);
	suffices = capabilities_suffice(verdicts);
	if (cli_switch(context, "json")) {
		described = facts_describe(&facts);
		json_t *report = json_pack("{s:b, s:O, s:o}", "can_run", suffices, "requirements", verdicts, "facts",
					   described ? described : json_null());

		output_json(report);
		json_decref(report);
	} else if (cli_switch(context, "facts")) {
		print_entry(&facts, verdicts);
	} else {
		print_verdicts(&facts, verdicts);
	}
	json_decref(verdicts);
	return suffices ? CLI_OK : CLI_FAILED;
}
