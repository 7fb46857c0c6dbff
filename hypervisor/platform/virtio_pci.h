/* SPDX-License-Identifier: MIT */
/*
 * The virtio 1.x PCI transport (virtio 1.2, section 4.1): what a guest's driver sees of a device, whoever serves it.
 *
 * One BAR holds the transport's four regions, the other the MSI-X table and its pending bits. The transport keeps the
 * driver's choices (features, queues, vectors, status), checks them, and tells the device's owner through a small
 * table of callbacks. It knows nothing of what the device does.
 */
#ifndef BULKHEAD_PLATFORM_VIRTIO_PCI_H
#define BULKHEAD_PLATFORM_VIRTIO_PCI_H

#include "pci.h"

#define VIRTIO_QUEUES_MAX  8u
#define VIRTIO_VECTORS_MAX (VIRTIO_QUEUES_MAX + 1)
#define VIRTIO_CONFIG_MAX  256u
#define VIRTIO_NO_VECTOR   0xffffu

/* Firmware counts BARs, not registers, and so finds only the first of two 64-bit ones by its number. */
#define VIRTIO_BAR_REGISTERS  0u
#define VIRTIO_BAR_INTERRUPTS 2u

#define VIRTIO_F_RING_INDIRECT (1ull << 28)
#define VIRTIO_F_EVENT_INDEX   (1ull << 29)
#define VIRTIO_F_VERSION_1     (1ull << 32)

/* Bits of the device status (2.1). */
enum {
	VIRTIO_STATUS_ACKNOWLEDGE = 1,
	VIRTIO_STATUS_DRIVER = 2,
	VIRTIO_STATUS_DRIVER_OK = 4,
	VIRTIO_STATUS_FEATURES_OK = 8,
	VIRTIO_STATUS_NEEDS_RESET = 64,
	VIRTIO_STATUS_FAILED = 128,
};

struct virtio_device;

/** What a device's owner does when the driver acts. Every one may be NULL. */
struct virtio_owner {
	/** The driver is ready: features and queues are final until the next reset. */
	void (*start)(struct virtio_device *device);
	/** The driver has reset the device; whatever is in flight must be forgotten before this returns. */
	void (*reset)(struct virtio_device *device);
	/** The driver notified a queue; it may do so even if the device needs a reset. */
	void (*notify)(struct virtio_device *device, unsigned int queue);
	/** The driver wrote to the device's own configuration (already stored). */
	void (*config_written)(struct virtio_device *device, uint32_t offset, uint32_t size_bytes);
	/** An MSI-X entry changed, or was masked or unmasked. */
	void (*vector_changed)(struct virtio_device *device, unsigned int vector);
};

/** One queue as the driver set it up. Addresses are the guest's. */
struct virtio_pci_queue {
	uint64_t descriptors, available, used;
	uint16_t size_max, size, vector;
	bool enabled;
};

/** An MSI-X table entry (PCI Local Bus 3.0, 6.8.2.9). */
struct virtio_vector {
	uint64_t address;
	uint32_t data;
	uint32_t control; /**< bit 0: masked */
};

struct virtio_device {
	struct pci_function pci; /**< first, so that a bus can name the device */
	const struct virtio_owner *owner;
	void *context; /**< the owner's */

	uint64_t features_offered, features_accepted;
	uint32_t feature_select_device, feature_select_driver;
	uint16_t queue_count, queue_select, config_vector;
	uint8_t status, isr, config_generation;
	uint8_t held_status; /**< what the driver reads while its reset is not done; 0: none waits */
	uint8_t last_status; /**< before the reset */
	uint8_t msix_capability, window_capability; /**< where they stand in configuration space */
	uint32_t pending;	 /**< MSI-X pending bits */

	struct virtio_pci_queue queues[VIRTIO_QUEUES_MAX];
	struct virtio_vector vectors[VIRTIO_VECTORS_MAX];
	uint32_t config_bytes, config_writable_bytes;
	uint8_t config[VIRTIO_CONFIG_MAX];
};

/** What a device is; constant. */
struct virtio_identity {
	uint16_t type;	     /**< virtio device id (section 5): 1 network, 2 block, 3 console, 4 entropy, 5 balloon */
	uint32_t class_code; /**< PCI class, as in struct pci_identity */
	uint64_t features;   /**< offered besides VIRTIO_F_VERSION_1 */
	uint16_t queue_count;
	uint16_t queue_size_max; /**< a power of two */
	uint32_t config_bytes;	 /**< of device configuration, up to VIRTIO_CONFIG_MAX */
	uint32_t config_writable_bytes; /**< of these, the first ones a driver may write */
};

/** Sets a device up as after power-on. @owner and @context are kept; @identity is not. */
void virtio_pci_init(struct virtio_device *device, const struct virtio_identity *identity,
		     const struct virtio_owner *owner, void *context);

/** Fills the device's configuration from @config (config_bytes long) and bumps its generation. */
void virtio_pci_set_config(struct virtio_device *device, const void *config);

/** A message that an interrupt is to be delivered with. */
struct virtio_message {
	uint64_t address;
	uint32_t data;
};

/**
 * Raises the interrupt of a queue, or (@queue < 0) of a configuration change.
 * Returns true and sets @message if it is to be sent now; false if the driver has no vector for it, or has masked it
 * (it is then pending, and sent by virtio_pci_take_pending() once unmasked).
 */
bool virtio_pci_interrupt(struct virtio_device *device, int queue, struct virtio_message *message);

/** Takes one pending interrupt whose vector is no longer masked. Returns false if there is none. */
bool virtio_pci_take_pending(struct virtio_device *device, struct virtio_message *message);

/** Fills @message with a vector's message. Returns false, and leaves it alone, while the vector is masked. */
bool virtio_pci_vector_message(const struct virtio_device *device, unsigned int vector,
			       struct virtio_message *message);

/** Says that the device cannot go on without a reset (2.1.2): a broken queue or a dead backend. */
void virtio_pci_needs_reset(struct virtio_device *device);

/**
 * From the owner's reset callback: the driver goes on reading the old status, and its writes are lost, until
 * virtio_pci_finish_reset().
 */
void virtio_pci_hold_reset(struct virtio_device *device);

/** The reset is done. Returns false if none was held. */
bool virtio_pci_finish_reset(struct virtio_device *device);

/** Sets the largest size of a queue: a power of two, or 0 so that the driver finds no such queue. */
void virtio_pci_offer_queue(struct virtio_device *device, unsigned int queue, uint16_t size_max);

/** Whether the driver has finished setting up and not reset since. */
bool virtio_pci_is_running(const struct virtio_device *device);

#endif
