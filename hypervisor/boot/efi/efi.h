/* SPDX-License-Identifier: MIT */
/*
 * The parts of UEFI that the loader uses (UEFI 2.10, PI 1.8, TCG EFI Protocol 1.0). Members in between
 * are named unused.
 */
#ifndef BULKHEAD_BOOT_EFI_H
#define BULKHEAD_BOOT_EFI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define EFIAPI __attribute__((ms_abi))

typedef uint64_t efi_status;
typedef void *efi_handle;

#define EFI_SUCCESS	     0ull
#define EFI_ERROR	     (1ull << 63)
#define EFI_INVALID	     (EFI_ERROR | 2)
#define EFI_BUFFER_TOO_SMALL (EFI_ERROR | 5)
#define EFI_UNSUPPORTED	     (EFI_ERROR | 3)

struct efi_guid {
	uint32_t a;
	uint16_t b, c;
	uint8_t d[8];
};

/** Memory types (UEFI 7.2). */
enum efi_memory_type {
	EFI_RESERVED = 0,
	EFI_LOADER_CODE,
	EFI_LOADER_DATA,
	EFI_BOOT_CODE,
	EFI_BOOT_DATA,
	EFI_RUNTIME_CODE,
	EFI_RUNTIME_DATA,
	EFI_CONVENTIONAL,
	EFI_UNUSABLE,
	EFI_ACPI_RECLAIM,
	EFI_ACPI_NVS,
	EFI_MMIO,
	EFI_MMIO_PORT,
	EFI_PAL_CODE,
	EFI_PERSISTENT,
	EFI_UNACCEPTED,
};

#define EFI_ALLOCATE_ADDRESS 2

struct efi_memory {
	uint32_t type, pad;
	uint64_t base, virtual, pages, attributes;
};

struct efi_text_output {
	void *unused;
	efi_status(EFIAPI *output)(struct efi_text_output *self, const uint16_t *text);
};

struct efi_boot_services {
	uint8_t header[24];
	void *unused1[2];
	efi_status(EFIAPI *allocate_pages)(uint32_t how, uint32_t type, uint64_t pages,
					   uint64_t *address);
	efi_status(EFIAPI *free_pages)(uint64_t address, uint64_t pages);
	efi_status(EFIAPI *get_memory_map)(uint64_t *size, void *map, uint64_t *key,
					   uint64_t *entry_bytes, uint32_t *version);
	efi_status(EFIAPI *allocate_pool)(uint32_t type, uint64_t size, void **buffer);
	efi_status(EFIAPI *free_pool)(void *buffer);
	void *unused2[9];
	efi_status(EFIAPI *handle_protocol)(efi_handle handle, const struct efi_guid *guid,
					    void **interface);
	void *unused3[5];
	efi_status(EFIAPI *load_image)(uint8_t boot_policy, efi_handle parent, void *path,
				       const void *source, uint64_t size, efi_handle *image);
	efi_status(EFIAPI *start_image)(efi_handle image, uint64_t *exit_size, uint16_t **exit_data);
	void *unused4[4];
	efi_status(EFIAPI *stall)(uint64_t microseconds);
	efi_status(EFIAPI *set_watchdog)(uint64_t seconds, uint64_t code, uint64_t size,
					 const uint16_t *text);
	void *unused5[7];
	efi_status(EFIAPI *locate_protocol)(const struct efi_guid *guid, void *registration,
					    void **interface);
	efi_status(EFIAPI *install_protocols)(efi_handle *handle, ...);
};

struct efi_runtime_services {
	uint8_t header[24];
	void *unused[6];
	efi_status(EFIAPI *get_variable)(const uint16_t *name, const struct efi_guid *vendor,
					 uint32_t *attributes, uint64_t *size, void *data);
};

struct efi_configuration_table {
	struct efi_guid guid;
	void *table;
};

struct efi_system_table {
	uint8_t header[24];
	uint16_t *vendor;
	uint32_t revision, pad;
	void *unused1[3];
	struct efi_text_output *console;
	void *unused2[2];
	struct efi_runtime_services *runtime;
	struct efi_boot_services *boot;
	uint64_t table_count;
	struct efi_configuration_table *tables;
};

struct efi_loaded_image {
	uint32_t revision, pad;
	efi_handle parent;
	struct efi_system_table *system;
	efi_handle device;
	void *path, *reserved;
	uint32_t options_bytes, pad2;
	void *options;
	void *base;
	uint64_t size_bytes;
};

struct efi_mp_services {
	efi_status(EFIAPI *count)(struct efi_mp_services *self, uint64_t *count, uint64_t *enabled);
	void *unused;
	efi_status(EFIAPI *start_all)(struct efi_mp_services *self, void(EFIAPI *procedure)(void *),
				      uint8_t one_by_one, void *event, uint64_t timeout_us,
				      void *argument, uint64_t **failed);
};

/** UEFI 2.10, 37.8: rights of pages in the firmware's own tables. */
struct efi_memory_attributes {
	void *unused[2];
	efi_status(EFIAPI *clear)(struct efi_memory_attributes *self, uint64_t base, uint64_t bytes,
				  uint64_t attributes);
};

#define EFI_MEMORY_NO_EXECUTE	0x4000ull

struct efi_load_file {
	efi_status(EFIAPI *load)(struct efi_load_file *self, void *path, uint8_t boot_policy,
				 uint64_t *size, void *buffer);
};

/** TCG EFI Protocol, 6. */
struct efi_tcg_event {
	uint32_t size_bytes;
	uint32_t header_bytes; /* 14, packed */
	uint16_t header_version;
	uint32_t register_index;
	uint32_t event_type;
	uint8_t text[32];
} __attribute__((packed));

struct efi_tcg {
	void *unused[2];
	efi_status(EFIAPI *hash_log_extend)(struct efi_tcg *self, uint64_t flags, uint64_t data,
					    uint64_t size, const struct efi_tcg_event *event);
};

extern const struct efi_guid efi_guid_loaded_image, efi_guid_mp_services, efi_guid_tcg,
	efi_guid_load_file2, efi_guid_device_path, efi_guid_acpi20, efi_guid_acpi10,
	efi_guid_global_variable, efi_guid_memory_attributes;

#endif
