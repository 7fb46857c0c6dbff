/* SPDX-License-Identifier: MIT */
/*
 * The processors: their blocks, descriptor tables, and how they ask one another for something.
 *
 * A request is a bit in the target's word and an NMI, which the service domain cannot mask. An NMI
 * that is not announced by the target's doorbell word is the service domain's own and is handed on.
 * Whoever finds the doorbell set sends no second NMI: the first has not been answered, and the target looks
 * for requests after it has answered. See nmi.c.
 */
#include "apic.h"
#include "cpu.h"
#include "hypervisor.h"
#include "processor.h"
#include "vendor.h"

struct gate {
	uint16_t offset_low;
	uint16_t selector;
	uint8_t stack;
	uint8_t type;
	uint16_t offset_middle;
	uint32_t offset_high;
	uint32_t reserved;
};
static_assert(sizeof(struct gate) == 16, "APM vol. 2, 4.8.4");

#define VECTORS 32u
#define STUB_BYTES 16u

static struct {
	uint8_t *blocks;
	uint32_t count;	  /* blocks there are */
	uint32_t claimed; /* of them */
	uint64_t flushes; /* numbers the flushes */
	struct gate idt[VECTORS];
} processors;

extern const uint8_t exception_stubs[];

struct processor *processor_at(unsigned int index)
{
	return (struct processor *)(processors.blocks + (uint64_t)index * BOOT_PROCESSOR_BYTES +
				    BLOCK_STATE * PAGE_BYTES);
}

void processor_init_all(uint8_t *base, uint32_t count)
{
	processors.blocks = base;
	processors.count = count;
	for (uint32_t i = 0; i < count; i++) {
		struct processor *processor = processor_at(i);

		processor->self = processor;
		processor->index = i;
		processor->stack = (uint64_t)processor_page(processor, BLOCK_STACK_END);
	}
}

struct processor *processor_claim(uint32_t apic_id)
{
	uint32_t index = __atomic_fetch_add(&processors.claimed, 1, __ATOMIC_SEQ_CST);
	struct processor *processor;

	if (index >= processors.count)
		return NULL;
	processor = processor_at(index);
	processor->apic_id = apic_id;
	__atomic_store_n(&processor->is_online, 1, __ATOMIC_RELEASE);
	return processor;
}

void processor_init_idt(bool with_stacks)
{
	for (unsigned int i = 0; i < VECTORS; i++) {
		uint64_t stub = (uint64_t)exception_stubs + i * STUB_BYTES;
		uint8_t stack = i == VECTOR_NMI ? 1 : i == VECTOR_DF ? 2 : i == VECTOR_MC ? 3 : 0;

		processors.idt[i] = (struct gate){
			.offset_low = (uint16_t)stub,
			.selector = SELECTOR_CODE,
			.stack = with_stacks ? stack : 0,
			.type = 0x8e, /* present interrupt gate */
			.offset_middle = (uint16_t)(stub >> 16),
			.offset_high = (uint32_t)(stub >> 32),
		};
	}
}

void processor_load_tables(struct processor *processor, bool with_tss)
{
	uint64_t tss = (uint64_t)&processor->tss;
	struct descriptor_table gdtr = { sizeof(processor->gdt) - 1, (uint64_t)processor->gdt };
	struct descriptor_table idtr = { sizeof(processors.idt) - 1, (uint64_t)processors.idt };

	processor->gdt[1] = 0x00af9b000000ffffull; /* 64-bit code, CPL 0 */
	processor->gdt[2] = 0x00cf93000000ffffull; /* data */
	processor->gdt[3] = (sizeof(struct task_state) - 1) | (tss & 0xffffff) << 16 |
			    0x89ull << 40 | (tss >> 24 & 0xff) << 56;
	processor->gdt[4] = tss >> 32;
	processor->tss.ist[0] = (uint64_t)processor_page(processor, BLOCK_NMI_STACK + 1);
	processor->tss.ist[1] = (uint64_t)processor_page(processor, BLOCK_DF_STACK + 1);
	processor->tss.ist[2] = (uint64_t)processor_page(processor, BLOCK_MC_STACK + 1);
	processor->tss.io_map = sizeof(struct task_state);
	__asm__ volatile("lgdt %0\n\tlidt %1\n\t"
			 "pushq %2\n\tleaq 1f(%%rip), %%rax\n\tpushq %%rax\n\tlretq\n1:\n\t"
			 "movl %3, %%eax\n\tmovl %%eax, %%ds\n\tmovl %%eax, %%es\n\tmovl %%eax, %%ss\n\t"
			 "xorl %%eax, %%eax\n\tmovl %%eax, %%fs\n\tmovl %%eax, %%gs"
			 :
			 : "m"(gdtr), "m"(idtr), "i"(SELECTOR_CODE), "i"(SELECTOR_DATA)
			 : "rax", "memory");
	wrmsr(MSR_GS_BASE, (uint64_t)processor);
	if (with_tss)
		__asm__ volatile("ltr %0" : : "r"((uint16_t)SELECTOR_TASK));
}

