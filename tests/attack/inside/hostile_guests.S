/* SPDX-License-Identifier: MIT */
/*
 * The guests of program `hostile`: what is attacked, or attacks. Real mode, loaded at 1000h, but for the last two.
 * What a guest has to say goes to the serial port, four bytes at a time, lowest first.
 */
#include "hostile.h"

#define SERIAL 0x3f8
#define APIC   0xfee00000
#define AP_AT  0x2000
#define AT(label, guest) (label - guest + 0x1000)

	.section .rodata
	.code16

	.macro	guest name
	.balign 16
	.globl	\name, \name\()_end
\name:
	.endm

	/* Says EAX; changes ECX and DX. */
	.macro	say_function guest
say_\guest:
	movw	$SERIAL, %dx
	movw	$4, %cx
1:	outb	%al, %dx
	rorl	$8, %eax
	loop	1b
	ret
	.endm

/* Makes a secret that stands in none of its code, keeps it in memory, a debug register and SSE, and halts; then says
 * whether it is still there: 'K' or 'X'. */
	guest	keeper
	movl	$(SECRET_LOW ^ SECRET_KEY), %eax
	xorl	$SECRET_KEY, %eax
	movl	%eax, SECRET_AT
	movl	$(SECRET_HIGH ^ SECRET_KEY), %eax
	xorl	$SECRET_KEY, %eax
	movl	%eax, SECRET_AT + 4
	movl	%eax, %dr0
	movq	SECRET_AT, %xmm0
	hlt
	movw	$SERIAL, %dx
	cmpl	$SECRET_HIGH, SECRET_AT + 4
	movb	$'K', %al
	je	1f
	movb	$'X', %al
1:	outb	%al, %dx
2:	hlt
	jmp	2b
keeper_end:

/* Reads a port and says what became of the whole register; the same for two stops that are no port reads. */
	guest	asker
	movl	$ASKED, %eax
	movw	$SERIAL, %dx
	inb	%dx, %al
	call	say_asker
	movl	$HALTED, %eax
	hlt
	call	say_asker
	movl	$TOUCHED, %eax
	cmpb	$0, EMPTY_AT
	call	say_asker
1:	hlt
	jmp	1b
	say_function asker
asker_end:

/* Reads the port for ever; ends when the rest of the register has changed. */
	guest	reader
1:	movl	$ASKED, %eax
	movw	$SERIAL, %dx
	inb	%dx, %al
	movb	$0, %al
	cmpl	$(ASKED & ~0xff), %eax
	je	1b
2:	hlt
	jmp	2b
reader_end:

/* Never stops by itself. */
	guest	runner
1:	jmp	1b
runner_end:

/* Leaves a mark in every register that VMRUN does not exchange. */
	guest	leaver
	movl	$MARK, %eax
	movl	%eax, %dr0
	movl	%eax, %dr1
	movl	%eax, %dr2
	movl	%eax, %dr3
	movl	%eax, %cr2
	movd	%eax, %xmm0
	movd	%eax, %xmm7
	movl	%eax, 0x3000
	fildl	0x3000
	xorl	%edx, %edx
	.irp	msr, 0x174, 0x175, 0x176, 0xc0000081, 0xc0000082, 0xc0000083, 0xc0000084, 0xc0000100, 0xc0000101, 0xc0000102
	movl	$\msr, %ecx
	wrmsr
	.endr
1:	hlt
	jmp	1b
leaver_end:

/* Says each of those registers: LOOKS numbers. */
	guest	looker
	.irp	number, 0, 1, 2, 3
	movl	%dr\number, %eax
	call	say_looker
	.endr
	movl	%cr2, %eax
	call	say_looker
	movd	%xmm0, %eax
	call	say_looker
	movd	%xmm7, %eax
	call	say_looker
	fnstsw	%ax		/* an empty stack's top is 0 */
	movzwl	%ax, %eax
	call	say_looker
	.irp	msr, 0x174, 0x175, 0x176, 0xc0000081, 0xc0000082, 0xc0000083, 0xc0000084, 0xc0000100, 0xc0000101, 0xc0000102
	movl	$\msr, %ecx
	rdmsr
	call	say_looker
	.endr
