/* SPDX-License-Identifier: MIT */
/*
 * A guest's platform: making it, and touching it from calls and from vCPUs' exits; see guest_platform.h.
 */
#include "guest_platform.h"

#include <bulkhead/vcpu.h>

#define BLOB_ALIGNED   15u
#define PIN_STEP_PAGES 64u /* of a relay area, that one call pins or lets go of */

static_assert(BULKHEAD_BALLOON_STEP == BALLOON_STEP_PAGES, "a run tells all that a step gave up");

/* Inputs of the I/O APIC that a monitor may drive; raising the last one presses the power button. */
#define LINE_SERIAL 4u
#define LINE_CLOCK  8u
#define LINE_POWER  MACHINE_SCI

enum bulkhead_error guest_platform_create(struct core_locked held, struct guest *guest,
					  struct phys pages)
{
	enum bulkhead_error error;

	if (guest->state != BULKHEAD_GUEST_LOADING || guest->vcpu_count > 0)
		return BULKHEAD_BAD_STATE;
	if (guest->platform)
		return BULKHEAD_OCCUPIED;
	error = ownership_take_many(held, guest, pages, GUEST_PLATFORM_PAGES);
	if (error)
		return error;
	guest->platform_pages = pages;
	guest->platform = arch_page(pages);
	guest->platform->memory.guest = guest;
	platform_init(&guest->platform->platform, &guest->platform->memory);
	measure_small(&guest->measurement, BULKHEAD_RECORD_PLATFORM, 0, NULL, 0);
	return BULKHEAD_OK;
}

/** Whether a guest's platform may be described now. Measuring must not come between the parts of a page. */
static enum bulkhead_error check_describing(const struct guest *guest)
{
	if (guest->state != BULKHEAD_GUEST_LOADING || !guest->platform)
		return BULKHEAD_BAD_STATE;
	return guest->transfer.kind == TRANSFER_NONE ? BULKHEAD_OK : BULKHEAD_BUSY;
}

enum bulkhead_error guest_platform_set_blob(struct core_locked held, struct guest *guest,
					    struct guest_phys at, uint64_t size_bytes)
{
	enum bulkhead_error error = check_describing(guest);
	struct platform *platform;
	uint64_t first, end;
	uint8_t content[8];

	(void)held;
	if (error)
		return error;
	if (at.value & BLOB_ALIGNED)
		return BULKHEAD_BAD_ADDRESS;
	if (at.value == 0 || size_bytes == 0 || size_bytes > FW_CFG_BLOB_MAX || at.value >> BULKHEAD_GUEST_ADDRESS_BITS)
		return BULKHEAD_INVALID;
	first = at.value / PAGE_BYTES;
	end = (at.value + size_bytes + PAGE_BYTES - 1) / PAGE_BYTES;
	if (!guest_declares(guest, guest_phys_at(first * PAGE_BYTES), end - first))
		return BULKHEAD_INVALID;
	platform = &guest->platform->platform;
	if (platform->firmware.base)
		return BULKHEAD_OCCUPIED;

	platform_set_blob(platform, at.value, (uint32_t)size_bytes);
	for (unsigned int i = 0; i < sizeof(content); i++)
		content[i] = (uint8_t)(size_bytes >> (8 * i));
	measure_small(&guest->measurement, BULKHEAD_RECORD_BLOB, at.value, content, sizeof(content));
	return BULKHEAD_OK;
}

enum bulkhead_error guest_platform_add_device(struct core_locked held, struct guest *guest,
					      uint64_t slot, struct phys page)
{
	enum bulkhead_error error = check_describing(guest);
	struct bulkhead_device_description description;
	const void *content;

	if (error)
		return error;
	content = ownership_service_page(held, page);
	if (!content)
		return BULKHEAD_NOT_OWNED;
	/* Copied before it is checked: the caller may be writing to its page. */
	__builtin_memcpy(&description, content, sizeof(description));
	if (slot == 0 || slot >= PCI_SLOTS || !platform_description_is_valid(&description))
		return BULKHEAD_INVALID;
	if (guest->platform->platform.bus.functions[slot])
		return BULKHEAD_OCCUPIED;
	if (!platform_has_room(&guest->platform->platform, &description))
		return BULKHEAD_LIMIT;

	platform_add_device(&guest->platform->platform, (uint8_t)slot, &description);
	measure_small(&guest->measurement, BULKHEAD_RECORD_DEVICE, slot, &description,
		      sizeof(description));
	return BULKHEAD_OK;
}

