// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * A guest's platform, which the hypervisor holds: the monitor describes it here and hears what becomes of it.
 */
#include "kvm.h"

#include <linux/gfp.h>
#include <linux/io.h>
#include <linux/mm.h>
#include <linux/uaccess.h>

int kvm_platform_create(struct guest *guest)
{
	struct hypercall call = { BULKHEAD_CALL_PLATFORM_CREATE, { guest->handle } };
	int error;

	if (kvm_facts.platform_pages == 0)
		return -EOPNOTSUPP;
	guest->platform_order = get_order((unsigned long)kvm_facts.platform_pages * PAGE_SIZE);
	guest->platform = alloc_pages(GFP_KERNEL_ACCOUNT | __GFP_ZERO, guest->platform_order);
	if (!guest->platform)
		return -ENOMEM;
	call.arguments[1] = page_to_phys(guest->platform);
	error = kvm_tables_call(guest, &call, NULL);
	if (error) {
		__free_pages(guest->platform, guest->platform_order);
		guest->platform = NULL;
		return error;
	}
	guest->has_platform = true;
	return 0;
}

void kvm_platform_effects(struct guest *guest, u64 effects, struct guest_queue *queue)
{
	unsigned long vcpus = effects & BULKHEAD_EFFECT_VCPUS;
	unsigned int index;

	for_each_set_bit(index, &vcpus, BULKHEAD_MAX_VCPUS)
		if (guest->vcpus[index])
			kvm_vcpu_wake(guest->vcpus[index]);
	if (effects & BULKHEAD_EFFECT_KICK_BACKEND && queue && queue->kick)
		kvm_relay_signal(queue->kick);
}

void kvm_platform_doorbells(struct guest *guest, u64 doorbells)
{
	for (; doorbells; doorbells &= doorbells - 1) {
		unsigned int bit = __ffs64(doorbells);
		struct guest_queue *queue =
			&guest->devices[bit / BULKHEAD_QUEUES_MAX].queues[bit % BULKHEAD_QUEUES_MAX];

		if (queue->kick)
			kvm_relay_signal(queue->kick);
	}
}

/** Makes a call whose argument is a page with @content, and does what its value asks for. */
static int call_with_page(struct guest *guest, struct hypercall *call, const void *content, size_t size_bytes)
{
	void *page = (void *)get_zeroed_page(GFP_KERNEL);
	u64 effects = 0;
	int error;

	if (!page)
		return -ENOMEM;
	memcpy(page, content, size_bytes);
	call->arguments[2] = virt_to_phys(page);
	error = kvm_tables_call(guest, call, &effects);
	if (!error)
		kvm_platform_effects(guest, effects, NULL);
	free_page((unsigned long)page);
	return error;
}

static struct guest_device *find_device(struct guest *guest, u32 slot)
{
	for (unsigned int i = 0; i < guest->device_count; i++)
		if (guest->devices[i].slot == slot)
			return &guest->devices[i];
	return NULL;
}

static int add_device(struct guest *guest, const void __user *user)
{
	struct bulkhead_kvm_device device;
	struct hypercall call = { BULKHEAD_CALL_PLATFORM_DEVICE, { guest->handle } };
	struct guest_device *added = &guest->devices[guest->device_count];
	int error;

	if (copy_from_user(&device, user, sizeof(device)))
		return -EFAULT;
	if (device.reserved || device.description.queue_count > BULKHEAD_QUEUES_MAX ||
	    device.description.config_bytes > BULKHEAD_DEVICE_CONFIG_BYTES)
		return -EINVAL;
	if (guest->device_count == BULKHEAD_DEVICES_MAX)
		return -ENOSPC;
	call.arguments[1] = device.slot;
	error = call_with_page(guest, &call, &device.description, sizeof(device.description));
	if (error)
		return error;
	added->slot = device.slot;
	added->type = device.description.type;
	added->queue_count = device.description.queue_count;
	added->config_bytes = device.description.config_bytes;
	for (unsigned int i = 0; i < BULKHEAD_QUEUES_MAX; i++) {
		added->queues[i].guest = guest;
		added->queues[i].bit = guest->device_count * BULKHEAD_QUEUES_MAX + i;
	}
	guest->device_count++;
	return 0;
}

