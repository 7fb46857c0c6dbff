/* SPDX-License-Identifier: MIT */
/*
 * Entry of the guest that measures exits, and its interrupt handlers. The same image starts two ways: as a Linux
 * bzImage (Bulkhead's monitor: long mode, 512 bytes into the image) and as a PVH kernel (QEMU without a hypervisor:
 * 32-bit protected mode, no paging). Both get page tables of our own with the first 4 GiB as they are.
 */
#define FLAT_CODE 0x00cf9b000000ffff
#define LONG_CODE 0x00af9b000000ffff
#define FLAT_DATA 0x00cf93000000ffff

	.section .note.pvh, "a", @note
	.long 4, 4, 18 /* XEN_ELFNOTE_PHYS32_ENTRY */
	.asciz "Xen"
	.long entry_32

	.section .text.start, "ax"
	.code32
	.globl entry_32
entry_32:
	cli
	cld
	movl $stack_end, %esp
	call map_memory
	movl %cr4, %eax
	orl $0x620, %eax /* PAE, OSFXSR, OSXMMEXCPT */
	movl %eax, %cr4
	movl $table_4, %eax
	movl %eax, %cr3
	movl $0xc0000080, %ecx
	rdmsr
	orl $0x100, %eax /* long mode */
	wrmsr
	movl %cr0, %eax
	andl $~0x60000004, %eax /* caches on, FPU there */
	orl $0x80000023, %eax /* paging, numeric errors, FPU, protection */
	movl %eax, %cr0
	lgdt descriptors_pointer
	ljmp $8, $in_long_mode

/* Present, writable pages of 2 MiB; uses eax, ecx, edi. */
map_memory:
	movl $table_4, %edi
	movl $table_3 + 3, (%edi)
	movl $table_3, %edi
	movl $table_2 + 3, %eax
	movl $4, %ecx
1:	movl %eax, (%edi)
	addl $8, %edi
	addl $4096, %eax
	loop 1b
	movl $table_2, %edi
	movl $0x83, %eax
	movl $2048, %ecx
2:	movl %eax, (%edi)
	addl $0x200000, %eax
	addl $8, %edi
	loop 2b
	ret

	.org 0x200 /* Linux's 64-bit boot protocol enters here, the first 4 GiB mapped */
	.code64
entry_64:
	cli
	lgdt descriptors_pointer
	leaq stack_end(%rip), %rsp
	pushq $8
	pushq $in_long_mode
	lretq
in_long_mode:
	movw $16, %ax
	movw %ax, %ds
	movw %ax, %es
	movw %ax, %ss
	leaq stack_end(%rip), %rsp
	call main
3:	cli
	hlt
	jmp 3b

/* An exception: skips as many bytes as `expected` says, or ends the guest. */
	.globl exception_entry, exception_with_code_entry
exception_with_code_entry:
	addq $8, %rsp
exception_entry:
	pushq %rax
	movl expected(%rip), %eax
	testl %eax, %eax
	jz unexpected
	addq %rax, 8(%rsp)
	incl exceptions(%rip)
	popq %rax
	iretq

/* The shortest handler there is: counts, EOI, return. */
	.globl interrupt_entry
interrupt_entry:
	pushq %rax
	incl interrupts(%rip)
	movl $0xfee000b0, %eax
	movl $0, (%rax)
	popq %rax
	iretq

	.section .data
	.balign 8
descriptors:
	.quad 0, LONG_CODE, FLAT_DATA
descriptors_pointer:
	.word . - descriptors - 1
	.quad descriptors

	.section .bss
	.balign 4096
table_4: .skip 4096
table_3: .skip 4096
table_2: .skip 4 * 4096
	.skip 16384
stack_end:

	.section .note.GNU-stack, "", @progbits
