/*
 * Collecting facts about a PC. Nothing here judges; capabilities.c does. A file that is missing or may not be read
 * leaves its fact empty or unknown.
 */
#include "facts.h"

#include <bulkhead/hypercall.h>
#include <cpuid.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MSR_VM_CR     0xc0010114u
#define VM_CR_SVMDIS  (1u << 4)
#define PATH_BYTES    512
#define SECURE_BOOT   "/sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c"

static void put_registers(char *text, uint32_t a, uint32_t b, uint32_t c)
{
	memcpy(text, &a, 4);
	memcpy(text + 4, &b, 4);
	memcpy(text + 8, &c, 4);
	text[12] = 0;
}

static void collect_model(struct facts *facts)
{
	uint32_t words[12] = {0};
	const char *start = (const char *)words;

	for (uint32_t i = 0; i < 3; i++)
		__cpuid(0x80000002u + i, words[4 * i], words[4 * i + 1], words[4 * i + 2], words[4 * i + 3]);
	while (*start == ' ' && start < (const char *)words + sizeof(words) - 1)
		start++;
	snprintf(facts->model, sizeof(facts->model), "%.*s",
		 (int)((const char *)words + sizeof(words) - start), start);
	for (size_t length = strlen(facts->model); length && facts->model[length - 1] == ' '; length--)
		facts->model[length - 1] = 0;
}

static void collect_processor(struct facts *facts)
{
	uint32_t eax, ebx, ecx, edx, highest;

	__cpuid(BULKHEAD_CPUID_BASE, eax, ebx, ecx, edx);
	facts->under_bulkhead = ebx == BULKHEAD_CPUID_EBX && ecx == BULKHEAD_CPUID_ECX && edx == BULKHEAD_CPUID_EDX;
	__cpuid(0, eax, ebx, ecx, edx);
	put_registers(facts->vendor, ebx, edx, ecx);
	__cpuid(1, eax, ebx, ecx, edx);
	facts->has_vmx = ecx >> 5 & 1;
	facts->has_x2apic = ecx >> 21 & 1;
	facts->is_guest = ecx >> 31 & 1;
	__cpuid(0x80000000u, highest, ebx, ecx, edx);
	if (highest >= 0x80000004u)
		collect_model(facts);
	if (highest >= 0x80000001u) {
		__cpuid(0x80000001u, eax, ebx, ecx, edx);
		facts->has_svm = ecx >> 2 & 1;
		facts->has_1gib_pages = edx >> 26 & 1;
	}
	if (highest >= 0x80000008u) {
		__cpuid(0x80000008u, eax, ebx, ecx, edx);
		facts->physical_bits = eax & 0xff;
	}
	if (facts->has_svm && highest >= 0x8000000au) {
		__cpuid(0x8000000au, eax, ebx, ecx, edx);
		facts->svm_features = edx;
		facts->has_npt = edx & 1;
	}
}

/** Reads up to @size - 1 bytes of a file below the root; returns the number read, 0 if it cannot be read. */
static size_t read_file(const char *root, const char *path, char *text, size_t size)
{
	char full[PATH_BYTES];
	ssize_t got = -1;
	int file;

	text[0] = 0;
	if (snprintf(full, sizeof(full), "%s%s", root, path) >= (int)sizeof(full))
		return 0;
	file = open(full, O_RDONLY | O_CLOEXEC);
	if (file < 0)
		return 0;
	got = read(file, text, size - 1);
	close(file);
	if (got < 0)
		got = 0;
	text[got] = 0;
	return (size_t)got;
}

/** The first line of a file, without the newline; printable ASCII only. */
static void read_line(const char *root, const char *path, char *text, size_t size)
{
	read_file(root, path, text, size);
	for (char *c = text; *c; c++) {
		if (*c == '\n') {
			*c = 0;
			break;
		}
		if ((unsigned char)*c < 0x20 || (unsigned char)*c >= 0x7f)
			*c = '?';
	}
}

static bool exists(const char *root, const char *path)
{
	char full[PATH_BYTES];

	return snprintf(full, sizeof(full), "%s%s", root, path) < (int)sizeof(full) && access(full, F_OK) == 0;
}

static bool folder_has_entries(const char *root, const char *path)
{
	char full[PATH_BYTES];
	struct dirent *entry;
	bool found = false;
	DIR *folder;

	if (snprintf(full, sizeof(full), "%s%s", root, path) >= (int)sizeof(full))
		return false;
	folder = opendir(full);
	while (folder && !found && (entry = readdir(folder)))
		found = entry->d_name[0] != '.';
	if (folder)
		closedir(folder);
	return found;
}

static enum facts_answer svm_locked(const char *root)
{
	char full[PATH_BYTES];
	uint64_t value;
	ssize_t got;
	int file;

	if (snprintf(full, sizeof(full), "%s/dev/cpu/0/msr", root) >= (int)sizeof(full))
		return FACTS_UNKNOWN;
	file = open(full, O_RDONLY | O_CLOEXEC);
	if (file < 0)
		return FACTS_UNKNOWN;
	got = pread(file, &value, sizeof(value), MSR_VM_CR);
	close(file);
	if (got != sizeof(value))
		return FACTS_UNKNOWN;
	return value & VM_CR_SVMDIS ? FACTS_YES : FACTS_NO;
}

