/* guest_files.S: files of guest/ that `image prepare` puts into a disk, each ended by 0. */
	.macro embed symbol, file
	.globl \symbol
\symbol:
	.incbin "\file"
	.byte 0
	.endm
	.section .rodata
	embed guest_agent_conf, guest/qemu-guest-agent.conf
	embed guest_home, guest/bulkhead-home
	embed guest_home_unit, guest/bulkhead-home.service
	.section .note.GNU-stack, "", @progbits
