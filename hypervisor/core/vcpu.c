/* SPDX-License-Identifier: MIT */
/*
 * A guest's processors: making them, their state while that may be seen, and running them. A vCPU
 * runs on one processor at a time; while it does, its guest cannot be destroyed.
 */
#include "guest_platform.h"

enum bulkhead_error guest_add_vcpu(struct core_locked held, struct guest *guest, uint64_t index,
				   struct phys pages, struct phys run_page)
{
	uint32_t page_count = 1 + arch_vcpu_pages();
	enum bulkhead_error error;
	struct vcpu *vcpu;

	if (guest->state != BULKHEAD_GUEST_LOADING)
		return BULKHEAD_BAD_STATE;
	if (index >= BULKHEAD_MAX_VCPUS)
		return BULKHEAD_INVALID;
	vcpu = &guest->vcpus[index];
	if (vcpu->state != VCPU_FREE)
		return BULKHEAD_OCCUPIED;
	/* A platform comes before the vCPUs or not at all. */
	if (guest->transfer.kind == TRANSFER_TAKE)
		return BULKHEAD_BUSY;
	/* Pinned first: a run page among the pages to be given is then refused by the taking. */
	error = ownership_pin(held, run_page);
	if (error)
		return error;
	error = ownership_take(held, pages, page_count, FRAME_VCPU, guest_slot(guest));
	if (error) {
		ownership_unpin(held, run_page);
		return error;
	}

	*vcpu = (struct vcpu){
		.guest = guest,
		.index = (uint32_t)index,
		.state = VCPU_STOPPED,
		.pages = pages,
		.page_count = page_count,
		.run_page = run_page,
	};
	guest->vcpu_count++;
	if (guest->platform)
		apic_bus_add(&guest->platform->platform.apics, vcpu->index, core.tsc_khz);
	arch_vcpu_init(vcpu);
	return BULKHEAD_OK;
}

/* A vCPU that exists and is not running, or why not. */
static enum bulkhead_error find_idle(struct guest *guest, uint64_t index, struct vcpu **vcpu)
{
	if (index >= BULKHEAD_MAX_VCPUS)
		return BULKHEAD_INVALID;
	*vcpu = &guest->vcpus[index];
	if ((*vcpu)->state == VCPU_FREE)
		return BULKHEAD_BAD_STATE;
	return (*vcpu)->state == VCPU_RUNNING ? BULKHEAD_BUSY : BULKHEAD_OK;
}

/* Before the seal everybody's, after it only an unprotected guest's registers are open. */
static bool registers_are_open(const struct guest *guest)
{
	return guest->state == BULKHEAD_GUEST_LOADING ||
	       (guest->state == BULKHEAD_GUEST_SEALED && !guest->is_protected);
}

/* Finds a vCPU whose registers the caller may read or set, by way of a page of its own. */
static enum bulkhead_error find_open(struct core_locked held, struct guest *guest, uint64_t index,
				     struct phys state_page, struct vcpu **vcpu)
{
	enum bulkhead_error error;

	if (!registers_are_open(guest))
		return BULKHEAD_BAD_STATE;
	error = find_idle(guest, index, vcpu);
	if (error)
		return error;
	if (!ownership_service_page(held, state_page))
		return BULKHEAD_NOT_OWNED;
	return BULKHEAD_OK;
}

enum bulkhead_error guest_set_vcpu(struct core_locked held, struct guest *guest, uint64_t index,
				   struct phys state_page)
{
	struct vcpu *vcpu;
	enum bulkhead_error error = find_open(held, guest, index, state_page, &vcpu);

	if (error)
		return error;
	/* Copied before it is checked: the caller may be writing to its page. */
	vcpu->state = VCPU_STOPPED;
	arch_copy_page(vcpu->pages, state_page);
	error = arch_vcpu_check_state(arch_page(vcpu->pages));
	if (error)
		return error;
	vcpu->state = VCPU_READY;
	if (guest->state == BULKHEAD_GUEST_SEALED)
		arch_vcpu_set_state(vcpu, arch_page(vcpu->pages));
	return BULKHEAD_OK;
}

enum bulkhead_error guest_get_vcpu(struct core_locked held, struct guest *guest, uint64_t index,
				   struct phys state_page)
{
	struct vcpu *vcpu;
	enum bulkhead_error error = find_open(held, guest, index, state_page, &vcpu);

	if (error)
		return error;
	if (guest->state == BULKHEAD_GUEST_SEALED)
		arch_vcpu_get_state(vcpu, arch_page(vcpu->pages));
	arch_copy_page(state_page, vcpu->pages);
	return BULKHEAD_OK;
}

/* Binds a vCPU to this processor. */
static enum bulkhead_error bind(struct core_locked held, uint64_t handle, uint64_t index,
				struct vcpu **vcpu)
{
	struct guest *guest = guest_find(held, handle);
	enum bulkhead_error error;

	if (!guest)
		return BULKHEAD_NO_GUEST;
	if (guest->state != BULKHEAD_GUEST_SEALED)
		return BULKHEAD_BAD_STATE;
	error = find_idle(guest, index, vcpu);
	if (error)
		return error;
	if ((*vcpu)->state != VCPU_READY)
		return BULKHEAD_BAD_STATE;
	(*vcpu)->state = VCPU_RUNNING;
	(*vcpu)->processor = arch_processor();
	guest->running++;
	return BULKHEAD_OK;
}

enum bulkhead_error guest_run_vcpu(uint64_t handle, uint64_t index)
{
	struct core_locked held = core_lock();
	struct vcpu *vcpu;
	enum bulkhead_error error = bind(held, handle, index, &vcpu);

	core_unlock(held);
	if (error)
		return error;
	if (!guest_platform_resume(vcpu))
		arch_vcpu_run(vcpu);
	guest_platform_tell(vcpu);
	held = core_lock();
	vcpu->state = VCPU_READY;
	vcpu->guest->running--;
	core_unlock(held);
	return BULKHEAD_OK;
}