static uint64_t memory_bytes(const char *root)
{
	char text[512];
	const char *found;

	read_file(root, "/proc/meminfo", text, sizeof(text));
	found = strstr(text, "MemTotal:");
	return found ? strtoull(found + strlen("MemTotal:"), NULL, 10) * 1024 : 0;
}

static uint32_t lines_of(const char *root, const char *path)
{
	char text[4096];
	uint32_t lines = 0;

	read_file(root, path, text, sizeof(text));
	for (const char *c = text; *c; c++)
		lines += *c == '\n';
	return lines;
}

static void collect_firmware(struct facts *facts, const char *root)
{
	char version[48], date[24], maker[48], variable[16];

	facts->uefi = exists(root, "/sys/firmware/efi");
	facts->secure_boot = FACTS_UNKNOWN;
	/* Four bytes of attributes, then the value. */
	if (read_file(root, SECURE_BOOT, variable, sizeof(variable)) >= 5)
		facts->secure_boot = variable[4] == 1 ? FACTS_YES : FACTS_NO;
	else if (!facts->uefi)
		facts->secure_boot = FACTS_NO;
	read_line(root, "/sys/class/dmi/id/sys_vendor", facts->maker, sizeof(facts->maker));
	read_line(root, "/sys/class/dmi/id/product_name", facts->product, sizeof(facts->product));
	read_line(root, "/sys/class/dmi/id/bios_vendor", maker, sizeof(maker));
	read_line(root, "/sys/class/dmi/id/bios_version", version, sizeof(version));
	read_line(root, "/sys/class/dmi/id/bios_date", date, sizeof(date));
	if (version[0])
		snprintf(facts->firmware, sizeof(facts->firmware), "%s %s %s", maker, version, date);
	else
		strcpy(facts->firmware, "unknown");
}

static void collect_tpm(struct facts *facts, const char *root)
{
	char text[16];

	if (read_file(root, "/sys/class/tpm/tpm0/tpm_version_major", text, sizeof(text)))
		facts->tpm_major = (uint32_t)strtoul(text, NULL, 10);
	else if (exists(root, "/sys/class/tpm/tpm0"))
		facts->tpm_major = 1; /* kernels show the version of 2.0 chips only, before 5.6 */
}

void facts_collect(struct facts *facts, const char *root)
{
	char text[32];

	memset(facts, 0, sizeof(*facts));
	collect_processor(facts);
	facts->svm_locked = svm_locked(root);
	read_line(root, "/sys/devices/system/cpu/cpu0/microcode/version", text, sizeof(text));
	facts->microcode = (uint32_t)strtoul(text, NULL, 16);
	facts->processors = (uint32_t)sysconf(_SC_NPROCESSORS_CONF);
	facts->memory_bytes = memory_bytes(root);
	if (exists(root, "/sys/firmware/acpi/tables/IVRS"))
		strcpy(facts->iommu, "amd");
	else if (exists(root, "/sys/firmware/acpi/tables/DMAR"))
		strcpy(facts->iommu, "intel");
	facts->iommu_in_use = folder_has_entries(root, "/sys/class/iommu");
	collect_tpm(facts, root);
	collect_firmware(facts, root);
	read_line(root, "/sys/power/mem_sleep", facts->suspend, sizeof(facts->suspend));
	facts->mtrr_ranges = lines_of(root, "/proc/mtrr");
}

static json_t *answer(enum facts_answer value)
{
	return value == FACTS_UNKNOWN ? json_null() : json_boolean(value == FACTS_YES);
}

json_t *facts_describe(const struct facts *facts)
{
	json_t *report = json_pack(
		"{s:b, s:s, s:s, s:I, s:b, s:b, s:b, s:b, s:b, s:b, s:I, s:I, s:I, s:I}", "under_bulkhead",
		facts->under_bulkhead, "vendor", facts->vendor, "processor", facts->model, "microcode",
		(json_int_t)facts->microcode, "svm", facts->has_svm, "nested_paging", facts->has_npt, "vmx",
		facts->has_vmx, "pages_1gib", facts->has_1gib_pages, "x2apic", facts->has_x2apic, "virtual_machine",
		facts->is_guest, "svm_features", (json_int_t)facts->svm_features, "physical_bits",
		(json_int_t)facts->physical_bits, "processors", (json_int_t)facts->processors, "memory_bytes",
		(json_int_t)facts->memory_bytes);

	if (!report)
		return NULL;
	json_object_set_new(report, "svm_locked_by_firmware", answer(facts->svm_locked));
	json_object_set_new(report, "secure_boot", answer(facts->secure_boot));
	json_object_set_new(report, "uefi", json_boolean(facts->uefi));
	json_object_set_new(report, "iommu", facts->iommu[0] ? json_string(facts->iommu) : json_null());
	json_object_set_new(report, "iommu_driven_by_linux", json_boolean(facts->iommu_in_use));
	json_object_set_new(report, "tpm", json_integer(facts->tpm_major));
	json_object_set_new(report, "maker", json_string(facts->maker));
	json_object_set_new(report, "product", json_string(facts->product));
	json_object_set_new(report, "firmware", json_string(facts->firmware));
	json_object_set_new(report, "suspend", json_string(facts->suspend));
	json_object_set_new(report, "mtrr_ranges", json_integer(facts->mtrr_ranges));
	return report;
}
