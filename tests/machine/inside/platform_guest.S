/* SPDX-License-Identifier: MIT */
/*
 * A tiny guest that tries everything of its platform: local APIC by memory and by registers, timers, I/O APIC, clock,
 * a second processor. 32-bit code without paging, loaded at 1000h; each step that holds writes its letter to the
 * serial port, and one that does not writes '!' and stops.
 */
#define APIC   0xfee00000
#define IOAPIC 0xfec00000
#define SERIAL 0x3f8
#define IDT    0x8000
#define CLOCK  0x9000
#define SEEN   0xa000			/* one byte a vector */
#define INSIDE 0x104			/* from SEEN: the handler of step m runs */
#define COUNT  0x108			/* how often it did */
#define OVER   0x10c			/* the second processor has sent all */
#define LOCKS  0x13e			/* how often it locked across two cache lines */
#define AP_AT  0x2000

	.section .rodata
	.globl platform_guest, platform_guest_end, platform_guest_ap, platform_guest_ap_end
	.balign 16
	.code32
platform_guest:
	movl	$0xb000, %esp
	lidt	idtr - platform_guest + 0x1000
	/* Vectors 40h to 47h have a handler each, which notes the vector and ends the interrupt. */
	movl	$0x40, %ecx
1:	movl	%ecx, %eax
	subl	$0x40, %eax
	shll	$4, %eax
	leal	handlers - platform_guest + 0x1000(%eax), %eax
	movw	%ax, IDT(, %ecx, 8)
	movw	$0x08, IDT + 2(, %ecx, 8)
	movw	$0x8e00, IDT + 4(, %ecx, 8)
	shrl	$16, %eax
	movw	%ax, IDT + 6(, %ecx, 8)
	incl	%ecx
	cmpl	$0x48, %ecx
	jb	1b
	lgdt	gdtr - platform_guest + 0x1000
	ljmp	$0x08, $(2f - platform_guest + 0x1000)
2:
	/* a: the local APIC answers, and its registers take bytes, words and read-modify-write as memory does. */
	movl	APIC + 0x30, %eax
	cmpl	$0x00050014, %eax
	jne	fail
	movl	$0x1ff, APIC + 0xf0
	movl	$0x20, %eax
	xchgl	%eax, APIC + 0x80
	testl	%eax, %eax
	jnz	fail
	orl	$0x10, APIC + 0x80
	cmpl	$0x30, APIC + 0x80
	jne	fail
	andl	$0, APIC + 0x80
	movzwl	APIC + 0xf0, %eax
	cmpl	$0x1ff, %eax
	jne	fail
	movb	$'a', %al
	call	say

	/* b: an interrupt to itself waits for IF and ends HLT. */
	movl	$0x40, %edi
	movl	$0x00040040, APIC + 0x300
	cmpb	$0, SEEN + 0x40
	jne	fail
	sti
	hlt
	cli
	cmpb	$1, SEEN + 0x40
	jne	fail
	movb	$'b', %al
	call	say

	/* c: one-shot timer. */
	movl	$0xb, APIC + 0x3e0
	movl	$0x41, APIC + 0x320
	movl	$3000000, APIC + 0x380
1:	sti
	hlt
	cli
	cmpb	$1, SEEN + 0x41
	jne	fail
	movb	$'c', %al
	call	say

	/* d: deadline timer. */
	movl	$0x40042, APIC + 0x320
	rdtsc
	addl	$3000000, %eax
	adcl	$0, %edx
	movl	$0x6e0, %ecx
	wrmsr
	sti
	hlt
	cli
	cmpb	$1, SEEN + 0x42
	jne	fail
	movb	$'d', %al
	call	say

	/* e: periodic timer, four times. */
	movl	$0x20043, APIC + 0x320
	movl	$2000000, APIC + 0x380
1:	sti
	hlt
	cli
	cmpb	$4, SEEN + 0x43
	jb	1b
	movl	$0, APIC + 0x380
	movl	$0x10000, APIC + 0x320
	movb	$'e', %al
	call	say

	/* f: KVM's signature and its clock, which goes on. */
	movl	$0x40000000, %eax
	cpuid
	cmpl	$0x4b4d564b, %ebx
	jne	fail
	movl	$0x4b564d01, %ecx
	movl	$CLOCK + 1, %eax
	xorl	%edx, %edx
	wrmsr
	cmpl	$2, CLOCK
	jne	fail
	cmpl	$0, CLOCK + 24
	je	fail
	movl	$0x4b564d00, %ecx
	movl	$CLOCK + 64, %eax
	wrmsr
	cmpl	$1500000000, CLOCK + 68
	jb	fail
	movb	$'f', %al
	call	say

	/* g: the power management timer goes on. */
	movw	$0x608, %dx
	inl	%dx, %eax
	movl	%eax, %ebx
	movl	$100000, %ecx
1:	inl	%dx, %eax
	cmpl	%eax, %ebx
	jne	2f
	loop	1b
	jmp	fail
