/* SPDX-License-Identifier: MIT */
/*
 * Start: from a loader's call to the service domain running as a guest on every processor. The order
 * of BOOT_START: our own page tables; what ACPI says; who owns which memory; system management mode;
 * the IOMMU; the permission maps. BOOT_ENTER then only switches.
 */
#include "apic.h"
#include "clock.h"
#include "config_space.h"
#include "cpu.h"
#include "device_interrupts.h"
#include "hypervisor.h"
#include "memory_fault.h"
#include "memory_layout.h"
#include "port_policy.h"
#include "power.h"
#include "vendor.h"

/** Spare tables for splitting the service domain's large pages, before it has to pay for them. */
#define SPARE_TABLES 128u
#define SMM_STUB_BYTES 0x10000u

struct machine machine;

static struct own_memory own;
static struct memory_layout layout;
static struct type_range types[MAX_TYPE_RANGES];

extern const uint32_t build_id_note[];

/* entry.S */
uint32_t hypervisor_operation(uint64_t operation, const struct boot_info *info,
			      const uint64_t *saved, uint64_t rflags);
uint32_t hypervisor_call_on(uint32_t (*function)(void *), void *argument, uint64_t cr3,
			    uint64_t stack);
__attribute__((noreturn)) void hypervisor_leave_for(void (*function)(struct processor *),
						    struct processor *processor, uint64_t cr3,
						    uint64_t stack);

static bool tables_read(void *context, uint64_t address, void *buffer, size_t size)
{
	(void)context;
	if (address == 0 || address > 1ull << 32 || size > (1ull << 32) - address)
		return false;
	__builtin_memcpy(buffer, direct(address), size);
	return true;
}

static const struct acpi_memory acpi_memory = { tables_read, NULL };

static uint64_t register_read(void *context, uint64_t address)
{
	(void)context;
	return *(volatile uint64_t *)direct(address);
}

static void register_write(void *context, uint64_t address, uint64_t value)
{
	(void)context;
	*(volatile uint64_t *)direct(address) = value;
}

/* Whoever waits for the IOMMU must go on answering flushes: their owner may hold what it waits for. */
static void register_relax(void *context)
{
	(void)context;
	processor_poll_flush();
	cpu_relax();
}

void hypervisor_flush_devices(void)
{
	if (iommu_flush(&machine.iommu) != IOMMU_OK)
		panic("the IOMMU does not finish a flush");
}

static void read_build_id(void)
{
	const uint8_t *id = (const uint8_t *)&build_id_note[3] + build_id_note[0];

	for (uint32_t i = 0; i < build_id_note[1] && i < 20; i++) {
		machine.build_id[2 * i] = "0123456789abcdef"[id[i] >> 4];
		machine.build_id[2 * i + 1] = "0123456789abcdef"[id[i] & 15];
	}
}

static uint64_t ram_end(const struct boot_info *info)
{
	uint64_t end = 1ull << 32;

	for (uint32_t i = 0; i < info->region_count; i++) {
		const struct boot_region *region = &info->regions[i];

		if (region->kind == BOOT_MEMORY_RAM && region->base + region->size_bytes > end)
			end = region->base + region->size_bytes;
	}
	return (end + 0x1fffff) & ~0x1fffffull;
}

/* Reads what firmware says about power, timers and configuration space. Missing tables are normal. */
static struct acpi_tables read_acpi(void)
{
	struct acpi_tables tables = { 0 };
	struct port_layout ports = { 0 };
	struct acpi_fadt *fadt = &machine.fadt;
	enum acpi_result result = ACPI_OK;

	port_policy_set(&ports);
	if (machine.info.rsdp == 0)
		result = acpi_find_rsdp(&acpi_memory, &machine.info.rsdp);
	if (result == ACPI_OK)
		result = acpi_read_tables(&acpi_memory, machine.info.rsdp, &tables);
	if (result != ACPI_OK) {
		log_warning("acpi", "no tables: %s", acpi_result_name(result));
		return tables;
	}
	if (acpi_read_mcfg(&acpi_memory, &tables, &machine.mcfg) != ACPI_OK)
		log_info("acpi", "no memory-mapped configuration space");
	if (acpi_read_hpet(&acpi_memory, &tables, &machine.hpet) != ACPI_OK)
		log_info("acpi", "no event timers");
	if (acpi_read_fadt(&acpi_memory, &tables, fadt) != ACPI_OK) {
		log_warning("acpi", "no FADT: power ports are refused");
		return tables;
	}
	power_find_off_type(&acpi_memory, &tables);
	ports.pm1a_event = (uint16_t)fadt->pm1a_event.address;
	ports.pm1b_event = (uint16_t)fadt->pm1b_event.address;
	ports.pm1a_control = (uint16_t)fadt->pm1a_control.address;
	ports.pm1b_control = (uint16_t)fadt->pm1b_control.address;
	ports.pm_timer = (uint16_t)fadt->pm_timer.address;
	ports.gpe0 = (uint16_t)fadt->gpe0.address;
	ports.gpe0_bytes = fadt->gpe0.length_bytes;
	ports.smi_command = fadt->smi_command_port;
	port_policy_set(&ports);
	return tables;
}