void guest_platform_close(struct guest *guest)
{
	for (unsigned int i = 0; i < guest->range_count; i++)
		if (guest->ranges[i].base.value == 0)
			platform_set_ram(&guest->platform->platform, guest->ranges[i].page_count * PAGE_BYTES);
}

static void unpin_pages(struct core_locked held, const uint32_t *pages, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++)
		ownership_unpin(held, phys_at(pages[i] * PAGE_BYTES));
}

/** Pins the next pages of an area's list, or none of them. Returns BULKHEAD_AGAIN while there are more. */
static enum bulkhead_error pin_pages(struct core_locked held, const uint64_t *list, uint32_t *pages, uint32_t *done)
{
	uint32_t end = *done + PIN_STEP_PAGES < BULKHEAD_RELAY_PAGES ? *done + PIN_STEP_PAGES : BULKHEAD_RELAY_PAGES;

	for (uint32_t i = *done; i < end; i++) {
		struct phys page = phys_at(READ_ONCE(list[i]));
		enum bulkhead_error error = BULKHEAD_BAD_ADDRESS;

		if (is_page_aligned(page.value) && page.value / PAGE_BYTES <= UINT32_MAX)
			error = ownership_pin(held, page);
		if (error) {
			unpin_pages(held, pages + *done, i - *done);
			return error;
		}
		pages[i] = (uint32_t)(page.value / PAGE_BYTES);
	}
	*done = end;
	return end < BULKHEAD_RELAY_PAGES ? BULKHEAD_AGAIN : BULKHEAD_OK;
}

/** The device and queue that slot << 8 | queue names, or NULL. */
static struct platform_device *find_queue(struct platform *platform, uint64_t name, uint8_t *queue)
{
	struct platform_device *device = platform_find(platform, name >> 8);

	*queue = (uint8_t)name;
	return device && *queue < device->device.queue_count ? device : NULL;
}

enum bulkhead_error guest_platform_add_relay(struct core_locked held, struct guest *guest,
					     uint64_t name, struct phys page)
{
	enum bulkhead_error error = check_describing(guest);
	struct platform_device *device;
	struct platform *platform;
	const uint64_t *list;
	uint32_t number;
	uint8_t queue;

	if (error)
		return error;
	platform = &guest->platform->platform;
	device = find_queue(platform, name, &queue);
	if (!device || device == platform->balloon_device)
		return BULKHEAD_INVALID;
	if (device->relay_of[queue])
		return BULKHEAD_OCCUPIED;
	number = platform->relay_count;
	if (number == PLATFORM_RELAYS_MAX)
		return BULKHEAD_LIMIT;
	list = ownership_service_page(held, page);
	if (!list)
		return BULKHEAD_NOT_OWNED;
	error = pin_pages(held, list, guest->platform->area_pages[number], &guest->platform->pinned[number]);
	if (error)
		return error;

	guest->platform->areas[number] = (struct memory){
		.base = (uint64_t)queue * BULKHEAD_RELAY_AREA_BYTES,
		.pages = guest->platform->area_pages[number],
	};
	platform_add_relay(platform, device, queue, &guest->platform->areas[number]);
	return BULKHEAD_OK;
}

enum bulkhead_error guest_platform_return(struct core_locked held, struct guest *guest)
{
	struct guest_platform *platform = guest->platform;
	uint32_t *area = &guest->teardown.relay_next;
	enum bulkhead_error error;

	/* Once all are unpinned, the next steps clear what the numbers stand in: nothing reads them again. */
	for (; *area < PLATFORM_RELAYS_MAX; ++*area) {
		uint32_t left = platform->pinned[*area];
		uint32_t count = left < PIN_STEP_PAGES ? left : PIN_STEP_PAGES;

		if (count == 0)
			continue;
		unpin_pages(held, platform->area_pages[*area] + left - count, count);
		platform->pinned[*area] -= count;
		return BULKHEAD_AGAIN;
	}
	error = ownership_return(held, guest->platform_pages, GUEST_PLATFORM_PAGES,
				 &guest->teardown.done);
	if (error)
		return error;
	guest->platform = NULL;
	return BULKHEAD_AGAIN;
}

/** A sealed guest's platform with a reference and its lock. NULL: why not is in error. */
static struct guest_platform *enter(uint64_t handle, enum bulkhead_error *error)
{
	struct core_locked held = core_lock();
	struct guest *guest = guest_find(held, handle);

