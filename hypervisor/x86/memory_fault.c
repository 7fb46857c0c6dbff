/* SPDX-License-Identifier: MIT */
/*
 * See memory_fault.h.
 */
#include "apic.h"
#include "config_space.h"
#include "device_interrupts.h"
#include "hypervisor.h"
#include "memory_fault.h"
#include "service_memory.h"
#include "store_decoder.h"

#define MAX_WINDOWS 40u

static struct {
	struct {
		uint64_t base, size_bytes;
		enum window_kind kind;
		uint16_t function;
	} rows[MAX_WINDOWS];
	unsigned int count;
} windows;

void memory_fault_add_window(enum window_kind kind, uint64_t base, uint64_t size_bytes,
			     uint16_t function)
{
	if (windows.count == MAX_WINDOWS)
		panic("more filtered registers than the hypervisor has room for");
	windows.rows[windows.count].base = base;
	windows.rows[windows.count].size_bytes = size_bytes;
	windows.rows[windows.count].kind = kind;
	windows.rows[windows.count++].function = function;
}

static uint64_t raw_read(uint64_t address, unsigned int size_bytes)
{
	volatile void *at = direct(address);

	switch (size_bytes) {
	case 1:
		return *(volatile uint8_t *)at;
	case 2:
		return *(volatile uint16_t *)at;
	case 4:
		return *(volatile uint32_t *)at;
	default:
		return *(volatile uint64_t *)at;
	}
}

static void raw_write(uint64_t address, unsigned int size_bytes, uint64_t value)
{
	volatile void *at = direct(address);

	switch (size_bytes) {
	case 1:
		*(volatile uint8_t *)at = (uint8_t)value;
		break;
	case 2:
		*(volatile uint16_t *)at = (uint16_t)value;
		break;
	case 4:
		*(volatile uint32_t *)at = (uint32_t)value;
		break;
	default:
		*(volatile uint64_t *)at = value;
		break;
	}
}

/*
 * Writes a filtered register, as far as it may be written. False: the instruction is to be executed
 * again, because there is more to do than one exit may.
 */
static bool window_write(struct processor *processor, unsigned int window, uint64_t address,
			 unsigned int size_bytes, uint64_t value)
{
	uint32_t offset = (uint32_t)(address - windows.rows[window].base);

	switch (windows.rows[window].kind) {
	case WINDOW_APIC:
		apic_write(processor, address, size_bytes, value);
		break;
	case WINDOW_HPET:
		if (hpet_write_filter(offset, size_bytes, &value))
			raw_write(address, size_bytes, value);
		break;
	case WINDOW_CONFIG:
		if (config_space_may_write(windows.rows[window].function, (uint16_t)offset, size_bytes))
			raw_write(address, size_bytes, value);
		break;
	case WINDOW_IOMMU:
		return device_interrupts_write(windows.rows[window].function, offset, size_bytes,
					       value);
	}
	return true;
}

static bool emulate(struct processor *processor, unsigned int window, uint64_t address)
{
	struct view view = vendor_view(processor);
	uint64_t *gpr = processor->gpr;
	uint8_t bytes[INSTRUCTION_BYTES];
	struct store store;
	uint64_t value;
	size_t count;

	count = service_memory_fetch(&view, view.rip + (view.is_64bit ? 0 : view.cs_base), bytes,
				     sizeof(bytes));
	if (!store_decode(bytes, count, view.is_64bit, &store))
		return false;
	if ((address & (store.size_bytes - 1)) != 0)
		return false;
	/* Nobody exchanges these, and repeating an exchange or a string store would not be the same. */
	if (windows.rows[window].kind == WINDOW_IOMMU && (store.is_exchange || store.is_string))
		return false;
	gpr[GPR_RAX] = vendor_rax(processor);
	value = store_value(&store, gpr);
	if (store.is_exchange) {
		store_exchange(&store, gpr, raw_read(address, store.size_bytes));
		vendor_set_rax(processor, gpr[GPR_RAX]);
	}
	if (store.is_string)
		gpr[GPR_RDI] += view.rflags & RFLAGS_DF ? -(uint64_t)store.size_bytes :
							  (uint64_t)store.size_bytes;
	if (window_write(processor, window, address, store.size_bytes, value))
		vendor_skip(processor, store.length_bytes);
	return true;
}

void memory_fault(struct processor *processor, uint64_t address, bool is_write, bool is_final)
{
	for (unsigned int i = 0; is_write && is_final && i < windows.count; i++)
		if (address - windows.rows[i].base < windows.rows[i].size_bytes) {
			if (windows.rows[i].kind == WINDOW_APIC) {
				core.stats[processor->index].exits[BULKHEAD_EXIT_MEMORY]--;
				core_count_exit(BULKHEAD_EXIT_APIC);
			}
			if (emulate(processor, i, address))
				return;
			break;
		}
	vendor_inject(processor, VECTOR_GP, 0);
}