static int set_config(struct guest *guest, const void __user *user)
{
	struct bulkhead_kvm_config config;
	struct hypercall call = { BULKHEAD_CALL_PLATFORM_CONFIG, { guest->handle } };
	const struct guest_device *device;

	if (copy_from_user(&config, user, sizeof(config)))
		return -EFAULT;
	device = find_device(guest, config.slot);
	if (!device || config.size_bytes != device->config_bytes)
		return -EINVAL;
	call.arguments[1] = config.slot;
	call.arguments[3] = config.size_bytes;
	return call_with_page(guest, &call, config.config, config.size_bytes);
}

static int add_relay(struct guest *guest, const void __user *user)
{
	struct bulkhead_kvm_relay relay;
	struct guest_device *device;

	if (copy_from_user(&relay, user, sizeof(relay)))
		return -EFAULT;
	device = find_device(guest, relay.slot);
	if (!device || relay.reserved || relay.queue >= device->queue_count || relay.area_offset & ~PAGE_MASK)
		return -EINVAL;
	return kvm_relay_create(guest, &device->queues[relay.queue], &relay);
}

/** Makes a call about one device: RELEASE or LOSE. */
static int call_for_slot(struct guest *guest, u64 number, const void __user *user)
{
	struct bulkhead_kvm_slot slot;
	struct hypercall call = { number, { guest->handle } };
	u64 effects;
	int error;

	if (copy_from_user(&slot, user, sizeof(slot)))
		return -EFAULT;
	if (slot.reserved)
		return -EINVAL;
	call.arguments[1] = slot.slot;
	error = hypercall_make(&call, &effects);
	if (!error)
		kvm_platform_effects(guest, effects, NULL);
	return error;
}

static int set_blob(struct guest *guest, const void __user *user)
{
	struct bulkhead_kvm_blob blob;
	struct hypercall call = { BULKHEAD_CALL_PLATFORM_BLOB, { guest->handle } };

	if (copy_from_user(&blob, user, sizeof(blob)))
		return -EFAULT;
	call.arguments[1] = blob.guest_address;
	call.arguments[2] = blob.size_bytes;
	return kvm_tables_call(guest, &call, NULL);
}

int kvm_platform_operation(struct guest *guest, const struct bulkhead_kvm_operation *operation)
{
	const void __user *user = (const void __user *)operation->argument;

	if (!guest->has_platform)
		return -EINVAL;
	switch (operation->operation) {
	case BULKHEAD_KVM_BLOB:
		return guest->is_sealed ? -EACCES : set_blob(guest, user);
	case BULKHEAD_KVM_DEVICE:
		return guest->is_sealed ? -EACCES : add_device(guest, user);
	case BULKHEAD_KVM_RELAY:
		return guest->is_sealed ? -EACCES : add_relay(guest, user);
	case BULKHEAD_KVM_CONFIG:
		return set_config(guest, user);
	case BULKHEAD_KVM_RELEASE:
		return call_for_slot(guest, BULKHEAD_CALL_PLATFORM_RELEASE, user);
	case BULKHEAD_KVM_LOSE:
		return call_for_slot(guest, BULKHEAD_CALL_PLATFORM_LOSE, user);
	default:
		return -EINVAL;
	}
}

int kvm_platform_line(struct guest *guest, u32 line, u32 level)
{
	const struct hypercall call = { BULKHEAD_CALL_PLATFORM_LINE, { guest->handle, line, !!level } };
	u64 effects;
	int error;

	if (!guest->is_sealed || !guest->has_platform)
		return -EINVAL;
	error = hypercall_make(&call, &effects);
	if (!error)
		kvm_platform_effects(guest, effects, NULL);
	return error;
}
