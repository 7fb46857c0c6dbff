/* SPDX-License-Identifier: MIT */
/*
 * The world switch. VMRUN and #VMEXIT exchange only RIP, RSP, RAX, RFLAGS, control registers and
 * segments but FS, GS, TR, LDTR; VMSAVE and VMLOAD move those and the system-call registers; the
 * other general registers are moved here. All of it runs with GIF clear.
 */
#include "../processor.h"

#define GPR(n) (PROCESSOR_GPR + 8 * (n))

	.text
/* void vendor_run(struct processor *processor), on its own stack, for good. */
	.globl	vendor_run
	.type	vendor_run, @function
vendor_run:
	pushq	%rdi
	pushq	%rdi			/* keeps the stack aligned */
1:	movq	(%rsp), %rdi
	call	svm_run_once
	jmp	1b

/* void svm_switch(struct processor *processor): runs processor->run_state until it exits. */
	.globl	svm_switch
	.type	svm_switch, @function
svm_switch:
	pushq	%rbx
	pushq	%rbp
	pushq	%r12
	pushq	%r13
	pushq	%r14
	pushq	%r15
	pushq	%rdi
	movq	PROCESSOR_RUN_STATE(%rdi), %rax
	movq	GPR(1)(%rdi), %rcx
	movq	GPR(2)(%rdi), %rdx
	movq	GPR(3)(%rdi), %rbx
	movq	GPR(5)(%rdi), %rbp
	movq	GPR(6)(%rdi), %rsi
	movq	GPR(8)(%rdi), %r8
	movq	GPR(9)(%rdi), %r9
	movq	GPR(10)(%rdi), %r10
	movq	GPR(11)(%rdi), %r11
	movq	GPR(12)(%rdi), %r12
	movq	GPR(13)(%rdi), %r13
	movq	GPR(14)(%rdi), %r14
	movq	GPR(15)(%rdi), %r15
	movq	GPR(7)(%rdi), %rdi
	vmload	%rax
	vmrun	%rax
	vmsave	%rax
	xchgq	%rdi, (%rsp)
	movq	%rcx, GPR(1)(%rdi)
	movq	%rdx, GPR(2)(%rdi)
	movq	%rbx, GPR(3)(%rdi)
	movq	%rbp, GPR(5)(%rdi)
	movq	%rsi, GPR(6)(%rdi)
	popq	%rax
	movq	%rax, GPR(7)(%rdi)
	movq	%r8, GPR(8)(%rdi)
	movq	%r9, GPR(9)(%rdi)
	movq	%r10, GPR(10)(%rdi)
	movq	%r11, GPR(11)(%rdi)
	movq	%r12, GPR(12)(%rdi)
	movq	%r13, GPR(13)(%rdi)
	movq	%r14, GPR(14)(%rdi)
	movq	%r15, GPR(15)(%rdi)
	movq	PROCESSOR_HOST_STATE(%rdi), %rax
	vmload	%rax
	/* Nothing of the guest's stays where a wrong speculation could use it. */
	xorl	%ecx, %ecx
	xorl	%edx, %edx
	xorl	%esi, %esi
	xorl	%r8d, %r8d
	xorl	%r9d, %r9d
	xorl	%r10d, %r10d
	xorl	%r11d, %r11d
	popq	%r15
	popq	%r14
	popq	%r13
	popq	%r12
	popq	%rbp
	popq	%rbx
	ret

/*
 * void vendor_take_pending(void): NMI and SMI are taken between STGI and CLGI, with interrupts masked.
 */
	.globl	vendor_take_pending
	.type	vendor_take_pending, @function
vendor_take_pending:
	cli
	stgi
	nop
	clgi
	ret

/* void vendor_wait(void): see the NMI handler in entry.S for the two labels. */
	.globl	vendor_wait, vendor_wait_sleep, vendor_wait_end
	.type	vendor_wait, @function
vendor_wait:
	cli
	stgi
vendor_wait_sleep:
	hlt
vendor_wait_end:
	clgi
	ret

	.section .note.GNU-stack, "", @progbits
