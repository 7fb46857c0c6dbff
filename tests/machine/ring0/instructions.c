// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * Instructions with fix-ups. The kernel's EX_TYPE_FAULT handler puts the vector of the exception into
 * RAX and goes on at the given label; so every block below loads RAX last and tells the ways out apart
 * by a register that only the undisturbed path clears.
 */
#include "instructions.h"

#include <linux/processor.h>
#include <asm/asm.h>
#include <asm/desc.h>

/* "1:" is the instruction that may fault; %[ok] stays 1 only if it did not. */
#define GUARDED(instruction)                          \
	"1: " instruction "\n"                        \
	"   movl $1, %[ok]\n"                         \
	"2:\n" _ASM_EXTABLE_TYPE(1b, 2b, EX_TYPE_FAULT)

static u32 outcome(u32 ok, u64 rax)
{
	return ok ? RING0_NO_FAULT : (u32)rax;
}

u32 instruction_read(const void *from, u32 width, u64 *value)
{
	u64 rax = 0;
	u32 ok = 0;

	switch (width) {
	case 1:
		asm volatile(GUARDED("movb (%[p]), %%al") : "+a"(rax), [ok] "+r"(ok) : [p] "r"(from) : "memory");
		break;
	case 2:
		asm volatile(GUARDED("movw (%[p]), %%ax") : "+a"(rax), [ok] "+r"(ok) : [p] "r"(from) : "memory");
		break;
	case 4:
		asm volatile(GUARDED("movl (%[p]), %%eax") : "+a"(rax), [ok] "+r"(ok) : [p] "r"(from) : "memory");
		break;
	default:
		asm volatile(GUARDED("movq (%[p]), %%rax") : "+a"(rax), [ok] "+r"(ok) : [p] "r"(from) : "memory");
		break;
	}
	*value = rax;
	return outcome(ok, rax);
}

u32 instruction_write(void *to, u32 width, u64 value)
{
	u64 rax = value;
	u32 ok = 0;

	switch (width) {
	case 1:
		asm volatile(GUARDED("movb %%al, (%[p])") : "+a"(rax), [ok] "+r"(ok) : [p] "r"(to) : "memory");
		break;
	case 2:
		asm volatile(GUARDED("movw %%ax, (%[p])") : "+a"(rax), [ok] "+r"(ok) : [p] "r"(to) : "memory");
		break;
	case 4:
		asm volatile(GUARDED("movl %%eax, (%[p])") : "+a"(rax), [ok] "+r"(ok) : [p] "r"(to) : "memory");
		break;
	default:
		asm volatile(GUARDED("movq %%rax, (%[p])") : "+a"(rax), [ok] "+r"(ok) : [p] "r"(to) : "memory");
		break;
	}
	return outcome(ok, rax);
}

u32 instruction_rdmsr(u32 number, u64 *value)
{
	u64 rax = 0, rdx = 0;
	u32 ok = 0;

	asm volatile(GUARDED("rdmsr") : "+a"(rax), "+d"(rdx), [ok] "+r"(ok) : "c"(number));
	*value = (u32)rax | rdx << 32;
	return outcome(ok, rax);
}

u32 instruction_wrmsr(u32 number, u64 value)
{
	u64 rax = (u32)value;
	u32 ok = 0;

	asm volatile(GUARDED("wrmsr") : "+a"(rax), [ok] "+r"(ok) : "c"(number), "d"(value >> 32) : "memory");
	return outcome(ok, rax);
}

u32 instruction_in(u16 port, u32 width, u64 *value)
{
	u64 rax = 0;
	u32 ok = 0;

	if (width == 1)
		asm volatile(GUARDED("inb %%dx, %%al") : "+a"(rax), [ok] "+r"(ok) : "d"(port));
	else if (width == 2)
		asm volatile(GUARDED("inw %%dx, %%ax") : "+a"(rax), [ok] "+r"(ok) : "d"(port));
	else
		asm volatile(GUARDED("inl %%dx, %%eax") : "+a"(rax), [ok] "+r"(ok) : "d"(port));
	*value = rax;
	return outcome(ok, rax);
}

u32 instruction_out(u16 port, u32 width, u64 value)
{
	u64 rax = value;
	u32 ok = 0;

	if (width == 1)
		asm volatile(GUARDED("outb %%al, %%dx") : "+a"(rax), [ok] "+r"(ok) : "d"(port));
	else if (width == 2)
		asm volatile(GUARDED("outw %%ax, %%dx") : "+a"(rax), [ok] "+r"(ok) : "d"(port));
	else
		asm volatile(GUARDED("outl %%eax, %%dx") : "+a"(rax), [ok] "+r"(ok) : "d"(port));
	return outcome(ok, rax);
}

u32 instruction_call(u64 number, u64 registers[5])
{
	register u64 r8 asm("r8") = registers[4];
	u64 rax = number, rdx = registers[2];
	u32 ok = 0;

	if (boot_cpu_data.x86_vendor == X86_VENDOR_INTEL)
		asm volatile(GUARDED("vmcall")
			     : "+a"(rax), "+d"(rdx), [ok] "+r"(ok), "+r"(r8)
			     : "D"(registers[0]), "S"(registers[1]), "c"(registers[3])
			     : "memory");
	else
		asm volatile(GUARDED("vmmcall")
			     : "+a"(rax), "+d"(rdx), [ok] "+r"(ok), "+r"(r8)
			     : "D"(registers[0]), "S"(registers[1]), "c"(registers[3])
			     : "memory");
	registers[0] = rax;
	registers[1] = rdx;
	return outcome(ok, rax);
}

#define NAMED(number, text)                                                                                       \
	case number:                                                                                              \
		asm volatile(GUARDED(text) : "+a"(rax), [ok] "+r"(ok), "+c"(rcx), "+d"(rdx) : : "memory", "rbx"); \
		break

u32 instruction_by_name(u32 which, u64 registers[5])
{
	u64 rax = registers[0], rcx = registers[1], rdx = registers[2];
	u32 ok = 0;

	switch (which) {
		NAMED(RING0_VMRUN, "vmrun");
		NAMED(RING0_VMLOAD, "vmload");
		NAMED(RING0_VMSAVE, "vmsave");
		NAMED(RING0_STGI, "stgi");
		NAMED(RING0_CLGI, "clgi");
		NAMED(RING0_SKINIT, "skinit");
		NAMED(RING0_INVLPGA, "invlpga");
		NAMED(RING0_VMMCALL, "vmmcall");
		NAMED(RING0_VMCALL, "vmcall");
		NAMED(RING0_XSETBV, "xsetbv");
		NAMED(RING0_WBINVD, "wbinvd");
		NAMED(RING0_INVD, "invd");
		NAMED(RING0_MOV_TO_CR0, "movq %%rax, %%cr0");
		NAMED(RING0_MOV_FROM_CR0, "movq %%cr0, %%rax");
		NAMED(RING0_MOV_TO_CR4, "movq %%rax, %%cr4");
		NAMED(RING0_MOV_FROM_CR4, "movq %%cr4, %%rax");
		NAMED(RING0_MOV_TO_DR7, "movq %%rax, %%dr7");
		NAMED(RING0_MOV_FROM_DR7, "movq %%dr7, %%rax");
		NAMED(RING0_RDPMC, "rdpmc");
		NAMED(RING0_RSM, "rsm");
	}
	registers[0] = rax;
	return outcome(ok, rax);
}

void instruction_triple_fault(void)
{
	static const struct desc_ptr empty;

	load_idt(&empty);
	asm volatile("int3");
}