	*error = BULKHEAD_OK;
	if (!guest)
		*error = BULKHEAD_NO_GUEST;
	else if (guest->state != BULKHEAD_GUEST_SEALED || !guest->platform)
		*error = BULKHEAD_BAD_STATE;
	else
		guest->running++;
	core_unlock(held);
	if (*error)
		return NULL;
	arch_lock(&guest->platform->lock);
	return guest->platform;
}

/** What vCPUs are to be woken; all else an access leaves to do is its own vCPU's to tell. */
static uint64_t leave(struct guest_platform *platform)
{
	struct guest *guest = platform->memory.guest;
	struct platform_effects effects;
	struct core_locked held;

	platform_clear_effects(&effects);
	platform_take_effects(&platform->platform, &effects);
	arch_unlock(&platform->lock);
	held = core_lock();
	guest->running--;
	core_unlock(held);
	return effects.vcpus | (effects.doorbells ? BULKHEAD_EFFECT_KICK_BACKEND : 0);
}

static enum bulkhead_error configure(struct core_locked held, struct platform *platform,
				     uint64_t slot, struct phys page, uint64_t size_bytes)
{
	struct platform_device *device = platform_find(platform, slot);
	uint8_t config[BULKHEAD_DEVICE_CONFIG_BYTES];
	const void *content;

	if (!device || size_bytes != device->device.config_bytes)
		return BULKHEAD_INVALID;
	content = ownership_service_page(held, page);
	if (!content)
		return BULKHEAD_NOT_OWNED;
	__builtin_memcpy(config, content, size_bytes);
	platform_set_config(device, config);
	return BULKHEAD_OK;
}

enum bulkhead_error guest_platform_configure(uint64_t handle, uint64_t slot, struct phys page,
					     uint64_t size_bytes, uint64_t *effects)
{
	struct core_locked held = core_lock();
	struct guest *guest = guest_find(held, handle);
	struct guest_platform *platform;
	enum bulkhead_error error;

	if (guest && guest->state == BULKHEAD_GUEST_LOADING) {
		error = BULKHEAD_BAD_STATE;
		if (guest->platform)
			error = configure(held, &guest->platform->platform, slot, page, size_bytes);
		core_unlock(held);
		return error;
	}
	core_unlock(held);
	platform = enter(handle, &error);
	if (!platform)
		return error;
	held = core_lock();
	error = configure(held, &platform->platform, slot, page, size_bytes);
	core_unlock(held);
	*effects = leave(platform);
	return error;
}

enum bulkhead_error guest_platform_backend(uint64_t handle, uint64_t name, uint64_t *effects)
{
	enum bulkhead_error error;
	struct guest_platform *platform = enter(handle, &error);
	struct platform_device *device;
	uint8_t queue;

	if (!platform)
		return error;
	device = find_queue(&platform->platform, name, &queue);
	if (!device || !device->relay_of[queue])
		error = BULKHEAD_INVALID;
	else if (platform_backend(device, queue))
		error = BULKHEAD_AGAIN;
	*effects = leave(platform);
	return error;
}

enum bulkhead_error guest_platform_line(uint64_t handle, uint64_t line, uint64_t level,
					uint64_t *effects)
{
	enum bulkhead_error error;
	struct guest_platform *platform = enter(handle, &error);

	if (!platform)
		return error;
	if (level > 1 || (line != LINE_SERIAL && line != LINE_CLOCK && line != LINE_POWER))
		error = BULKHEAD_INVALID;
	else if (line != LINE_POWER)
		platform->platform.effects.vcpus |=
			apic_bus_set_input(&platform->platform.apics, (unsigned int)line, level);
	else if (level) /* who holds the line down is the chipset, until the guest has acknowledged it */
		platform_press_power(&platform->platform);
	*effects = leave(platform);
	return error;
}

/** Tells a device that its backend has let go, or is gone. */
static enum bulkhead_error tell_device(uint64_t handle, uint64_t slot, bool (*tell)(struct platform_device *device),
				       uint64_t *effects)
{
	enum bulkhead_error error;
	struct guest_platform *platform = enter(handle, &error);
	struct platform_device *device;

	if (!platform)
		return error;
	device = platform_find(&platform->platform, slot);
	if (!device)
		error = BULKHEAD_INVALID;
	else if (!tell(device))
		error = BULKHEAD_BAD_STATE;
	*effects = leave(platform);
	return error;
}

enum bulkhead_error guest_platform_release(uint64_t handle, uint64_t slot, uint64_t *effects)
{
	return tell_device(handle, slot, platform_release, effects);
}

enum bulkhead_error guest_platform_lose(uint64_t handle, uint64_t slot, uint64_t *effects)
{
	return tell_device(handle, slot, platform_lose, effects);
}

