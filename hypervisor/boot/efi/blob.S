/* SPDX-License-Identifier: MIT */
/* The hypervisor's file inside the loader. */
	.section .rdata, "dr"
	.globl	hypervisor_file, hypervisor_file_end
	.balign	16
hypervisor_file:
	.incbin	HYPERVISOR_FILE
hypervisor_file_end:
