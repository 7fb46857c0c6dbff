/* SPDX-License-Identifier: MIT */
/*
 * What the units noted, as lines of the hypervisor's log. Whoever drives a device decides how much it does that is blocked,
 * so each call takes a few events only, and a device's lines become rarer.
 */
#include "../core/log.h"
#include "iommu.h"

#define EVENTS_AT_ONCE 64u
#define LINES_AT_ONCE  4u

/* Counts an event with its device's. Returns their number if it is worth a line, else 0. */
static uint32_t note(struct iommu *iommu, uint16_t device)
{
	for (uint32_t i = 0; i < IOMMU_NOTED_DEVICES; i++) {
		uint32_t *events = &iommu->noted[i].events;

		if (*events > 0 && iommu->noted[i].device != device)
			continue;
		iommu->noted[i].device = device;
		++*events;
		return (*events & (*events - 1)) == 0 ? *events : 0;
	}
	return 0;
}

static void log_event(struct log *log, const struct iommu_event *event, uint32_t count)
{
	unsigned int device = event->device;

	/* Bus, device and function as Linux names them. */
	log_line(log, LOG_WARNING, "iommu", "device %x%x:%x%x.%u %s %lx (event %lx, number %u of this device)", device >> 12,
		 device >> 8 & 15, device >> 7 & 1, device >> 3 & 15, device & 7, event->what, event->address, event->code,
		 count);
}

void iommu_log_events(struct iommu *iommu, struct log *log)
{
	struct iommu_event event;

	for (uint32_t events = 0, lines = 0; events < EVENTS_AT_ONCE && lines < LINES_AT_ONCE; events++) {
		uint32_t count;

		if (!iommu_next_event(iommu, &event))
			return;
		count = note(iommu, event.device);
		if (count > 0) {
			log_event(log, &event, count);
			lines++;
		}
	}
}
