/* SPDX-License-Identifier: MIT */
/*
 * The guests of program `hostile`: what is attacked, or attacks. Loaded at 1000h; real mode, or the 32-bit code of a guest
 * with a platform where it says so.
 * What a guest has to say goes to the serial port, four bytes at a time, lowest first.
 */
#include "hostile.h"

#define SERIAL 0x3f8
#define APIC   0xfee00000
#define IO_APIC 0xfec00000
#define AP_AT  0x2000
#define REGISTERS 0xc0000000 /* where it puts the device's, in the window for devices */
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

	/* Switches every part of the extended state on that there is here: x87, SSE, AVX. Then EDX:EAX name them. */
	.macro	extended_on
	movl	%cr4, %eax
	orl	$0x40000, %eax
	movl	%eax, %cr4
	xorl	%ecx, %ecx
	xorl	%edx, %edx
	movl	$7, %eax
	xsetbv
	.endm

/* Leaves a mark in the upper halves of YMM registers: real mode has no AVX instructions, but it restores their state. */
	guest	vector_leaver
	extended_on
	movl	$7, VECTORS_AT + 512	/* what the area holds */
	movl	$0x1f80, VECTORS_AT + 24
	.irp	register, 0, 1, 2, 3, 4, 5, 6, 7
	movl	$MARK, VECTORS_AT + 576 + 16 * \register
	.endr
	xrstor	VECTORS_AT
1:	hlt
	jmp	1b
vector_leaver_end:

/* Says VECTOR_LOOKS of those, after a word of its own: from then on it touches nothing that it would have to ask for. */
	guest	vector_looker
	extended_on
	movl	$0, VECTORS_AT
	call	say_vector_looker
	movl	$7, %eax
	xorl	%edx, %edx
	xsave	VECTORS_AT
	.irp	register, 0, 7
	movl	VECTORS_AT + 576 + 16 * \register, %eax
	call	say_vector_looker
	.endr
1:	hlt
	jmp	1b
	say_function vector_looker
vector_looker_end:

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

	/* Whoever interrupts a guest that has these ends up in a handler of its own, which says '!' for it. */
	.macro	handlers guest
	xorw	%ax, %ax
	movw	%ax, %ds
	movw	%ax, %ss
	movw	$0xb000, %sp
	xorw	%di, %di
	movw	$256, %cx
1:	movw	$AT(\guest\()_interrupted, \guest), (%di)
	movw	%ax, 2(%di)
	addw	$4, %di
	loop	1b
	.endm

	.macro	handler_function guest
\guest\()_interrupted:
	movb	$'!', %al
\guest\()_says:
	movw	$SERIAL, %dx
	cli
	outb	%al, %dx
	hlt
	jmp	\guest\()_says
	.endm

/* Leaves as often as it can, interrupts on. Says '!' if anybody interrupted it, '.' otherwise. */
	guest	stayer
	.code16
	handlers stayer
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
	jmp	stayer_says
	handler_function stayer
stayer_end:

/* Locks memory across two cache lines, which stops every processor's memory for a moment, again and again. */
	guest	splitter
	.code16
	handlers splitter
2:	lock incl SPLIT_AT
	jmp	2b
	handler_function splitter
splitter_end:

	/* From real mode to flat 32-bit code; @guest ends with flat_segments. */
	.macro	go_flat guest
	lgdtl	AT(\guest\()_descriptors, \guest)
	movl	%cr0, %eax
	orb	$1, %al
	movl	%eax, %cr0
	ljmpl	$8, $AT(\guest\()_is_flat, \guest)
	.code32
\guest\()_is_flat:
	movl	$16, %eax
	movl	%eax, %ds
	movl	%eax, %es
	movl	%eax, %ss
	.endm

	.macro	flat_segments guest
	.balign	8
\guest\()_descriptors:
	.word	23
	.long	AT(\guest\()_segments, \guest)
	.balign	8
\guest\()_segments:
	.quad	0, 0x00cf9b000000ffff, 0x00cf93000000ffff
	.endm

/*
 * With a platform and a device: fills its queue with as many requests as it holds, a page each to read, and rings once. It
 * says '.' when it comes to it.
 */
	.macro	config offset, value
	movl	$(0x80000000 | FLOOD_SLOT << 11 | \offset), %eax
	movw	$0xcf8, %dx
	outl	%eax, %dx
	movl	$\value, %eax
	movw	$0xcfc, %dx
	outl	%eax, %dx
	.endm
	guest	flooder
	.code16
	go_flat flooder
	config	0x10, REGISTERS
	config	0x14, 0
	config	0x18, REGISTERS + 0x10000
	config	0x1c, 0
	config	4, 6				/* memory, bus master */
	movb	$0, REGISTERS + 0x14		/* device status, virtio 1.2, 4.1.4.3 */
	movb	$3, REGISTERS + 0x14
	movl	$1, REGISTERS + 0x8
	movl	$1, REGISTERS + 0xc		/* VERSION_1 */
	movb	$11, REGISTERS + 0x14
	movl	$RING_AT, REGISTERS + 0x20
	movl	$RING_AT + 0x1000, REGISTERS + 0x28
	movl	$RING_AT + 0x2000, REGISTERS + 0x30
	movw	$1, REGISTERS + 0x1c
	xorl	%ecx, %ecx
2:	movl	%ecx, %eax
	shll	$4, %eax
	movl	$RING_AT + 0x3000, RING_AT(%eax)
	movl	$0, RING_AT + 4(%eax)
	movl	$4096, RING_AT + 8(%eax)
	movl	$0, RING_AT + 12(%eax)
	movw	%cx, RING_AT + 0x1004(, %ecx, 2)
	incl	%ecx
	cmpl	$FLOOD_REQUESTS, %ecx
	jb	2b
	movl	$0, RING_AT + 0x2000
	movl	$MARK, RING_AT + 0x3000
	movb	$15, REGISTERS + 0x14
	movw	$FLOOD_REQUESTS, RING_AT + 0x1002
	movw	$0, REGISTERS + 0x3000
	movw	$SERIAL, %dx
	movb	$'.', %al
	outb	%al, %dx
3:	hlt
	jmp	3b
	flat_segments flooder
flooder_end:

/*
 * With a platform: gives every input of its I/O APIC a vector, and lets its local APIC alone say what arrived. It asks for
 * the attack with '?'; afterwards it says '!' if an input was raised that is not the monitor's, '.' otherwise.
 */
	guest	listener
	.code16
	go_flat listener
	movl	$0x1ff, APIC + 0xf0
	movl	$0x10, %ecx				/* the first input's redirection entry */
	movl	$LISTEN_VECTOR, %eax
2:	movl	%ecx, IO_APIC
	movl	%eax, IO_APIC + 0x10
	incl	%ecx
	movl	%ecx, IO_APIC
	movl	$0, IO_APIC + 0x10			/* to its only processor */
	incl	%ecx
	incl	%eax
	cmpl	$(LISTEN_VECTOR + LISTEN_INPUTS), %eax
	jb	2b
	movw	$SERIAL, %dx
	movb	$'?', %al
	outb	%al, %dx
	movl	APIC + 0x200 + LISTEN_VECTOR / 2, %eax	/* 32 vectors of the interrupt request register */
	testl	$~LISTEN_MONITORS, %eax
	movb	$'.', %al
	jz	3f
	movb	$'!', %al
3:	movw	$SERIAL, %dx
	outb	%al, %dx
4:	hlt
	jmp	4b
	flat_segments listener
listener_end:

	.section .note.GNU-stack, "", @progbits
