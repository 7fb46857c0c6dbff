/* SPDX-License-Identifier: MIT */
/*
 * A guest's PCI bus, its devices and their relays, put together; see platform.h.
 */
#include "platform.h"

#include <stddef.h>

/* Features of the guest's own ring: the relay serves them, its backend's ring is plain. */
#define RING_FEATURES (VIRTIO_F_RING_INDIRECT | VIRTIO_F_EVENT_INDEX)
/* Bits a device type may use (virtio 1.2, 2.2); the others between them speak of the transport. */
#define TYPE_FEATURES (0xffffffull | ~0ull << 50)
#define APIC_PAGE_BYTES 4096u
#define DISK_TYPE 2u

_Static_assert(BULKHEAD_QUEUES_MAX == VIRTIO_QUEUES_MAX, "a queue of the interface is one of the transport");
_Static_assert(BULKHEAD_DEVICE_CONFIG_BYTES == VIRTIO_CONFIG_MAX, "its configuration too");
_Static_assert(BULKHEAD_RELAY_AREA_BYTES == RELAY_AREA_BYTES, "and the relay area");
_Static_assert(BULKHEAD_DEVICES_MAX * BULKHEAD_QUEUES_MAX <= 64, "a bit of the doorbells each");

void platform_init(struct platform *platform, struct memory *memory)
{
	apic_bus_init(&platform->apics);
	platform->memory = memory;
	chipset_init(&platform->chipset, &platform->bus);
}

bool platform_description_is_valid(const struct bulkhead_device_description *description)
{
	return description->type >= 1 && description->type <= 63 && description->class_code <= 0xffffff &&
	       !(description->features & ~(TYPE_FEATURES | RING_FEATURES)) && description->queue_count >= 1 &&
	       description->queue_count <= BULKHEAD_QUEUES_MAX && description->queue_size_max >= 1 &&
	       description->queue_size_max <= VIRTQUEUE_SIZE_MAX &&
	       !(description->queue_size_max & (description->queue_size_max - 1)) &&
	       description->config_bytes <= BULKHEAD_DEVICE_CONFIG_BYTES &&
	       description->config_writable_bytes <= description->config_bytes;
}

struct platform_device *platform_find(struct platform *platform, uint64_t slot)
{
	for (uint32_t i = 0; i < platform->device_count; i++)
		if (platform->devices[i].slot == slot)
			return &platform->devices[i];
	return NULL;
}

static struct platform_relay *relay_of(struct platform_device *device, unsigned int queue)
{
	uint8_t number = device->relay_of[queue];

	return number ? &device->platform->relays[number - 1] : NULL;
}

static void deliver(struct platform *platform, const struct virtio_message *message)
{
	platform->effects.vcpus |= apic_bus_message(&platform->apics, message->address, message->data);
}

/** Raises a device's interrupt: of a queue, or (-1) of its configuration. */
static void interrupt(struct platform_device *device, int queue)
{
	struct virtio_message message;

	if (virtio_pci_interrupt(&device->device, queue, &message))
		deliver(device->platform, &message);
}

/** What the relays of the device's queues still owe the guest goes on with the next step of each. */
static void lose_relays(struct platform_device *device)
{
	for (unsigned int i = 0; i < device->device.queue_count; i++) {
		struct platform_relay *relay = relay_of(device, i);

		if (!relay || !relay->queue.guest.ready)
			continue;
		relay_lose(&relay->queue);
		device->platform->waiting |= 1u << (device->relay_of[i] - 1);
	}
}

static void break_device(struct platform_device *device)
{
	lose_relays(device);
	virtio_pci_needs_reset(&device->device);
	interrupt(device, -1);
}

/** Does what the relay of a queue left to do. Returns whether it wants to be called again. */
static bool follow(struct platform_device *device, unsigned int queue, const struct relay_effects *effects)
{
	struct platform *platform = device->platform;

	if (effects->notify_backend)
		platform->effects.doorbells |= 1ull << (device->number * BULKHEAD_QUEUES_MAX + queue);
	if (effects->interrupt_guest)
		interrupt(device, (int)queue);
	if (effects->guest_broken || effects->backend_broken) {
		if (virtio_pci_is_running(&device->device))
			break_device(device);
		return false;
	}
	return effects->more;
}

static bool forward(struct platform_device *device, unsigned int queue, uint32_t budget_bytes)
{
	struct platform_relay *relay = relay_of(device, queue);
	uint32_t bit = 1u << (device->relay_of[queue] - 1);
	struct relay_effects effects = { 0 };

	relay_forward(&relay->queue, budget_bytes, &effects);
	device->platform->waiting &= ~bit;
	if (!follow(device, queue, &effects))
		return false;
	device->platform->waiting |= bit;
	return true;
}

