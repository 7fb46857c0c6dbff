/* SPDX-License-Identifier: MIT */
/*
 * A guest's PCI bus: one bus, up to 32 single-function devices, type 0 headers, memory BARs, capabilities.
 *
 * Configuration space is a byte array with a mask of the bits a guest may write. BARs are the one place where writing
 * has a meaning here: a guest sizes and places them, and pci_find_bar() tells which function answers at an address.
 */
#ifndef BULKHEAD_PLATFORM_PCI_H
#define BULKHEAD_PLATFORM_PCI_H

#include <stdbool.h>
#include <stdint.h>

#define PCI_SLOTS	  32u
#define PCI_CONFIG_BYTES  256u
#define PCI_BARS	  6u
#define PCI_ECAM_BUS_BYTES (1u << 20)

/** One device's function 0. */
struct pci_function {
	uint8_t config[PCI_CONFIG_BYTES];
	uint8_t writable[PCI_CONFIG_BYTES]; /**< bits a guest may change */
	uint32_t bar_bytes[PCI_BARS];	    /**< 0: none; a power of two, at least 4096 */
	uint8_t capabilities_end;	    /**< first free byte behind the last capability */
	uint8_t last_capability;	    /**< where the last capability stands; 0: none */

	/** Told after a guest's write to configuration space; may be NULL. */
	void (*written)(struct pci_function *function, uint32_t offset, uint32_t size_bytes);
	/** Told before a guest's read, to refresh what it will see; may be NULL. */
	void (*reading)(struct pci_function *function, uint32_t offset, uint32_t size_bytes);
	/** Reads 1, 2, 4 or 8 bytes of a BAR. */
	uint64_t (*bar_read)(struct pci_function *function, unsigned int bar, uint32_t offset,
			     uint32_t size_bytes);
	/** Writes 1, 2, 4 or 8 bytes of a BAR. */
	void (*bar_write)(struct pci_function *function, unsigned int bar, uint32_t offset, uint32_t size_bytes,
			  uint64_t value);
};

struct pci_bus {
	struct pci_function *functions[PCI_SLOTS]; /**< NULL: no device */
	uint32_t address;			   /**< latch of port CF8h */
	struct pci_function *last;		   /**< whose BAR answered last; NULL: none yet */
	unsigned int last_bar;
};

/** What a function is, for its header. */
struct pci_identity {
	uint16_t vendor, device, subsystem_vendor, subsystem;
	uint32_t class_code; /**< class << 16 | subclass << 8 | interface */
	uint8_t revision;
};

/** Sets up a header with no BARs and no capabilities; callbacks stay as they are. */
void pci_init(struct pci_function *function, const struct pci_identity *identity);

/** Adds a 64-bit memory BAR, which takes numbers @bar and @bar + 1. @size_bytes: a power of two, at least 4096. */
void pci_add_bar(struct pci_function *function, unsigned int bar, uint32_t size_bytes);

/**
 * Adds a capability behind the last one.
 * @id: capability id; @body: its bytes from offset 2 on; @writable: mask of the same length, or NULL for read-only
 * Returns its offset, or 0 if configuration space is full.
 */
uint8_t pci_add_capability(struct pci_function *function, uint8_t id, const uint8_t *body, const uint8_t *writable,
			   uint8_t body_bytes);

/** Configuration access of 1, 2 or 4 bytes that does not cross a double word; absent functions read as ones. */
uint32_t pci_config_read(struct pci_bus *bus, unsigned int slot, uint32_t offset, uint32_t size_bytes);
void pci_config_write(struct pci_bus *bus, unsigned int slot, uint32_t offset, uint32_t size_bytes, uint32_t value);

/** Port access to CF8h..CFFh (configuration mechanism 1). */
uint32_t pci_port_read(struct pci_bus *bus, uint16_t port, uint32_t size_bytes);
void pci_port_write(struct pci_bus *bus, uint16_t port, uint32_t size_bytes, uint32_t value);

/** ECAM access at @offset of the bus's megabyte. Beyond bus 0 and function 0 nothing answers. */
uint32_t pci_ecam_read(struct pci_bus *bus, uint64_t offset, uint32_t size_bytes);
void pci_ecam_write(struct pci_bus *bus, uint64_t offset, uint32_t size_bytes, uint32_t value);

/** Where a BAR lies now, or 0 if memory decoding is off or there is no such BAR. */
uint64_t pci_bar_address(const struct pci_function *function, unsigned int bar);

/**
 * Finds the BAR that answers for @size_bytes at @address. Where a guest has laid several, one of them does.
 * Returns the function and sets @bar and @offset, or NULL if none does.
 */
struct pci_function *pci_find_bar(struct pci_bus *bus, uint64_t address, uint32_t size_bytes, unsigned int *bar,
				  uint32_t *offset);

#endif