/** The local APIC is the vCPU's own: no lock. */
static void access_local_apic(struct vcpu *vcpu, uint32_t offset, bool is_write, uint64_t *value)
{
	struct apic_bus *apics = &vcpu->guest->platform->platform.apics;

	if (is_write)
		vcpu->effects.vcpus |= apic_bus_write(apics, vcpu->index, offset, (uint32_t)*value,
						      arch_cycles());
	else
		*value = apic_bus_read(apics, vcpu->index, offset, arch_cycles());
}

/** All else that lies in memory. Apart: the local APIC is what most accesses are for. */
static __attribute__((noinline)) bool access_bus(struct vcpu *vcpu, uint64_t address, uint32_t size_bytes, bool is_write,
						 uint64_t *value)
{
	struct guest_platform *platform = vcpu->guest->platform;
	bool is_ours;

	arch_lock(&platform->lock);
	is_ours = is_write ? platform_mmio_write(&platform->platform, address, size_bytes, *value) :
			     platform_mmio_read(&platform->platform, address, size_bytes, value);
	platform_take_effects(&platform->platform, &vcpu->effects);
	arch_unlock(&platform->lock);
	return is_ours;
}

bool guest_platform_mmio(struct vcpu *vcpu, struct guest_phys at, uint32_t size_bytes,
			 bool is_write, uint64_t *value)
{
	if (!vcpu->guest->platform)
		return false;
	if (at.value < MACHINE_LAPIC || at.value - MACHINE_LAPIC >= PAGE_BYTES)
		return access_bus(vcpu, at.value, size_bytes, is_write, value);
	access_local_apic(vcpu, (uint32_t)(at.value - MACHINE_LAPIC), is_write, value);
	return true;
}

bool guest_platform_port(struct vcpu *vcpu, uint16_t port, uint32_t size_bytes, bool is_write,
			 uint32_t *value)
{
	struct guest_platform *platform = vcpu->guest->platform;
	bool is_ours;

	if (!platform)
		return false;
	arch_lock(&platform->lock);
	is_ours = is_write ? platform_port_write(&platform->platform, port, size_bytes, *value) :
			     platform_port_read(&platform->platform, port, size_bytes, value);
	platform_take_effects(&platform->platform, &vcpu->effects);
	arch_unlock(&platform->lock);
	return is_ours;
}

bool guest_platform_resume(struct vcpu *vcpu)
{
	struct guest_platform *platform = vcpu->guest->platform;
	struct bulkhead_run *run = arch_page(vcpu->run_page);
	bool is_waiting;

	if (!platform || !READ_ONCE(platform->platform.waiting))
		return false;
	arch_lock(&platform->lock);
	is_waiting = platform_work(&platform->platform);
	platform_take_effects(&platform->platform, &vcpu->effects);
	arch_unlock(&platform->lock);
	if (is_waiting || guest_platform_must_exit(vcpu)) {
		WRITE_ONCE(run->exit, BULKHEAD_RUN_KICK);
		return true;
	}
	return false;
}

void guest_platform_tell(struct vcpu *vcpu)
{
	struct bulkhead_run *run = arch_page(vcpu->run_page);
	const struct platform_event *event = &vcpu->effects.event;

	WRITE_ONCE(run->vcpus, vcpu->effects.vcpus & ~(1u << vcpu->index));
	WRITE_ONCE(run->doorbells, vcpu->effects.doorbells);
	WRITE_ONCE(run->deadline, vcpu->deadline);
	WRITE_ONCE(run->tables, vcpu->effects.needs_table);
	WRITE_ONCE(run->given_up_count, vcpu->effects.given_up_count);
	WRITE_ONCE(run->wanted_count, vcpu->effects.wanted_count);
	for (uint32_t i = 0; i < vcpu->effects.given_up_count; i++)
		WRITE_ONCE(run->given_up[i], vcpu->effects.given_up[i]);
	for (uint32_t i = 0; i < vcpu->effects.wanted_count; i++)
		WRITE_ONCE(run->wanted[i], vcpu->effects.wanted[i]);
	if (event->event) {
		WRITE_ONCE(run->exit, BULKHEAD_RUN_DEVICE);
		WRITE_ONCE(run->slot, event->slot);
		WRITE_ONCE(run->event, event->event);
		WRITE_ONCE(run->features, event->features);
		WRITE_ONCE(run->queues, event->queues);
	}
	platform_clear_effects(&vcpu->effects);
}
