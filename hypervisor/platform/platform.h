/* SPDX-License-Identifier: MIT */
/*
 * One guest's platform: a PCI bus with a chipset and virtio devices, whose queues the relay serves, and what
 * accesses to them leave to do for others.
 *
 * No locks and no ownership here: whoever calls holds the platform alone, and gives it memories that the accessors of
 * memory.h reach. Work is bounded: an access or a call of platform_work() copies at most PLATFORM_BUDGET_BYTES.
 */
#ifndef BULKHEAD_PLATFORM_PLATFORM_H
#define BULKHEAD_PLATFORM_PLATFORM_H

#include <bulkhead/platform.h>

#include "address_map.h"
#include "apic_bus.h"
#include "balloon.h"
#include "chipset.h"
#include "fw_cfg.h"
#include "relay.h"
#include "virtio_pci.h"

#define PLATFORM_RELAYS_MAX   16u /* relay areas of one guest */
#define PLATFORM_BUDGET_BYTES 65536u

#define PLATFORM_BALLOON_WAITS (1u << 31)

struct platform;

/** A virtio device of the guest's. */
struct platform_device {
	struct virtio_device device; /**< first: the transport's callbacks get its address */
	struct platform *platform;
	uint8_t slot, number;			/**< PCI device number; order of creation */
	uint8_t relay_of[BULKHEAD_QUEUES_MAX];	/**< 1 + index in relays; 0: no area, not offered */
	uint16_t queue_size_max;
	bool is_disk;
	bool is_started;			/**< its backend may be using the relay areas */
};

/** A queue's relay. */
struct platform_relay {
	struct relay_queue queue;
	struct memory *area;
	uint8_t device, number; /**< index in devices; of the queue */
};

/** What a guest's driver did with a device; event 0: nothing. */
struct platform_event {
	uint32_t slot, event; /**< enum bulkhead_device_event */
	uint64_t features;    /**< accepted, without those of the guest's own ring */
	uint32_t queues;      /**< bit per enabled queue */
};

/** What is to be done for others after accesses and calls. */
struct platform_effects {
	uint64_t doorbells; /**< bit (device number * 8 + queue): kick the backend */
	uint32_t vcpus;	    /**< bit per vCPU to wake */
	struct platform_event event;
	uint64_t given_up[BALLOON_STEP_PAGES]; /**< guest addresses of pages that can be taken back */
	uint64_t wanted[BALLOON_STEP_PAGES];   /**< guest addresses to be filled before it goes on */
	uint32_t given_up_count, wanted_count;
	bool needs_table;   /**< a page table has to be paid for the guest before it goes on */
	bool is_unfinished; /**< the port write is to be made again, after what else is pending */
};

struct platform {
	struct apic_bus apics; /**< does without the platform's lock: see there */
	struct memory *memory; /**< the guest's */
	struct pci_bus bus;
	struct chipset chipset;
	uint32_t device_count, relay_count;
	struct platform_device devices[BULKHEAD_DEVICES_MAX];
	uint32_t waiting; /**< bit per relay that stopped at its budget with requests left; PLATFORM_BALLOON_WAITS */
	struct platform_device *balloon_device; /**< NULL: none */
	struct balloon balloon;
	struct platform_effects effects;
	struct fw_cfg firmware; /**< firmware configuration, in the guest's memory; base 0: none */
	struct platform_relay relays[PLATFORM_RELAYS_MAX];
};

/** Starts a platform in cleared memory. @memory: the guest's; must outlive it */
void platform_init(struct platform *platform, struct memory *memory);

/** Whether a description's fields are all in their ranges. */
bool platform_description_is_valid(const struct bulkhead_device_description *description);

/** The device at a PCI slot, or NULL. */
struct platform_device *platform_find(struct platform *platform, uint64_t slot);

/**
 * Whether a device of this description can be added: fewer than BULKHEAD_DEVICES_MAX exist, and a balloon is the only one
 * and has its two queues and its configuration.
 */
bool platform_has_room(const struct platform *platform, const struct bulkhead_device_description *description);

/**
 * Adds a device. The slot (1 to 30) is free, the description is valid and there is room for it. Its queues are not offered
 * to the guest before they have a relay area; a balloon's are, and never get one.
 */
void platform_add_device(struct platform *platform, uint8_t slot,
			 const struct bulkhead_device_description *description);

/** Gives a queue its relay area. It has none yet and fewer than PLATFORM_RELAYS_MAX exist. */
void platform_add_relay(struct platform *platform, struct platform_device *device, uint8_t queue,
			struct memory *area);

/** Says how much RAM the guest has from address 0 on. */
void platform_set_ram(struct platform *platform, uint64_t low_bytes);

/** Says where in the guest's memory the firmware configuration lies. @address: not 0 */
void platform_set_blob(struct platform *platform, uint64_t address, uint32_t size_bytes);

/** Fills a device's configuration (as many bytes as described) and tells a running driver. */
void platform_set_config(struct platform_device *device, const void *config);

/**
 * Access to guest-physical addresses outside RAM, of 1, 2, 4 or 8 bytes.
 * Returns false if nothing of the platform's is there: the address is in no window. Inside a window, where no
 * function answers, reads give ones and writes are lost.
 */
bool platform_mmio_read(struct platform *platform, uint64_t address, uint32_t size_bytes, uint64_t *value);
bool platform_mmio_write(struct platform *platform, uint64_t address, uint32_t size_bytes, uint64_t value);

/** Port access of 1, 2 or 4 bytes. Returns false if the port is not the platform's. */
bool platform_port_read(struct platform *platform, uint16_t port, uint32_t size_bytes, uint32_t *value);
bool platform_port_write(struct platform *platform, uint16_t port, uint32_t size_bytes, uint32_t value);

/** Somebody presses the guest's power button. */
void platform_press_power(struct platform *platform);

/** Goes on with requests that a budget stopped. Returns whether some still wait. */
bool platform_work(struct platform *platform);

/**
 * Copies what the backend of a queue completed to the guest, and requests to the backend.
 * Returns whether there is more to copy. The queue has a relay.
 */
bool platform_backend(struct platform_device *device, uint8_t queue);

/** The backend has let go of a device that the driver has reset. Returns false if no reset waits for that. */
bool platform_release(struct platform_device *device);

/**
 * The backend of a device is gone: its queues are lost (relay.h), and the driver hears that the device needs a reset.
 * Returns false if the driver has not started the device, which then has no backend to lose.
 */
bool platform_lose(struct platform_device *device);

/** Says that nothing is to be done. The lists keep what they hold: their lengths say that it is nothing. */
static inline void platform_clear_effects(struct platform_effects *effects)
{
	effects->doorbells = 0;
	effects->vcpus = 0;
	effects->event.event = 0;
	effects->given_up_count = effects->wanted_count = 0;
	effects->needs_table = effects->is_unfinished = false;
}

/**
 * Takes what is to be done for others.
 * @effects: in and out, from accesses before; what only the last one can say replaces what is there
 */
void platform_take_effects(struct platform *platform, struct platform_effects *effects);

#endif
