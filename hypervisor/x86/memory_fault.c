/* SPDX-License-Identifier: MIT */
/*
 * See memory_fault.h.
 */
#include "../platform/mmio_decoder.h"
#include "apic.h"
#include "config_space.h"
#include "device_interrupts.h"
#include "hypervisor.h"
#include "memory_fault.h"
#include "service_memory.h"

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

/* The access of an instruction to a filtered register. */
struct window_access {
	struct processor *processor;
	unsigned int window;
	bool is_unfinished;
};

static uint64_t read_window(void *context, uint64_t address, uint32_t size_bytes)
{
	(void)context;
	return raw_read(address, size_bytes);
}

static void write_window(void *context, uint64_t address, uint32_t size_bytes, uint64_t value)
{
	struct window_access *access = context;

	access->is_unfinished = !window_write(access->processor, access->window, address, size_bytes, value);
}

/* What drivers write registers with. Repeating anything but a plain store would not be the same. */
static bool is_carried_out(const struct mmio_instruction *instruction, enum window_kind kind)
{
	switch (instruction->kind) {
	case MMIO_STORE:
		return true;
	case MMIO_EXCHANGE:
		return kind != WINDOW_IOMMU;
	case MMIO_STOS:
		return kind != WINDOW_IOMMU && !instruction->is_repeated;
	default:
		return false;
	}
}

/*
 * Carries out the store that was stopped. The address comes from the hardware, never from the instruction: whatever
 * another processor has meanwhile put in its place, the check is made on what will be written.
 */
static bool emulate(struct processor *processor, unsigned int window, uint64_t address)
{
	struct window_access access = { .processor = processor, .window = window };
	struct mmio_device device = { read_window, write_window, &access };
	struct view view = vendor_view(processor);
	uint64_t gpr[GPR_COUNT];
	struct mmio_state state = { .gpr = gpr, .rflags = view.rflags };
	uint8_t bytes[MMIO_INSTRUCTION_BYTES];
	struct mmio_instruction instruction;
	uint32_t count;

	count = service_memory_fetch(&view, view.rip + (view.is_64bit ? 0 : view.cs_base), bytes,
				     sizeof(bytes));
	if (!mmio_decode(bytes, count, view.is_64bit ? MMIO_CODE_64 : MMIO_CODE_32, &instruction) ||
	    !is_carried_out(&instruction, windows.rows[window].kind) ||
	    (address & (instruction.size_bytes - 1u)) != 0)
		return false;
	for (unsigned int i = 0; i < GPR_COUNT; i++)
		gpr[i] = processor->gpr[i];
	gpr[GPR_RAX] = vendor_rax(processor);
	/* No memory: none of these has a second operand there. */
	if (!mmio_execute(&state, &instruction, NULL, address, true, &device))
		return false;
	if (access.is_unfinished)
		return true;
	for (unsigned int i = 0; i < GPR_COUNT; i++)
		processor->gpr[i] = gpr[i];
	vendor_set_rax(processor, gpr[GPR_RAX]);
	vendor_skip(processor, instruction.length_bytes);
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