void processor_restore_tables(const struct descriptor_table *gdtr,
			      const struct descriptor_table *idtr, const uint16_t *selectors)
{
	uint64_t cs = selectors[3];

	__asm__ volatile("lgdt %0\n\tlidt %1\n\t"
			 "pushq %2\n\tleaq 1f(%%rip), %%rax\n\tpushq %%rax\n\tlretq\n1:\n\t"
			 "movl %3, %%ds\n\tmovl %4, %%es\n\tmovl %5, %%ss"
			 :
			 : "m"(*gdtr), "m"(*idtr), "r"(cs), "r"((uint32_t)selectors[0]),
			   "r"((uint32_t)selectors[1]), "r"((uint32_t)selectors[2])
			 : "rax", "memory");
}

/* An NMI only has to make the target leave guest mode or its sleep. What is asked stands in its words before. */
static void ring(struct processor *target)
{
	if (!__atomic_exchange_n(&target->doorbell, 1, __ATOMIC_SEQ_CST))
		apic_send_nmi(target->apic_id);
}

void processor_request(struct processor *processor, uint32_t requests)
{
	__atomic_fetch_or(&processor->requests, requests, __ATOMIC_SEQ_CST);
	ring(processor);
}

void processor_poll_flush(void)
{
	struct processor *self = this_processor();
	uint64_t wanted = __atomic_load_n(&self->flush_wanted, __ATOMIC_SEQ_CST);

	if (wanted == self->flush_done)
		return;
	vendor_flush(self);
	__atomic_store_n(&self->flush_done, wanted, __ATOMIC_RELEASE);
}

/*
 * Every processor answers, also one that is in the hypervisor: its answer says that it holds nothing
 * it read before. It answers where it waits, and before it runs anything again.
 */
static void flush_processors(void)
{
	struct processor *self = this_processor();
	uint64_t number = __atomic_add_fetch(&processors.flushes, 1, __ATOMIC_SEQ_CST);
	unsigned int count = arch_processor_count();

	for (unsigned int i = 0; i < count; i++) {
		struct processor *target = processor_at(i);

		if (target == self || !__atomic_load_n(&target->is_online, __ATOMIC_ACQUIRE))
			continue;
		__atomic_store_n(&target->flush_wanted, number, __ATOMIC_SEQ_CST);
		ring(target);
	}
	vendor_flush(self);
	for (unsigned int i = 0; i < count; i++) {
		struct processor *target = processor_at(i);

		if (target == self || !__atomic_load_n(&target->is_online, __ATOMIC_ACQUIRE))
			continue;
		while (__atomic_load_n(&target->flush_done, __ATOMIC_ACQUIRE) != number &&
		       !__atomic_load_n(&target->is_stopped, __ATOMIC_ACQUIRE))
			cpu_relax();
	}
	core.stats[self->index].flushes++;
}

void arch_flush(const struct address_space *space)
{
	flush_processors();
	if (space->tag == SERVICE_TAG)
		hypervisor_flush_devices();
}

void processor_stop_others(void)
{
	struct processor *self = this_processor();

	for (uint32_t i = 0; i < arch_processor_count(); i++) {
		struct processor *target = processor_at(i);

		if (target == self || !__atomic_load_n(&target->is_online, __ATOMIC_ACQUIRE))
			continue;
		__atomic_fetch_or(&target->requests, REQUEST_STOP, __ATOMIC_SEQ_CST);
		/* Whatever its doorbell says: the processor that set it may be the one that cannot go on. */
		apic_send_nmi(target->apic_id);
		while (!__atomic_load_n(&target->is_stopped, __ATOMIC_ACQUIRE)) {
			processor_poll_flush();
			cpu_relax();
		}
	}
}

unsigned int arch_processor(void)
{
	return this_processor()->index;
}

unsigned int arch_processor_count(void)
{
	return processors.count;
}
