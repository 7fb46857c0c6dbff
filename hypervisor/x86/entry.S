/* SPDX-License-Identifier: MIT */
/*
 * The way in from a loader, exceptions, and calls that may fault.
 */
#include "processor.h"

	.section .text.entry, "ax"
	.globl	hypervisor_entry
	.type	hypervisor_entry, @function
/*
 * uint32_t hypervisor_entry(uint64_t operation, const struct boot_info *info), on the loader's stack,
 * page tables and descriptor tables. Records where the caller stands: BOOT_ENTER goes on there.
 */
hypervisor_entry:
	pushfq
	cli
	subq	$64, %rsp
	movq	%rbx, 0(%rsp)
	movq	%rbp, 8(%rsp)
	movq	%r12, 16(%rsp)
	movq	%r13, 24(%rsp)
	movq	%r14, 32(%rsp)
	movq	%r15, 40(%rsp)
	leaq	80(%rsp), %rax		/* rsp after the return */
	movq	%rax, 48(%rsp)
	movq	72(%rsp), %rax		/* rip to return to */
	movq	%rax, 56(%rsp)
	movq	%rsp, %rdx
	movq	64(%rsp), %rcx		/* the caller's flags */
	movq	%rsp, %rbp
	andq	$-16, %rsp
	cld
	call	hypervisor_operation
	movq	%rbp, %rsp
	movq	8(%rsp), %rbp
	addq	$64, %rsp
	popfq
	ret

/*
 * uint32_t hypervisor_call_on(uint32_t (*function)(void *), void *argument, uint64_t cr3, uint64_t stack):
 * calls a function on our page tables and stack, then returns to the caller's.
 */
	.globl	hypervisor_call_on
	.type	hypervisor_call_on, @function
hypervisor_call_on:
	pushq	%rbx
	pushq	%rbp
	movq	%rsp, %rbp
	movq	%cr3, %rbx
	movq	%rdx, %cr3
	movq	%rcx, %rsp
	movq	%rdi, %rax
	movq	%rsi, %rdi
	call	*%rax
	movq	%rbx, %cr3
	movq	%rbp, %rsp
	popq	%rbp
	popq	%rbx
	ret

/* void hypervisor_leave_for(void (*function)(struct processor *), struct processor *, cr3, stack): for good. */
	.globl	hypervisor_leave_for
	.type	hypervisor_leave_for, @function
hypervisor_leave_for:
	movq	%rdx, %cr3
	movq	%rcx, %rsp
	xorl	%ebp, %ebp
	movq	%rdi, %rax
	movq	%rsi, %rdi
	call	*%rax
	ud2

	.text
/* bool cpu_read_msr(uint32_t msr, uint64_t *value): false if the processor refuses. */
	.globl	cpu_read_msr
	.type	cpu_read_msr, @function
cpu_read_msr:
	movl	%edi, %ecx
	leaq	1f(%rip), %rax
	movq	%rax, %gs:PROCESSOR_FIXUP
	rdmsr
	movl	%eax, (%rsi)
	movl	%edx, 4(%rsi)
	movl	$1, %eax
	jmp	2f
1:	xorl	%eax, %eax
2:	movq	$0, %gs:PROCESSOR_FIXUP
	ret

/* bool cpu_write_msr(uint32_t msr, uint64_t value): false if the processor refuses. */
	.globl	cpu_write_msr
	.type	cpu_write_msr, @function
cpu_write_msr:
	movl	%edi, %ecx
	movl	%esi, %eax
	movq	%rsi, %rdx
	shrq	$32, %rdx
	leaq	1f(%rip), %rdi
	movq	%rdi, %gs:PROCESSOR_FIXUP
	wrmsr
	movl	$1, %eax
	jmp	2f
1:	xorl	%eax, %eax
2:	movq	$0, %gs:PROCESSOR_FIXUP
	ret

/* An NMI only counts. If it comes just before the sleep it was meant to end, it ends it. */
nmi:
	addq	$16, %rsp		/* vector, error code */
	incq	%gs:PROCESSOR_NMI_COUNT
	pushq	%rax
	leaq	vendor_wait_sleep(%rip), %rax
	cmpq	%rax, 8(%rsp)
	jne	1f
	leaq	vendor_wait_end(%rip), %rax
	movq	%rax, 8(%rsp)
1:	popq	%rax
	iretq

exception:
	cmpq	$2, (%rsp)
	je	nmi
	cmpq	$0, %gs:PROCESSOR_FIXUP
	je	1f
	pushq	%rax
	movq	%gs:PROCESSOR_FIXUP, %rax
	movq	$0, %gs:PROCESSOR_FIXUP
	movq	%rax, 24(%rsp)		/* saved rip */
	popq	%rax
	addq	$16, %rsp
	iretq
1:	pushq	%r15
	pushq	%r14
	pushq	%r13
	pushq	%r12
	pushq	%r11
	pushq	%r10
	pushq	%r9
	pushq	%r8
	pushq	%rdi
	pushq	%rsi
	pushq	%rbp
	pushq	%rsp
	pushq	%rbx
	pushq	%rdx
	pushq	%rcx
	pushq	%rax
	movq	%rsp, %rdi
	andq	$-16, %rsp
	call	panic_exception
	ud2

	.globl	exception_stubs
	.balign	16
exception_stubs:
	.set	vector, 0
	.rept	32
	.balign	16
	.if	!(vector == 8 || (vector >= 10 && vector <= 14) || vector == 17 || vector == 21 || vector == 29 || vector == 30)
	pushq	$0
	.endif
	pushq	$vector
	jmp	exception
	.set	vector, vector + 1
	.endr

	.section .note.GNU-stack, "", @progbits