1:	hlt
	jmp	1b
	say_function looker
looker_end:

/* Says what it was loaded with at LOADED_AT. */
	guest	teller
	movl	LOADED_AT, %eax
	call	say_teller
1:	hlt
	jmp	1b
	say_function teller
teller_end:

/*
 * Two processors: the first sends the second, and everybody but itself, INIT, start-up, NMI, SMI and reserved messages, as
 * fast as it can, then says '.'.
 */
	guest	stormer
	.code32
	movl	$0x1ff, APIC + 0xf0
	movl	$STORMS, %ebx
1:	movl	$(1 << 24), APIC + 0x310
	.irp	message, 0x0000c500, 0x00000500, 0x00004602, 0x00000400, 0x00000200, 0x00000300, 0x00000700, 0x000c4500, 0x000c0400, 0x000c0200
	movl	$\message, APIC + 0x300
	.endr
	movl	$(5 << 24), APIC + 0x310	/* a vCPU that does not exist */
	movl	$0x400, APIC + 0x300
	decl	%ebx
	jnz	1b
	movw	$SERIAL, %dx
	movb	$'.', %al
	outb	%al, %dx
2:	hlt
	jmp	2b
stormer_end:

/* Its second processor, real mode at 2000h: takes NMIs, and works. */
	guest	stormed
	.code16
	xorw	%ax, %ax
	movw	%ax, %ds
	movw	$0xb000, %sp
	movw	%ax, %ss
	movw	$(3f - stormed + AP_AT), 0x8
	movw	%ax, 0xa
1:	incl	0x3000
	jmp	1b
3:	incl	0x3004
	iretw
stormed_end:

/*
 * Stores to an address whose page table is, as the first processor has set it up, the local APIC's page: the walk touches the
 * task priority register, the store has no target. Says '.' if the store went to the register, '!' otherwise.
 */
	guest	walker
	.code32
	movl	$0x1ff, APIC + 0xf0
	movl	$0x83, TABLE_AT				/* what the guest uses as it is: 4 MiB from 0 */
	movl	$(APIC & ~0x3fffff | 0x83), TABLE_AT + (APIC >> 22) * 4
	movl	$(APIC | 3), TABLE_AT + 4
	movl	$TABLE_AT, %eax
	movl	%eax, %cr3
	movl	%cr4, %eax
	orl	$0x10, %eax				/* 4 MiB pages */
	movl	%eax, %cr4
	movl	%cr0, %eax
	orl	$0x80000000, %eax
	movl	%eax, %cr0
	movl	$TASK_PRIORITY, 0x400000 + (0x80 / 4) * 0x1000
	cmpl	$TASK_PRIORITY, APIC + 0x80
	movb	$'.', %al
	je	1f
	movb	$'!', %al
1:	movw	$SERIAL, %dx
	outb	%al, %dx
2:	hlt
	jmp	2b
walker_end:

/*
 * Leaves as often as it can, interrupts on; whoever interrupts it ends up in a handler of its own. Says '!' if anybody did,
 * '.' otherwise.
 */
	guest	stayer
	.code16
	xorw	%ax, %ax
	movw	%ax, %ds
	movw	%ax, %ss
	movw	$0xb000, %sp
	xorw	%di, %di
	movw	$256, %cx
1:	movw	$AT(4f, stayer), (%di)
	movw	%ax, 2(%di)
	addw	$4, %di
	loop	1b
	sti
	movl	$STAYS, %esi
2:	xorl	%eax, %eax
	cpuid
	wbinvd
	inb	$0x80, %al
	movl	$0xc0000080, %ecx
	rdmsr
	decl	%esi
	jnz	2b
	movb	$'.', %al
3:	movw	$SERIAL, %dx
	cli
	outb	%al, %dx
	hlt
	jmp	3b
4:	movb	$'!', %al
	jmp	3b
stayer_end:

	.section .note.GNU-stack, "", @progbits