/** Has the balloon do a step, and notes what that leaves to do. */
static void serve_balloon(struct platform *platform)
{
	struct platform_effects *effects = &platform->effects;
	struct balloon_step step;

	balloon_serve(&platform->balloon, &step);
	__builtin_memcpy(effects->given_up, step.given_up, sizeof(step.given_up));
	__builtin_memcpy(effects->wanted, step.wanted, sizeof(step.wanted));
	effects->given_up_count = step.given_up_count;
	effects->wanted_count = step.wanted_count;
	effects->needs_table = step.needs_table;
	for (int i = 0; i < (int)BALLOON_QUEUES; i++)
		if (step.interrupt[i])
			interrupt(platform->balloon_device, i);
	platform->waiting &= ~PLATFORM_BALLOON_WAITS;
	if (step.more)
		platform->waiting |= PLATFORM_BALLOON_WAITS;
	if (step.guest_broken && virtio_pci_is_running(&platform->balloon_device->device))
		break_device(platform->balloon_device);
}

/** Starts the balloon's queues. Returns whether both can work. */
static bool start_balloon(struct platform_device *device)
{
	bool event_index = device->device.features_accepted & VIRTIO_F_EVENT_INDEX;

	for (unsigned int i = 0; i < BALLOON_QUEUES; i++) {
		const struct virtio_pci_queue *queue = &device->device.queues[i];

		if (!queue->enabled ||
		    !virtqueue_start(&device->platform->balloon.queues[i], device->platform->memory, queue->size,
				     queue->descriptors, queue->available, queue->used, event_index))
			return false;
	}
	return true;
}

static void stop_relays(struct platform_device *device)
{
	for (unsigned int i = 0; i < device->device.queue_count; i++) {
		if (!device->relay_of[i])
			continue;
		relay_stop(&relay_of(device, i)->queue);
		device->platform->waiting &= ~(1u << (device->relay_of[i] - 1));
	}
}

/** Starts the relays of the queues that the driver enabled. Returns a bit for each, or 0 if one cannot work. */
static uint32_t start_relays(struct platform_device *device)
{
	bool event_index = device->device.features_accepted & VIRTIO_F_EVENT_INDEX;
	uint32_t started = 0;

	for (unsigned int i = 0; i < device->device.queue_count; i++) {
		const struct virtio_pci_queue *queue = &device->device.queues[i];
		struct platform_relay *relay = relay_of(device, i);
		struct virtqueue guest;

		if (!queue->enabled || !relay)
			continue;
		/* As the backend sees it, the areas of a device's queues lie one behind the other. */
		if (!virtqueue_start(&guest, device->platform->memory, queue->size, queue->descriptors,
				     queue->available, queue->used, event_index) ||
		    !relay_start(&relay->queue, &guest, device->is_disk, relay->area, (uint64_t)i * RELAY_AREA_BYTES))
			return 0;
		started |= 1u << i;
	}
	return started;
}

static void on_start(struct virtio_device *virtio)
{
	struct platform_device *device = (struct platform_device *)virtio;
	uint32_t queues;

	if (device == device->platform->balloon_device) {
		if (!start_balloon(device))
			break_device(device);
		return;
	}
	queues = start_relays(device);
	if (!queues) {
		stop_relays(device);
		break_device(device);
		return;
	}
	device->is_started = true;
	device->platform->effects.event = (struct platform_event){
		.slot = device->slot,
		.event = BULKHEAD_DEVICE_START,
		.features = virtio->features_accepted & ~RING_FEATURES,
		.queues = queues,
	};
}

static void on_reset(struct virtio_device *virtio)
{
	struct platform_device *device = (struct platform_device *)virtio;

	if (device == device->platform->balloon_device) {
		balloon_reset(&device->platform->balloon);
		device->platform->waiting &= ~PLATFORM_BALLOON_WAITS;
	}
	if (!device->is_started)
		return;
	stop_relays(device);
	/* The backend may still write to the relay areas: the driver sees the reset done when it has let go. */
	device->is_started = false;
	virtio_pci_hold_reset(virtio);
	device->platform->effects.event = (struct platform_event){
		.slot = device->slot,
		.event = BULKHEAD_DEVICE_RESET,
	};
}

static void on_notify(struct virtio_device *virtio, unsigned int queue)
{
	struct platform_device *device = (struct platform_device *)virtio;
	bool is_balloon = device == device->platform->balloon_device;

	if (is_balloon && !virtio_pci_is_running(virtio))
		return;
	/* One step at a time: what it gave up has to be told before the next. */
	if (is_balloon && !device->platform->waiting)
		serve_balloon(device->platform);
	else if (is_balloon)
		device->platform->waiting |= PLATFORM_BALLOON_WAITS;
	else if (device->relay_of[queue])
		(void)forward(device, queue, PLATFORM_BUDGET_BYTES);
}