/* Registers whose writes are filtered: read-only in the nested tables, and a window for each. */
static void cover_registers(void)
{
	const struct config_guard *guard = config_space_guarded();

	memory_layout_cover(&layout, APIC_WINDOW, APIC_WINDOW_BYTES, REGION_READ_ONLY);
	memory_fault_add_window(WINDOW_APIC, APIC_WINDOW, APIC_WINDOW_BYTES, 0);
	if (machine.hpet) {
		uint64_t page = machine.hpet & ~(PAGE_BYTES - 1);

		memory_layout_cover(&layout, page, PAGE_BYTES, REGION_READ_ONLY);
		memory_fault_add_window(WINDOW_HPET, page, PAGE_BYTES, 0);
	}
	for (uint32_t i = 0; i < machine.mcfg.count; i++) {
		const struct acpi_ecam *ecam = &machine.mcfg.windows[i];

		for (uint32_t j = 0; ecam->segment == 0 && j < guard->count; j++) {
			uint64_t page = ecam->base + ((uint64_t)guard->functions[j] << 12);

			memory_layout_cover(&layout, page, PAGE_BYTES, REGION_READ_ONLY);
			memory_fault_add_window(WINDOW_CONFIG, page, PAGE_BYTES,
						guard->functions[j]);
		}
	}
	for (uint32_t i = 0; i < machine.iommu.unit_count; i++) {
		struct iommu_window window = iommu_window(&machine.iommu, i);

		memory_layout_cover(&layout, window.base, window.size_bytes, REGION_NONE);
	}
}

static void lay_memory_out(void)
{
	const struct boot_info *info = &machine.info;

	for (uint32_t i = 0; i < info->region_count; i++) {
		const struct boot_region *region = &info->regions[i];
		uint64_t base = (region->base + PAGE_BYTES - 1) & ~(PAGE_BYTES - 1);
		uint64_t end = (region->base + region->size_bytes) & ~(PAGE_BYTES - 1);

		/* Page 0 is never given away: a table that holds 0 means nothing. */
		if (base == 0)
			base = PAGE_BYTES;
		if (region->kind == BOOT_MEMORY_RAM && end > base)
			memory_layout_cover(&layout, base, end - base, REGION_RAM);
	}
	memory_layout_merge(&layout);
	memory_layout_cover(&layout, info->own_base, info->own_bytes, REGION_HYPERVISOR);
	if (info->smm_stub)
		memory_layout_cover(&layout, info->smm_stub, SMM_STUB_BYTES, REGION_HYPERVISOR);
	cover_registers();
}

static const uint32_t fixed_mtrrs[] = { 0x250, 0x258, 0x259, 0x268, 0x269, 0x26a,
					0x26b, 0x26c, 0x26d, 0x26e, 0x26f };
static struct mtrr_state mtrrs; /* of the first processor */

static size_t read_types(unsigned int address_bits)
{
	mtrrs.address_bits = address_bits;
	mtrrs.default_type = rdmsr(MSR_MTRR_DEF);
	mtrrs.variable_count = rdmsr(MSR_MTRR_CAP) & 0xff;
	if (mtrrs.variable_count > MTRR_MAX_VARIABLE)
		mtrrs.variable_count = MTRR_MAX_VARIABLE;
	for (size_t i = 0; i < ARRAY_COUNT(fixed_mtrrs); i++)
		mtrrs.fixed[i] = rdmsr(fixed_mtrrs[i]);
	for (uint32_t i = 0; i < mtrrs.variable_count; i++) {
		mtrrs.base[i] = rdmsr(MSR_MTRR_BASE0 + 2 * i);
		mtrrs.mask[i] = rdmsr(MSR_MTRR_BASE0 + 2 * i + 1);
	}
	return mtrr_ranges(&mtrrs, types, MAX_TYPE_RANGES);
}

/*
 * Firmware may leave the other processors' MTRRs to the operating system, which later cannot write
 * them any more (APM vol. 2, 7.7.5 for the order).
 */
