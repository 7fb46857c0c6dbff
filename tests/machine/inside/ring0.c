/* SPDX-License-Identifier: MIT */
/*
 * ring0: does one thing at CPL 0 through the test module and prints what came of it.
 *
 * Prints the value in hexadecimal, or "fault N" with status 3 if the processor raised exception N. So a
 * shell script can say: [ "$(ring0 wrmsr c0010117 0)" = "fault 13" ].
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../ring0/ring0.h"

static const char usage[] =
	"usage: ring0 [-c PROCESSOR] COMMAND   (numbers are hexadecimal)\n"
	"  read ADDRESS WIDTH | write ADDRESS WIDTH VALUE       physical memory, cached\n"
	"  mmio ADDRESS WIDTH | mmiow ADDRESS WIDTH VALUE       the same, uncached\n"
	"  rdmsr NUMBER | wrmsr NUMBER VALUE\n"
	"  in PORT WIDTH | out PORT WIDTH VALUE\n"
	"  cpuid LEAF [SUBLEAF]                                 prints EAX EBX ECX EDX\n"
	"  call NUMBER [RDI [RSI [RDX [RCX [R8]]]]]             a hypercall; prints RAX RDX\n"
	"  do INSTRUCTION [RAX [RCX [RDX]]]                     prints RAX\n"
	"  alloc ORDER                                          prints the physical address of 2^ORDER zeroed pages\n"
	"  find COMPLEMENT                                      prints where in RAM the eight bytes stand, or ~0\n"
	"  triplefault\n";

static const struct command {
	const char *name;
	enum ring0_operation operation;
	int words_min, words_max; /* after the name */
} commands[] = {
	{ "read", RING0_READ, 2, 2 },	      { "write", RING0_WRITE, 3, 3 },
	{ "mmio", RING0_READ_MMIO, 2, 2 },    { "mmiow", RING0_WRITE_MMIO, 3, 3 },
	{ "rdmsr", RING0_RDMSR, 1, 1 },	      { "wrmsr", RING0_WRMSR, 2, 2 },
	{ "in", RING0_IN, 2, 2 },	      { "out", RING0_OUT, 3, 3 },
	{ "cpuid", RING0_CPUID, 1, 2 },	      { "call", RING0_CALL, 1, 6 },
	{ "do", RING0_INSTRUCTION, 1, 4 },    { "alloc", RING0_ALLOCATE, 1, 1 },
	{ "find", RING0_FIND, 1, 1 },	      { "triplefault", RING0_TRIPLE_FAULT, 0, 0 },
};

static const char *const instructions[RING0_INSTRUCTIONS] = {
	[RING0_VMRUN] = "vmrun",
	[RING0_VMLOAD] = "vmload",
	[RING0_VMSAVE] = "vmsave",
	[RING0_STGI] = "stgi",
	[RING0_CLGI] = "clgi",
	[RING0_SKINIT] = "skinit",
	[RING0_INVLPGA] = "invlpga",
	[RING0_VMMCALL] = "vmmcall",
	[RING0_VMCALL] = "vmcall",
	[RING0_XSETBV] = "xsetbv",
	[RING0_WBINVD] = "wbinvd",
	[RING0_INVD] = "invd",
	[RING0_MOV_TO_CR0] = "mov-to-cr0",
	[RING0_MOV_FROM_CR0] = "mov-from-cr0",
	[RING0_MOV_TO_CR4] = "mov-to-cr4",
	[RING0_MOV_FROM_CR4] = "mov-from-cr4",
	[RING0_MOV_TO_DR7] = "mov-to-dr7",
	[RING0_MOV_FROM_DR7] = "mov-from-dr7",
	[RING0_RDPMC] = "rdpmc",
	[RING0_RSM] = "rsm",
};

static void die(const char *what, const char *why)
{
	fprintf(stderr, "ring0: %s: %s\n%s", what, why, usage);
	exit(2);
}

static uint64_t number(const char *word)
{
	char *end;
	uint64_t value = strtoull(word, &end, 16);

	if (!*word || *end)
		die(word, "not a hexadecimal number");
	return value;
}

static uint64_t instruction(const char *name)
{
	for (size_t i = 0; i < RING0_INSTRUCTIONS; i++)
		if (strcmp(name, instructions[i]) == 0)
			return i;
	die(name, "no such instruction");
	return 0;
}

/** Fills the request from the command's words, which have been counted. */
static void parse(struct ring0 *request, char **words, int count)
{
	int values = 1; /* index of the first word that goes into value[] */

	switch (request->operation) {
	case RING0_INSTRUCTION:
		request->address = instruction(words[0]);
		break;
	case RING0_ALLOCATE:
		request->width = number(words[0]);
		break;
	case RING0_FIND:
		values = 0;
		break;
	case RING0_TRIPLE_FAULT:
		return;
	case RING0_RDMSR:
	case RING0_WRMSR:
	case RING0_CPUID:
	case RING0_CALL:
		request->address = number(words[0]);
		break;
	default:
		request->address = number(words[0]);
		request->width = number(words[1]);
		values = 2;
		break;
	}
	for (int i = values; i < count; i++)
		request->value[i - values] = number(words[i]);
}

static void print(const struct ring0 *request)
{
	const unsigned long long v0 = request->value[0], v1 = request->value[1];

	if (request->operation == RING0_CPUID)
		printf("%llx %llx %llx %llx\n", v0, v1, (unsigned long long)request->value[2],
		       (unsigned long long)request->value[3]);
	else if (request->operation == RING0_CALL)
		printf("%llx %llx\n", v0, v1);
	else
		printf("%llx\n", v0);
}

int main(int argc, char **argv)
{
	struct ring0 request = { 0 };
	const struct command *command = NULL;
	int first = 1, device;

	if (argc > 2 && strcmp(argv[1], "-c") == 0) {
		request.processor = number(argv[2]);
		first = 3;
	}
	if (first >= argc)
		die("no command", "say what to do");
	for (size_t i = 0; i < sizeof(commands) / sizeof(*commands); i++)
		if (strcmp(commands[i].name, argv[first]) == 0)
			command = &commands[i];
	if (!command || argc - first - 1 < command->words_min || argc - first - 1 > command->words_max)
		die(argv[first], "no such command, or not its words");
	request.operation = command->operation;
	parse(&request, argv + first + 1, argc - first - 1);

	device = open(RING0_DEVICE, O_RDWR);
	if (device < 0 || ioctl(device, RING0_RUN, &request) < 0) {
		fprintf(stderr, "ring0: %s: %s\n", argv[first], strerror(errno));
		return 1;
	}
	close(device);
	if (request.fault != RING0_NO_FAULT) {
		printf("fault %u\n", request.fault);
		return 3;
	}
	print(&request);
	return 0;
}
