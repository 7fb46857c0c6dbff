/* SPDX-License-Identifier: MIT */
/*
 * The Multiboot loader's way from 32-bit protected mode without paging into 64-bit mode, and the
 * headers by which it is found (Multiboot 0.6.96, 3.1; Multiboot2 2.0, 3.1). Linked at its load
 * address; the file is a flat copy of memory.
 */
#define MULTIBOOT_MAGIC	 0x1badb002
#define MULTIBOOT_FLAGS	 0x00010003	/* aligned modules, memory map, addresses below */
#define MULTIBOOT2_MAGIC 0xe85250d6

	.section .header, "ax"
	.code32
	.align	8
multiboot_header:
	.long	MULTIBOOT_MAGIC, MULTIBOOT_FLAGS, -(MULTIBOOT_MAGIC + MULTIBOOT_FLAGS)
	.long	multiboot_header, load_start, load_end, bss_end, start32
	.align	8
multiboot2_header:
	.long	MULTIBOOT2_MAGIC, 0, multiboot2_end - multiboot2_header
	.long	-(MULTIBOOT2_MAGIC + 0 + (multiboot2_end - multiboot2_header))
	.short	2, 0			/* addresses */
	.long	24, multiboot2_header, load_start, load_end, bss_end
	.short	3, 0			/* entry */
	.long	12, start32
	.align	8
	.short	6, 0			/* aligned modules */
	.long	8
	.short	0, 0			/* end */
	.long	8
multiboot2_end:

	.globl	start32
start32:
	cli
	cld
	movl	$stack_top, %esp
	movl	%eax, %ebp		/* which protocol */
	/* The first 4 GiB at their own addresses, in 2 MiB pages. */
	movl	$page_tables, %edi
	movl	$page_tables + 0x1000 + 7, (%edi)
	movl	$page_tables + 0x1000, %edi
	movl	$page_tables + 0x2000 + 7, %eax
	movl	$4, %ecx
1:	movl	%eax, (%edi)
	addl	$8, %edi
	addl	$0x1000, %eax
	loop	1b
	movl	$page_tables + 0x2000, %edi
	movl	$0x87, %eax
	movl	$2048, %ecx
2:	movl	%eax, (%edi)
	addl	$8, %edi
	addl	$0x200000, %eax
	loop	2b
	movl	%cr4, %eax
	orl	$0x20, %eax		/* PAE */
	movl	%eax, %cr4
	movl	$page_tables, %eax
	movl	%eax, %cr3
	movl	$0xc0000080, %ecx	/* EFER.LME */
	rdmsr
	orl	$0x100, %eax
	wrmsr
	movl	%cr0, %eax
	andl	$~0x60000004, %eax	/* CD, NW, EM */
	orl	$0x80000023, %eax	/* PG, NE, MP, PE */
	movl	%eax, %cr0
	lgdt	gdt_pointer
	ljmp	$0x10, $start64

	.code64
start64:
	movl	$0x18, %eax
	movl	%eax, %ds
	movl	%eax, %es
	movl	%eax, %ss
	xorl	%eax, %eax
	movl	%eax, %fs
	movl	%eax, %gs
	movl	%ebp, %edi
	movl	%ebx, %esi
	xorl	%ebp, %ebp
	call	loader_main
3:	hlt
	jmp	3b

/* void kernel_jump(uint64_t entry, void *boot_params): Linux's 64-bit boot protocol. */
	.globl	kernel_jump
kernel_jump:
	cli
	jmp	*%rdi

	.section .rodata
	.align	8
/* Linux wants its code segment at 10h and data at 18h. */
gdt:	.quad	0, 0, 0x00af9b000000ffff, 0x00cf93000000ffff
gdt_pointer:
	.word	gdt_pointer - gdt - 1
	.quad	gdt

	.globl	hypervisor_file, hypervisor_file_end
	.align	16
hypervisor_file:
	.incbin	HYPERVISOR_FILE
hypervisor_file_end:

	.bss
	.align	4096
page_tables:
	.skip	6 * 4096
	.skip	16384
stack_top:
	.section .note.GNU-stack, "", @progbits
