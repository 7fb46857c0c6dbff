/* SPDX-License-Identifier: MIT */
/*
 * Describes the balloon and sets what it asks for; see balloon.h. Numbers are of virtio 1.2, 5.5.
 */
#include "balloon.h"
#include "bulkhead_guest.h"

#include <bulkhead/kvm.h>

#include <errno.h>
#include <string.h>

#define TELL_BEFORE_USE (1u << 0) /* the driver says so before it uses a page that it takes out */
#define CONFIG_BYTES 8u /* pages wanted, pages that the driver has put in: 32 bits each */

const struct bulkhead_device_description *balloon_describe(void)
{
	static const struct bulkhead_device_description description = {
		.type = 5,
		.class_code = 0xff0000,
		.features = TELL_BEFORE_USE | VIRTIO_F_RING_INDIRECT | VIRTIO_F_EVENT_INDEX,
		.queue_count = 2,
		.queue_size_max = 128,
		.config_bytes = CONFIG_BYTES,
		.config_writable_bytes = CONFIG_BYTES,
	};

	return &description;
}

int balloon_ask(struct machine *machine, uint64_t bytes)
{
	struct bulkhead_kvm_config config = { .slot = MACHINE_BALLOON_SLOT, .size_bytes = CONFIG_BYTES };
	uint32_t pages = (uint32_t)(bytes / BULKHEAD_PAGE_BYTES);

	if (bytes > machine->config->memory_bytes)
		return -EINVAL;
	memcpy(config.config, &pages, sizeof(pages));
	return bulkhead_guest_operate(machine, BULKHEAD_KVM_CONFIG, &config);
}
