/* openapi.S: the bytes of openapi.json. */
	.section .rodata
	.globl openapi_json, openapi_json_bytes
openapi_json:
	.incbin OPENAPI_PATH
1:
	.balign 8
openapi_json_bytes:
	.quad 1b - openapi_json
	.section .note.GNU-stack, "", @progbits