static void copy_mtrrs(void)
{
	uint64_t cr0 = read_cr0();

	write_cr0(cr0 | CR0_CD);
	__asm__ volatile("wbinvd" : : : "memory");
	wrmsr(MSR_MTRR_DEF, 0);
	for (size_t i = 0; i < ARRAY_COUNT(fixed_mtrrs); i++)
		wrmsr(fixed_mtrrs[i], mtrrs.fixed[i]);
	for (uint32_t i = 0; i < mtrrs.variable_count; i++) {
		wrmsr(MSR_MTRR_BASE0 + 2 * i, mtrrs.base[i]);
		wrmsr(MSR_MTRR_BASE0 + 2 * i + 1, mtrrs.mask[i]);
	}
	wrmsr(MSR_MTRR_DEF, mtrrs.default_type);
	__asm__ volatile("wbinvd" : : : "memory");
	write_cr0(cr0);
}

/* Hands memory over to the core: from here on it knows who owns what. */
static enum boot_result start_core(void)
{
	struct core_config config = {
		.format = &table_format_amd,
		.build_id = machine.build_id,
		.back_end = vendor_name,
		.facts = machine.info.facts,
		.tsc_khz = clock_tsc_khz(),
	};
	struct memory_map *map = &config.map;
	enum bulkhead_error error;

	map->regions = layout.regions;
	map->region_count = layout.count;
	map->address_bits = cpuid(0x80000008, 0).eax & 0xff;
	map->types = types;
	map->type_count = read_types(map->address_bits);
	if (layout.is_full || map->type_count == 0 || !memory_map_is_valid(map))
		return BOOT_BAD_MEMORY_MAP;
	config.page_count = core_pages_needed(map) + SPARE_TABLES;
	config.frame_storage = own_memory_take(&own, frame_table_bytes(map), PAGE_BYTES);
	config.pages = phys_at((uint64_t)own_memory_take(&own, config.page_count * PAGE_BYTES,
							 PAGE_BYTES));
	if (!config.frame_storage || config.pages.value == 0)
		return BOOT_TOO_LITTLE_MEMORY;
	error = core_start(&config);
	if (error == BULKHEAD_OK)
		return BOOT_OK;
	log_error("core", "start failed: error %u", (unsigned int)error);
	return BOOT_BAD_MEMORY_MAP;
}

static enum boot_result start_iommu(void)
{
	static const struct iommu_access access = { register_read, register_write, register_relax,
						    NULL };
	struct iommu_memory memory = { 0 };
	enum iommu_result result;

	if (machine.iommu.unit_count == 0) {
		log_warning("iommu", "none found: DMA is not contained");
		return BOOT_OK;
	}
	memory.size_bytes = iommu_memory_bytes(&machine.iommu);
	memory.virtual_address = own_memory_take(&own, memory.size_bytes, 0x200000);
	memory.physical_address = (uint64_t)memory.virtual_address;
	if (!memory.virtual_address)
		return BOOT_TOO_LITTLE_MEMORY;
	result = iommu_start(&machine.iommu, &access, &memory, core.service.root.value, 4);
	if (result != IOMMU_OK) {
		log_error("iommu", "cannot be taken over: %s", iommu_result_name(result));
		return BOOT_IOMMU_FAILED;
	}
	device_interrupts_start();
	core_add_facts(BULKHEAD_FACT_DMA_CONTAINED | BULKHEAD_FACT_INTERRUPTS_CHECKED);
	log_info("iommu", "%u units contain DMA and check interrupts", machine.iommu.unit_count);
	return BOOT_OK;
}

static uint32_t start_on_own_tables(void *argument)
{
	struct acpi_tables tables;
	enum boot_result result;

	(void)argument;
	log_set_level(&core.log, (enum log_level)(machine.info.log_level & 3));
	log_info("start", "build %s, %u processors, %lu KiB reserved at %lx", machine.build_id,
		 machine.info.processor_count, machine.info.own_bytes >> 10, machine.info.own_base);
	tables = read_acpi();
	if (iommu_find(&machine.iommu, &acpi_memory, &tables) != IOMMU_OK)
		machine.iommu.unit_count = 0;
	config_space_find();
	clock_start(machine.fadt.pm_timer.space == ACPI_SPACE_PORT ? (uint16_t)machine.fadt.pm_timer.address : 0);
	lay_memory_out();
	result = start_core();
	if (result == BOOT_OK)
		result = start_iommu();
	if (result != BOOT_OK)
		return result;
	smm_close();
	vendor_start();
	processor_init_idt(true);
	log_info("start", "%lu KiB of %lu KiB used", (own.next - own.base) >> 10,
		 machine.info.own_bytes >> 10);
	return BOOT_OK;
}

static enum boot_result start(const struct boot_info *info)
{
	struct descriptor_table gdtr, idtr;
	uint64_t efer = rdmsr(MSR_EFER), gs = rdmsr(MSR_GS_BASE), fs = rdmsr(MSR_FS_BASE);
	uint16_t selectors[] = { read_ds(), read_es(), read_ss(), read_cs() };
	uint8_t *blocks;
	uint32_t result;

