/* SPDX-License-Identifier: MIT */
/*
 * See power.h.
 */
#include "cpu.h"
#include "power.h"
#include "sleep_type.h"
#include "vendor.h"
#include "../core/ownership.h"

#define PM1_SLEEP_TYPE_SHIFT 10
#define PM1_SLEEP_TYPE_MASK  7u
#define PM1_SLEEP_ENABLE     (1u << 13)
#define PM1_RELEASE	     (1u << 2) /* raises an SMI */

static struct {
	int off_type; /* sleep type of S5, -1: unknown */
	uint32_t is_ending;
	uint32_t has_refused; /* said once: the log is not the service domain's to fill */
} power = { .off_type = -1 };

void power_park(void)
{
	__atomic_store_n(&this_processor()->is_stopped, 1, __ATOMIC_RELEASE);
	for (;;) {
		processor_poll_flush();
		vendor_wait();
	}
}

/* All other processors are stopped and guests' memory is cleared when this returns. */
static void end(const char *reason)
{
	struct core_locked held;

	if (__atomic_exchange_n(&power.is_ending, 1, __ATOMIC_SEQ_CST))
		power_park();
	log_warning("power", "%s: clearing guests' memory", reason);
	processor_stop_others();
	held = core_lock();
	ownership_wipe_guests(held);
	core_unlock(held);
}

void power_reset(const char *reason)
{
	static const struct descriptor_table nothing = { 0, 0 };

	end(reason);
	if (machine.fadt.reset.space == ACPI_SPACE_PORT && machine.fadt.reset.length_bytes)
		out8((uint16_t)machine.fadt.reset.address, machine.fadt.reset_value);
	out8(0xcf9, 0x02);
	out8(0xcf9, 0x06);
	out8(0x64, 0xfe);
	__asm__ volatile("lidt %0\n\tud2" : : "m"(nothing)); /* a triple fault resets as well */
	__builtin_unreachable();
}

void power_pm_control(uint16_t port, unsigned int size_bytes, uint32_t value)
{
	unsigned int base = machine.fadt.pm1a_control.address == (port & ~1u) ||
					    machine.fadt.pm1b_control.address == (port & ~1u) ?
				    port & ~1u :
				    port;
	uint32_t bits = size_bytes == 1 ? (value & 0xff) << (8 * (port - base)) : value & 0xffff;
	int type = (int)(bits >> PM1_SLEEP_TYPE_SHIFT & PM1_SLEEP_TYPE_MASK);

	if (!power_smm_is_locked())
		value &= port == base ? ~PM1_RELEASE : ~0u;
	if (!(bits & PM1_SLEEP_ENABLE)) {
		out_bytes(port, size_bytes, value);
		return;
	}
	if (size_bytes == 1 || type != power.off_type) {
		if (!__atomic_exchange_n(&power.has_refused, 1, __ATOMIC_RELAXED))
			log_warning("power", "sleep type %u refused: only power-off is possible",
				    (unsigned int)type);
		return;
	}
	end("power-off");
	out16(port, (uint16_t)value);
	power_park();
}

void power_find_off_type(const struct acpi_memory *memory, const struct acpi_tables *tables)
{
	const struct acpi_table *fadt = acpi_table_find(tables, "FACP");
	uint64_t dsdt = 0;
	uint32_t length = 0;

	/* X_DSDT stands at offset 140 where the table is long enough, DSDT at 40. */
	if (!fadt || !acpi_table_value(memory, fadt, 40, 4, &dsdt))
		return;
	if (fadt->length_bytes >= 148 && dsdt == 0 &&
	    !acpi_table_value(memory, fadt, 140, 8, &dsdt))
		return;
	if (!memory->read(memory->context, dsdt + 4, &length, sizeof(length)) || length < 36 ||
	    length > ACPI_MAX_TABLE_BYTES || dsdt + length > 1ull << 32)
		return;
	power.off_type = sleep_type_of_off(direct(dsdt), length);
}
