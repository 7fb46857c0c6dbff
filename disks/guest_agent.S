/* guest_agent.S: the bytes of guest/qemu-guest-agent.conf, ended by 0. */
	.section .rodata
	.globl guest_agent_conf
guest_agent_conf:
	.incbin GUEST_AGENT_PATH
	.byte 0
	.section .note.GNU-stack, "", @progbits
