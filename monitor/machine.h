/* SPDX-License-Identifier: MIT */
/*
 * One guest's virtual platform, as the monitor holds it: configuration, memory, processors, buses, devices.
 *
 * All emulated devices are touched under one lock (machine_lock): a guest has few exits that reach the monitor, and a
 * platform with one lock has no lock order to get wrong.
 */
#ifndef BULKHEAD_MONITOR_MACHINE_H
#define BULKHEAD_MONITOR_MACHINE_H

#include "config.h"
#include "ram.h"
#include "serial.h"
#include "watchdog.h"

#include <address_map.h>
#include <chipset.h>
#include <fw_cfg.h>
#include <pci.h>
#include <virtio_pci.h>

#include <pthread.h>
#include <stdatomic.h>

/** Why a machine stopped; also the exit status of its process. */
enum machine_end {
	MACHINE_RUNNING = -1,
	MACHINE_OFF = 0,    /**< the guest switched itself off */
	MACHINE_ERROR = 1,  /**< something went wrong; the log says what */
	MACHINE_RESET = 64, /**< the guest reset itself: launch it again */
	MACHINE_STOPPED = 65, /**< stopped or killed through the control socket */
};

struct shared_device;
struct relay_device;

/* PCI slots, the same on every platform. */
#define MACHINE_DISK_SLOT    1u
#define MACHINE_NETWORK_SLOT 16u
#define MACHINE_ENTROPY_SLOT 17u
#define MACHINE_CONSOLE_SLOT 18u
#define MACHINE_BALLOON_SLOT 19u
#define MACHINE_AGENT_SLOT   20u

struct machine {
	const struct config *config;
	struct memory ram;
	int kvm_fd, vm_fd;
	bool on_bulkhead;     /**< the platform is in the hypervisor */
	bool is_protected;
	uint64_t entry;	      /**< of the kernel that is started directly; 0: firmware starts */
	uint64_t blob_bytes;  /**< firmware configuration, at the start of the RAM below 4 GiB */
	unsigned int processor_count;
	struct processor *processors;

	pthread_mutex_t lock;
	struct pci_bus pci;
	struct chipset chipset;
	struct fw_cfg fw_cfg;
	struct serial serial;
	struct watchdog watchdog;
	struct shared_device *shared_devices[CONFIG_DEVICES_MAX]; /**< on stock KVM */
	unsigned int shared_device_count;
	struct relay_device *relay_devices[CONFIG_DEVICES_MAX]; /**< on Bulkhead */
	unsigned int relay_device_count;

	pthread_cond_t changed;	 /**< with lock: paused or end changed */
	bool paused;
	unsigned int running;	 /**< processors inside KVM_RUN or about to enter it */
	enum machine_end end;
	int look;		 /**< event: a backend was connected anew or the watchdog fed: look after both */
	int connector;		 /**< the supervisor's end that opens connections to backends (connector.h) */
	atomic_uint_fast64_t exits; /**< that reached the monitor */
};

/** Asks every processor to leave the guest and the machine to end; the first reason wins. Takes no lock. */
void machine_end(struct machine *machine, enum machine_end reason);

/** Raises (and lowers) an interrupt line of the I/O APIC. */
void machine_set_line(struct machine *machine, unsigned int line, bool level);

/** Presses the power button, as far as the guest listens to it. With the machine's lock held. */
void machine_press_power(struct machine *machine);

/** Nanoseconds on the clock that the watchdog counts by. */
uint64_t machine_now(void);

/** Port access of 1, 2 or 4 bytes, with the machine's lock held. */
uint32_t machine_port_read(struct machine *machine, uint16_t port, uint32_t size_bytes);
void machine_port_write(struct machine *machine, uint16_t port, uint32_t size_bytes, uint32_t value);

/** Memory access outside RAM of 1 to 8 bytes, with the machine's lock held. Nothing there: ones, or lost. */
uint64_t machine_mmio_read(struct machine *machine, uint64_t address, uint32_t size_bytes);
void machine_mmio_write(struct machine *machine, uint64_t address, uint32_t size_bytes, uint64_t value);

#endif