	if (info->magic != BOOT_INFO_MAGIC || info->region_count > BOOT_MAX_REGIONS)
		return BOOT_BAD_MEMORY_MAP;
	if (info->processor_count == 0 || info->processor_count > MAX_PROCESSORS)
		return BOOT_TOO_MANY_PROCESSORS;
	machine.info = *info;
	read_build_id();
	own.base = info->own_base;
	own.next = info->own_base + info->image_bytes;
	own.end = info->own_base + info->own_bytes;
	blocks = own_memory_take(&own, (uint64_t)info->processor_count * BOOT_PROCESSOR_BYTES,
				 BOOT_PROCESSOR_BYTES);
	if (!blocks)
		return BOOT_TOO_LITTLE_MEMORY;
	processor_init_all(blocks, info->processor_count);
	machine.host_root = host_tables_build(&own, info, ram_end(info), (uint64_t)blocks,
					      info->processor_count);
	if (machine.host_root == 0)
		return BOOT_TOO_LITTLE_MEMORY;
	__asm__ volatile("sgdt %0\n\tsidt %1" : "=m"(gdtr), "=m"(idtr));
	wrmsr(MSR_EFER, efer | EFER_NXE);
	processor_init_idt(false);
	processor_load_tables(processor_at(0), false);
	result = hypervisor_call_on(start_on_own_tables, NULL, machine.host_root,
				    processor_at(0)->stack);
	processor_restore_tables(&gdtr, &idtr, selectors);
	wrmsr(MSR_FS_BASE, fs);
	wrmsr(MSR_GS_BASE, gs);
	wrmsr(MSR_EFER, efer);
	return result;
}

/* Where BOOT_ENTER's caller stood is kept at the far end of the new stack until it is used. */
static struct entry_point *entry_of(struct processor *processor)
{
	return processor_page(processor, BLOCK_STACK);
}

static void capture(struct entry_point *entry, const uint64_t *saved, uint64_t rflags)
{
	entry->rbx = saved[0];
	entry->rbp = saved[1];
	entry->r12 = saved[2];
	entry->r13 = saved[3];
	entry->r14 = saved[4];
	entry->r15 = saved[5];
	entry->rsp = saved[6];
	entry->rip = saved[7];
	entry->rflags = rflags;
	entry->cr0 = read_cr0();
	entry->cr3 = read_cr3();
	entry->cr4 = read_cr4();
	entry->efer = rdmsr(MSR_EFER);
	entry->fs_base = rdmsr(MSR_FS_BASE);
	entry->gs_base = rdmsr(MSR_GS_BASE);
	entry->cs = read_cs();
	entry->ss = read_ss();
	entry->ds = read_ds();
	entry->es = read_es();
	__asm__ volatile("mov %%fs, %0\n\tmov %%gs, %1\n\tstr %2\n\tsldt %3"
			 : "=rm"(entry->fs), "=rm"(entry->gs), "=rm"(entry->tr), "=rm"(entry->ldtr));
	__asm__ volatile("sgdt %0\n\tsidt %1" : "=m"(entry->gdtr), "=m"(entry->idtr));
}

static void enter_on_own_tables(struct processor *processor)
{
	struct entry_point entry = *entry_of(processor);
	uint32_t features = cpuid(7, 0).ebx;

	write_cr0((entry.cr0 | CR0_WP) & ~(CR0_TS | CR0_CD | CR0_NW));
	write_cr4(CR4_PAE | CR4_MCE | (features & 1u << 7 ? CR4_SMEP : 0) |
		  (features & 1u << 20 ? CR4_SMAP : 0));
	copy_mtrrs();
	apic_learn_destination(processor);
	vendor_enter(processor, &entry, core.service.root);
	log_info("start", "processor %u, APIC %u: the service domain runs as a guest",
		 processor->index, processor->apic_id);
	vendor_run(processor);
}

static enum boot_result enter(const uint64_t *saved, uint64_t rflags)
{
	struct processor *processor = processor_claim(cpuid(1, 0).ebx >> 24);

	if (!processor)
		return BOOT_TOO_MANY_PROCESSORS;
	capture(entry_of(processor), saved, rflags);
	wrmsr(MSR_EFER, rdmsr(MSR_EFER) | EFER_NXE);
	vendor_save_calls(processor);
	processor_load_tables(processor, true);
	hypervisor_leave_for(enter_on_own_tables, processor, machine.host_root, processor->stack);
}

uint32_t hypervisor_operation(uint64_t operation, const struct boot_info *info,
			      const uint64_t *saved, uint64_t rflags)
{
	switch (operation) {
	case BOOT_CHECK:
		return vendor_check();
	case BOOT_START:
		return start(info);
	case BOOT_ENTER:
		return enter(saved, rflags);
	default:
		return BOOT_RESULT_COUNT;
	}
}