static void on_vector(struct virtio_device *virtio, unsigned int vector)
{
	struct platform *platform = ((struct platform_device *)virtio)->platform;
	struct virtio_message message;

	(void)vector;
	while (virtio_pci_take_pending(virtio, &message))
		deliver(platform, &message);
}

static const struct virtio_owner owner = {
	.start = on_start,
	.reset = on_reset,
	.notify = on_notify,
	.vector_changed = on_vector,
};

bool platform_has_room(const struct platform *platform, const struct bulkhead_device_description *description)
{
	if (platform->device_count == BULKHEAD_DEVICES_MAX)
		return false;
	return description->type != BALLOON_TYPE ||
	       (!platform->balloon_device && description->queue_count == BALLOON_QUEUES &&
		description->config_bytes == BALLOON_CONFIG_BYTES);
}

void platform_add_device(struct platform *platform, uint8_t slot,
			 const struct bulkhead_device_description *description)
{
	const struct virtio_identity identity = {
		.type = (uint16_t)description->type,
		.class_code = description->class_code,
		.features = description->features,
		.queue_count = (uint16_t)description->queue_count,
		.queue_size_max = 0,
		.config_bytes = description->config_bytes,
		.config_writable_bytes = description->config_writable_bytes,
	};
	struct platform_device *device = &platform->devices[platform->device_count];

	device->platform = platform;
	device->slot = slot;
	device->number = (uint8_t)platform->device_count++;
	device->queue_size_max = (uint16_t)description->queue_size_max;
	device->is_disk = description->type == DISK_TYPE;
	virtio_pci_init(&device->device, &identity, &owner, platform);
	if (description->type == BALLOON_TYPE) {
		platform->balloon_device = device;
		for (unsigned int i = 0; i < BALLOON_QUEUES; i++)
			virtio_pci_offer_queue(&device->device, i, device->queue_size_max);
	}
	platform->bus.functions[slot] = &device->device.pci;
}

void platform_add_relay(struct platform *platform, struct platform_device *device, uint8_t queue,
			struct memory *area)
{
	struct platform_relay *relay = &platform->relays[platform->relay_count++];

	relay->area = area;
	relay->device = device->number;
	relay->number = queue;
	relay_stop(&relay->queue);
	device->relay_of[queue] = (uint8_t)platform->relay_count;
	virtio_pci_offer_queue(&device->device, queue, device->queue_size_max);
}

void platform_set_config(struct platform_device *device, const void *config)
{
	virtio_pci_set_config(&device->device, config);
	if (virtio_pci_is_running(&device->device))
		interrupt(device, -1);
}

void platform_set_ram(struct platform *platform, uint64_t low_bytes)
{
	platform->chipset.ram_low_bytes = low_bytes;
}

void platform_set_blob(struct platform *platform, uint64_t address, uint32_t size_bytes)
{
	fw_cfg_init(&platform->firmware, platform->memory, address, size_bytes);
}

static bool is_in(uint64_t address, uint64_t base, uint64_t size_bytes)
{
	return address >= base && address - base < size_bytes;
}

/** Where functions may answer, and where nothing answering is no fault. */
static bool is_window(uint64_t address)
{
	return is_in(address, MACHINE_ECAM, MACHINE_RAM_HIGH - MACHINE_ECAM) ||
	       is_in(address, MACHINE_PCI_HIGH, MACHINE_PCI_HIGH_BYTES);
}

bool platform_mmio_read(struct platform *platform, uint64_t address, uint32_t size_bytes, uint64_t *value)
{
	struct pci_function *function;
	unsigned int bar;
	uint32_t offset;

	*value = UINT64_MAX;
	if (is_in(address, MACHINE_IOAPIC, APIC_PAGE_BYTES)) {
		*value = apic_bus_io_read(&platform->apics, (uint32_t)(address - MACHINE_IOAPIC));
		return true;
	}
	if (is_in(address, MACHINE_ECAM, PCI_ECAM_BUS_BYTES)) {
		if (size_bytes <= 4)
			*value = pci_ecam_read(&platform->bus, address - MACHINE_ECAM, size_bytes);
		return true;
	}
	if (!is_window(address))
		return false;
	function = pci_find_bar(&platform->bus, address, size_bytes, &bar, &offset);
	if (function && function->bar_read)
		*value = function->bar_read(function, bar, offset, size_bytes);
	return true;
}