2:	movb	$'g', %al
	call	say

	/* h: I/O APIC: its version; the serial port's input 4, edge, comes from the monitor when it hears 'h'. */
	movl	$1, IOAPIC
	cmpl	$0x170011, IOAPIC + 0x10
	jne	fail
	movl	$0x18, IOAPIC
	movl	$0x44, IOAPIC + 0x10
	movb	$'h', %al
	call	say
1:	sti
	hlt
	cli
	cmpb	$1, SEEN + 0x44
	jne	1b
	movb	$'i', %al
	call	say

	/* j: strings: STOS with repetition writes the same register again and again, MOVS reads one. */
	cld
	movl	$APIC + 0x80, %edi
	movl	$0x30, %eax
	movl	$1, %ecx
	rep stosl
	cmpl	$APIC + 0x84, %edi
	jne	fail
	movl	$APIC + 0x80, %esi
	movl	$SEEN + 0x80, %edi
	movsl
	cmpl	$0x30, SEEN + 0x80
	jne	fail
	movl	$0, APIC + 0x80
	movb	$'j', %al
	call	say

	/* k: x2APIC mode, an interrupt to itself by register. */
	movl	$0x1b, %ecx
	rdmsr
	orl	$0x400, %eax
	wrmsr
	movl	$0x83f, %ecx
	movl	$0x45, %eax
	xorl	%edx, %edx
	wrmsr
	sti
	hlt
	cli
	cmpb	$1, SEEN + 0x45
	jne	fail
	movb	$'k', %al
	call	say

	/* l: the second processor starts, and its interrupt arrives here 100 times, each answered. */
	movl	$0x830, %ecx
	movl	$0x00c500, %eax
	movl	$1, %edx
	wrmsr
	movl	$0x004600 + (AP_AT >> 12), %eax
	wrmsr
1:	sti
	hlt
	cli
	movb	SEEN + 0x46, %al
	movb	%al, SEEN + 0x100
	cmpb	$100, %al
	jb	1b
	movb	$'l', %al
	call	say

	/*
	 * m: it sends 1000 more, each while the one before is being handled, and locks across cache lines all the time: an
	 * emulator stops its other processors for that, and one forgot there that it had delivered an interrupt. Each
	 * arrives once; one too many would at an exit at the latest.
	 */
	sti
1:	cmpb	$0, SEEN + OVER
	je	1b
	xorl	%eax, %eax
	cpuid
	cli
	cmpl	$1000, SEEN + COUNT
	jne	fail
	movb	$'m', %al
	call	say
	movb	$'.', %al
	call	say
	hlt

fail:
	movb	$'!', %al
	call	say
	cli
	hlt

say:
	movw	$SERIAL, %dx
	outb	%al, %dx
	ret

	.balign 16
handlers:
	.irp	vector, 0x40, 0x41, 0x42, 0x43, 0x44, 0x45, 0x46
	.balign 16
	incb	SEEN + \vector
	jmp	end_of_interrupt
	.endr
	/* Stays until the second processor, which has the next one sent by then, has locked four times. */
	.balign 16
	cmpb	$0, SEEN + INSIDE
	jne	fail
	movb	$1, SEEN + INSIDE
	incl	SEEN + COUNT
	pushl	%eax
	movl	SEEN + LOCKS, %eax
	addl	$4, %eax
1:	cmpl	SEEN + LOCKS, %eax
	ja	1b
	popl	%eax
	movb	$0, SEEN + INSIDE
end_of_interrupt:
	pushal
	movl	$0x1b, %ecx
	rdmsr
	testl	$0x400, %eax
	jnz	1f
	movl	$0, APIC + 0xb0
	popal
	iretl
1:	movl	$0x80b, %ecx
	xorl	%eax, %eax
	xorl	%edx, %edx
	wrmsr
	popal
	iretl

	.balign 8
gdt:
	.quad	0, 0x00cf9b000000ffff, 0x00cf93000000ffff
gdtr:
	.word	23
	.long	gdt - platform_guest + 0x1000
idtr:
	.word	0x48 * 8 - 1
	.long	IDT
platform_guest_end:

	/* The second processor, real mode at 2000h: interrupts the first one, waits until it has seen it. */
	.balign 16
	.code16
platform_guest_ap:
	movw	$SEEN >> 4, %ax
	movw	%ax, %ds
	movl	$0x1b, %ecx
	rdmsr
	orl	$0x400, %eax
	wrmsr
	movl	$0x80f, %ecx
	movl	$0x1ff, %eax
	xorl	%edx, %edx
	wrmsr
	movl	$100, %ebx
1:	movl	$0x830, %ecx
	movl	$0x46, %eax
	xorl	%edx, %edx
	wrmsr
	movb	$101, %al
	subb	%bl, %al
2:	cmpb	%al, 0x100
	jb	2b
	decl	%ebx
	jnz	1b
	/* Then step m. */
3:	incl	%ebx
	movl	$0x47, %eax
	wrmsr
4:	lock incl LOCKS
	cmpl	%ebx, COUNT
	jb	4b
	cmpl	$1000, %ebx
	jb	3b
	movb	$1, OVER
5:	lock incl LOCKS
	jmp	5b
platform_guest_ap_end:
	.section .note.GNU-stack, "", @progbits
