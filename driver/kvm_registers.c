// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * Between KVM's registers and those of the hypercall interface.
 */
#include "kvm.h"

#include <linux/string.h>

#define BASE_OF_FIRST	0xfee00900ull /* enabled, of the first processor */
#define BASE_OF_OTHERS 0xfee00800ull

/* A processor after power-on (APM vol. 2, 14.1.3). */
void kvm_registers_reset(struct bulkhead_vcpu_state *state)
{
	static const struct bulkhead_segment data = { 0, 0x93, 0xffff, 0 };

	*state = (struct bulkhead_vcpu_state){
		.rip = 0xfff0,
		.rflags = 2,
		.es = data, .ss = data, .ds = data, .fs = data, .gs = data,
		.cs = { 0xf000, 0x9b, 0xffff, 0xffff0000 },
		.ldtr = { 0, 0x82, 0xffff, 0 },
		.tr = { 0, 0x8b, 0xffff, 0 },
		.gdtr = { .limit = 0xffff },
		.idtr = { .limit = 0xffff },
		.cr0 = 0x60000010,
		.pat = 0x0007040600070406ull,
	};
}

/* KVM names the registers in an order of its own; the interface's is the processor's. */
#define GENERAL(r)                                                                                                  \
	{ &(r)->rax, &(r)->rcx, &(r)->rdx, &(r)->rbx, &(r)->rsp, &(r)->rbp, &(r)->rsi, &(r)->rdi,                   \
	  &(r)->r8,  &(r)->r9,  &(r)->r10, &(r)->r11, &(r)->r12, &(r)->r13, &(r)->r14, &(r)->r15 }

void kvm_registers_get(const struct bulkhead_vcpu_state *state, struct kvm_regs *registers)
{
	__u64 *to[16] = GENERAL(registers);

	for (unsigned int i = 0; i < 16; i++)
		*to[i] = state->gpr[i];
	registers->rip = state->rip;
	registers->rflags = state->rflags;
}

void kvm_registers_set(struct bulkhead_vcpu_state *state, const struct kvm_regs *registers)
{
	const __u64 *from[16] = GENERAL(registers);

	for (unsigned int i = 0; i < 16; i++)
		state->gpr[i] = *from[i];
	state->rip = registers->rip;
	state->rflags = registers->rflags | 2;
}

static void get_segment(const struct bulkhead_segment *from, struct kvm_segment *to)
{
	*to = (struct kvm_segment){
		.base = from->base,
		.limit = from->limit,
		.selector = from->selector,
		.type = from->attributes & 15,
		.s = from->attributes >> 4 & 1,
		.dpl = from->attributes >> 5 & 3,
		.present = from->attributes >> 7 & 1,
		.avl = from->attributes >> 8 & 1,
		.l = from->attributes >> 9 & 1,
		.db = from->attributes >> 10 & 1,
		.g = from->attributes >> 11 & 1,
		.unusable = !(from->attributes >> 7 & 1),
	};
}

static void set_segment(struct bulkhead_segment *to, const struct kvm_segment *from)
{
	bool present = from->present && !from->unusable;

	to->base = from->base;
	to->limit = from->limit;
	to->selector = from->selector;
	to->attributes = (from->type & 15) | (from->s & 1) << 4 | (from->dpl & 3) << 5 | present << 7 |
			 (from->avl & 1) << 8 | (from->l & 1) << 9 | (from->db & 1) << 10 | (from->g & 1) << 11;
}

void kvm_registers_get_special(const struct vcpu *vcpu, struct kvm_sregs *special)
{
	const struct bulkhead_vcpu_state *state = &vcpu->state;

	memset(special, 0, sizeof(*special));
	get_segment(&state->es, &special->es);
	get_segment(&state->cs, &special->cs);
	get_segment(&state->ss, &special->ss);
	get_segment(&state->ds, &special->ds);
	get_segment(&state->fs, &special->fs);
	get_segment(&state->gs, &special->gs);
	get_segment(&state->ldtr, &special->ldt);
	get_segment(&state->tr, &special->tr);
	special->gdt.base = state->gdtr.base;
	special->gdt.limit = state->gdtr.limit;
	special->idt.base = state->idtr.base;
	special->idt.limit = state->idtr.limit;
	special->cr0 = state->cr0;
	special->cr2 = state->cr2;
	special->cr3 = state->cr3;
	special->cr4 = state->cr4;
	special->efer = state->efer;
	special->apic_base = vcpu->index ? BASE_OF_OTHERS : BASE_OF_FIRST;
}

int kvm_registers_set_special(struct vcpu *vcpu, const struct kvm_sregs *special)
{
	struct bulkhead_vcpu_state *state = &vcpu->state;

	if (special->cr8 || special->apic_base != (vcpu->index ? BASE_OF_OTHERS : BASE_OF_FIRST) ||
	    memchr_inv(special->interrupt_bitmap, 0, sizeof(special->interrupt_bitmap)))
		return -EINVAL;
	set_segment(&state->es, &special->es);
	set_segment(&state->cs, &special->cs);
	set_segment(&state->ss, &special->ss);
	set_segment(&state->ds, &special->ds);
	set_segment(&state->fs, &special->fs);
	set_segment(&state->gs, &special->gs);
	set_segment(&state->ldtr, &special->ldt);
	set_segment(&state->tr, &special->tr);
	state->gdtr = (struct bulkhead_segment){ .limit = special->gdt.limit, .base = special->gdt.base };
	state->idtr = (struct bulkhead_segment){ .limit = special->idt.limit, .base = special->idt.base };
	state->cr0 = special->cr0;
	state->cr2 = special->cr2;
	state->cr3 = special->cr3;
	state->cr4 = special->cr4;
	state->efer = special->efer;
	return 0;
}
