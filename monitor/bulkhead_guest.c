/* SPDX-License-Identifier: MIT */
/*
 * Makes a guest of Bulkhead; see bulkhead_guest.h.
 */
#include "bulkhead_guest.h"
#include "balloon.h"
#include "kvm.h"
#include "linux_boot.h"
#include "relay_device.h"

#include <bulkhead/kvm.h>

#include <errno.h>
#include <linux/kvm.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>

_Static_assert(CONFIG_DEVICES_MAX <= BULKHEAD_DEVICES_MAX, "every device of a configuration finds a place");

int bulkhead_guest_operate(struct machine *machine, uint32_t operation, void *argument)
{
	struct bulkhead_kvm_operation call = { .operation = operation, .argument = (uint64_t)(uintptr_t)argument };

	return ioctl(machine->vm_fd, KVM_MEMORY_ENCRYPT_OP, &call) ? -errno : 0;
}

static void add_range(struct launch *launch, uint64_t address, uint64_t size_bytes, const uint8_t *bytes, int fd,
		      uint64_t fd_offset)
{
	if (size_bytes)
		launch->ranges[launch->range_count++] =
			(struct launch_range){ address, size_bytes, bytes, fd, fd_offset };
}

void bulkhead_guest_plan(struct launch *launch, struct machine *machine)
{
	const struct config *config = machine->config;
	const struct memory *ram = &machine->ram;
	struct relay_device_place devices[CONFIG_DEVICES_MAX];

	*launch = (struct launch){
		.flags = config->unprotected ? 0 : BULKHEAD_GUEST_PROTECTED,
		.processors = config->processors,
	};
	add_range(launch, 0, ram->low_bytes, ram->bytes, ram->fd, 0);
	add_range(launch, RAM_HIGH_START, ram->high_bytes, ram->bytes + ram->low_bytes, ram->fd, ram->low_bytes);
	add_range(launch, RAM_HIGH_START - ram->top_bytes, ram->top_bytes, ram->bytes + ram->size_bytes - ram->top_bytes,
		  ram->fd, ram->size_bytes - ram->top_bytes);
	if (machine->blob_bytes) {
		launch->blob_address = RAM_HIGH_START - ram->top_bytes;
		launch->blob_bytes = machine->blob_bytes;
	}
	launch->device_count = relay_device_list(config, devices);
	for (unsigned int i = 0; i < launch->device_count; i++)
		launch->devices[i] = (struct launch_device){ devices[i].slot, *relay_device_describe(devices[i].kind) };
	if (config->balloon)
		launch->devices[launch->device_count++] =
			(struct launch_device){ MACHINE_BALLOON_SLOT, *balloon_describe() };
	launch_state_reset(&launch->first);
	if (machine->entry)
		linux_boot_state(&launch->first, machine->entry);
}

static int add_memory(struct machine *machine, const struct launch *launch)
{
	bool is_private = launch->flags & BULKHEAD_GUEST_PROTECTED;

	for (unsigned int i = 0; i < launch->range_count; i++) {
		const struct launch_range *range = &launch->ranges[i];
		struct kvm_userspace_memory_region region = {
			.slot = i,
			.flags = is_private ? BULKHEAD_KVM_MEM_PRIVATE : 0,
			.guest_phys_addr = range->address,
			.memory_size = range->size_bytes,
			.userspace_addr = is_private ? 0 : (uint64_t)(uintptr_t)range->bytes,
		};

		if (ioctl(machine->vm_fd, KVM_SET_USER_MEMORY_REGION, &region))
			return -errno;
	}
	return 0;
}

static int load_run(void *context, uint64_t address, const uint8_t *bytes, uint64_t size_bytes)
{
	struct bulkhead_kvm_load load = {
		.guest_address = address,
		.from = (uint64_t)(uintptr_t)bytes,
		.size_bytes = size_bytes,
	};

	return bulkhead_guest_operate(context, BULKHEAD_KVM_LOAD, &load);
}

/** Describes the devices to the driver and gives it their relay areas. The first are the relay's. */
static int add_devices(struct machine *machine, const struct launch *launch)
{
	for (unsigned int i = 0; i < launch->device_count; i++) {
		struct bulkhead_kvm_device device = {
			.slot = launch->devices[i].slot,
			.description = launch->devices[i].description,
		};
		int status = bulkhead_guest_operate(machine, BULKHEAD_KVM_DEVICE, &device);

		/* The balloon comes last and has no backend. */
		if (!status && i < machine->relay_device_count)
			status = relay_device_attach(machine->relay_devices[i]);
		if (status)
			return status;
	}
	return 0;
}

static bool make_devices(struct machine *machine, char *error, size_t error_bytes)
{
	struct relay_device_place devices[CONFIG_DEVICES_MAX];
	unsigned int count = relay_device_list(machine->config, devices);

	for (unsigned int i = 0; i < count; i++) {
		machine->relay_devices[i] = relay_device_create(machine, i, &devices[i], error, error_bytes);
		if (!machine->relay_devices[i])
			return false;
		machine->relay_device_count++;
	}
	return true;
}

bool bulkhead_guest_create(struct machine *machine, const struct launch *launch, char *error, size_t error_bytes)
{
	struct bulkhead_kvm_init init = { .flags = launch->flags };
	const char *step = "creating the guest";
	int status = 0;

	if (!make_devices(machine, error, error_bytes))
		return false;
	machine->vm_fd = ioctl(machine->kvm_fd, KVM_CREATE_VM, 0);
	if (machine->vm_fd < 0 || ioctl(machine->vm_fd, KVM_CREATE_IRQCHIP, 0))
		status = -errno;
	if (!status)
		status = bulkhead_guest_operate(machine, BULKHEAD_KVM_INIT, &init);
	if (!status) {
		step = "declaring its memory";
		status = add_memory(machine, launch);
	}
	if (!status) {
		step = "creating its processors";
		status = kvm_create_processors(machine);
	}
	if (!status && launch->flags & BULKHEAD_GUEST_PROTECTED) {
		step = "loading it";
		status = launch_each_run(launch, load_run, machine);
	}
	if (!status && launch->blob_bytes) {
		struct bulkhead_kvm_blob blob = { launch->blob_address, launch->blob_bytes };

		step = "giving it the firmware's configuration";
		status = bulkhead_guest_operate(machine, BULKHEAD_KVM_BLOB, &blob);
	}
	if (!status) {
		step = "giving it devices";
		status = add_devices(machine, launch);
	}
	if (!status && machine->entry) {
		step = "setting its registers";
		status = linux_boot_registers(machine->processors[0].fd, machine->entry);
	}
	if (status)
		snprintf(error, error_bytes, "%s: %s: %s", machine->config->name, step, strerror(-status));
	return !status;
}

bool bulkhead_guest_connect(struct machine *machine, char *error, size_t error_bytes)
{
	for (unsigned int i = 0; i < machine->relay_device_count; i++)
		if (!relay_device_connect(machine->relay_devices[i], error, error_bytes))
			return false;
	return true;
}

int bulkhead_guest_seal(struct machine *machine, uint8_t digest[BULKHEAD_MEASUREMENT_BYTES])
{
	struct bulkhead_measurement measurement;
	int status = bulkhead_guest_operate(machine, BULKHEAD_KVM_SEAL, NULL);

	if (!status)
		status = bulkhead_guest_operate(machine, BULKHEAD_KVM_MEASURE, &measurement);
	if (!status && !measurement.is_sealed)
		status = -EPROTO;
	if (!status)
		memcpy(digest, measurement.digest, sizeof(measurement.digest));
	return status;
}