bool platform_mmio_write(struct platform *platform, uint64_t address, uint32_t size_bytes, uint64_t value)
{
	struct pci_function *function;
	unsigned int bar;
	uint32_t offset;

	if (is_in(address, MACHINE_IOAPIC, APIC_PAGE_BYTES)) {
		platform->effects.vcpus |= apic_bus_io_write(
			&platform->apics, (uint32_t)(address - MACHINE_IOAPIC), (uint32_t)value);
		return true;
	}
	if (is_in(address, MACHINE_ECAM, PCI_ECAM_BUS_BYTES)) {
		if (size_bytes <= 4)
			pci_ecam_write(&platform->bus, address - MACHINE_ECAM, size_bytes, (uint32_t)value);
		return true;
	}
	if (!is_window(address))
		return false;
	function = pci_find_bar(&platform->bus, address, size_bytes, &bar, &offset);
	if (function && function->bar_write)
		function->bar_write(function, bar, offset, size_bytes, value);
	return true;
}

bool platform_port_read(struct platform *platform, uint16_t port, uint32_t size_bytes, uint32_t *value)
{
	if (chipset_port_read(&platform->chipset, port, size_bytes, value))
		return true;
	if (fw_cfg_has_port(&platform->firmware, port, size_bytes)) {
		*value = fw_cfg_port_read(&platform->firmware, port, size_bytes);
		return true;
	}
	if (port < 0xcf8 || port > 0xcff || (port == MACHINE_RESET_PORT && size_bytes == 1))
		return false;
	*value = pci_port_read(&platform->bus, port, size_bytes);
	return true;
}

/** Has the I/O APIC see the power management's interrupt line. */
static void update_power_line(struct platform *platform)
{
	platform->effects.vcpus |=
		apic_bus_set_input(&platform->apics, MACHINE_SCI, chipset_power_line(&platform->chipset));
}

void platform_press_power(struct platform *platform)
{
	chipset_press_power(&platform->chipset);
	update_power_line(platform);
}

bool platform_port_write(struct platform *platform, uint16_t port, uint32_t size_bytes, uint32_t value)
{
	if (chipset_port_write(&platform->chipset, port, size_bytes, value)) {
		update_power_line(platform);
		return true;
	}
	if (fw_cfg_has_port(&platform->firmware, port, size_bytes)) {
		if (!fw_cfg_port_write(&platform->firmware, port, size_bytes, value))
			platform->effects.is_unfinished = true;
		return true;
	}
	if (port < 0xcf8 || port > 0xcff || (port == MACHINE_RESET_PORT && size_bytes == 1))
		return false;
	pci_port_write(&platform->bus, port, size_bytes, value);
	return true;
}

bool platform_work(struct platform *platform)
{
	if (platform->waiting & PLATFORM_BALLOON_WAITS) {
		serve_balloon(platform);
		return platform->waiting != 0;
	}
	for (uint32_t i = 0; i < platform->relay_count; i++) {
		const struct platform_relay *relay = &platform->relays[i];

		if (!(platform->waiting & 1u << i))
			continue;
		(void)forward(&platform->devices[relay->device], relay->number, PLATFORM_BUDGET_BYTES);
		break;
	}
	return platform->waiting != 0;
}

bool platform_backend(struct platform_device *device, uint8_t queue)
{
	struct relay_effects effects = { 0 };

	relay_return(&relay_of(device, queue)->queue, PLATFORM_BUDGET_BYTES / 2, &effects);
	if (follow(device, queue, &effects))
		return true;
	return forward(device, queue, PLATFORM_BUDGET_BYTES / 2);
}

bool platform_release(struct platform_device *device)
{
	return virtio_pci_finish_reset(&device->device);
}

bool platform_lose(struct platform_device *device)
{
	if (!device->is_started)
		return false;
	if (virtio_pci_is_running(&device->device))
		break_device(device);
	return true;
}

void platform_take_effects(struct platform *platform, struct platform_effects *effects)
{
	struct platform_effects *from = &platform->effects;

	effects->doorbells |= from->doorbells;
	effects->vcpus |= from->vcpus;
	effects->is_unfinished = from->is_unfinished;
	effects->needs_table |= from->needs_table;
	/* A run ends with a step of the balloon's: there is none from before. */
	if (from->given_up_count || from->wanted_count) {
		effects->given_up_count = from->given_up_count;
		effects->wanted_count = from->wanted_count;
		__builtin_memcpy(effects->given_up, from->given_up, sizeof(effects->given_up));
		__builtin_memcpy(effects->wanted, from->wanted, sizeof(effects->wanted));
	}
	if (from->event.event)
		effects->event = from->event;
	platform_clear_effects(from);
}
