/* SPDX-License-Identifier: MIT */
/*
 * sweep KIND [COUNT [SEED]]: does a great many things at CPL 0 that no sane kernel does, in the hope that
 * the hypervisor faults, loops or gives something away. Prints how many answered and how many faulted.
 *
 *   calls         COUNT hypercalls with numbers and arguments drawn from what is likely to confuse
 *   cpuid         every leaf of every range, with sub-leaves
 *   read-msrs     every MSR of the ranges that processors implement
 *   write-msrs    to every MSR there that cannot be read: 0, all ones
 *   read-ports    every I/O port whose read has no side effect on a PC's running devices
 *   instructions  every privileged instruction ring0 knows, with COUNT odd operands
 */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../../machine/ring0/ring0.h"

#define OWN_PAGES 32u

static int device;
static uint64_t own_pages[OWN_PAGES], random_state = 1;
static unsigned long answered, faulted;

static uint64_t draw(void)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return random_state;
}

static int act(struct ring0 *request)
{
	if (ioctl(device, RING0_RUN, request) < 0) {
		perror("sweep: ring0");
		exit(1);
	}
	if (request->fault == RING0_NO_FAULT)
		answered++;
	else
		faulted++;
	return request->fault == RING0_NO_FAULT;
}

/* Arguments: pages of ours, so that what the hypervisor takes is nothing Linux needs; or nonsense. */
static uint64_t argument(void)
{
	static const uint64_t odd[] = {0, 1, 2, 16, 511, 512, 513, 0xfff, 0x1000, 0x9f000, 0xfee00000,
				       0xfed80000, 0xfffff000, 0x100000000, 1ull << 40, 1ull << 47,
				       1ull << 52, 1ull << 63, UINT64_MAX, UINT64_MAX - 0xfff};

	switch (draw() % 4) {
	case 0:
		return own_pages[draw() % OWN_PAGES];
	case 1:
		return own_pages[draw() % OWN_PAGES] + draw() % 4096;
	case 2:
		return draw() % 40;
	default:
		return odd[draw() % (sizeof(odd) / sizeof(odd[0]))];
	}
}

static void calls(unsigned long count)
{
	for (unsigned long i = 0; i < count; i++) {
		struct ring0 request = {.operation = RING0_CALL, .processor = (uint32_t)(draw() & 1)};

		request.address = draw() % 8 ? draw() % 0x42 : draw();
		for (int j = 0; j < 5; j++)
			request.value[j] = argument();
		act(&request);
	}
}

static void cpuid(unsigned long count)
{
	static const uint32_t ranges[] = {0, 0x40000000, 0x40480000, 0x80000000, 0x8fffff00, 0xc0000000,
					  0xffffffe0};

	for (size_t range = 0; range < sizeof(ranges) / sizeof(ranges[0]); range++)
		for (uint32_t leaf = 0; leaf < 0x20; leaf++)
			for (uint32_t subleaf = 0; subleaf < 4; subleaf++)
				act(&(struct ring0){.operation = RING0_CPUID,
						    .address = ranges[range] + leaf,
						    .value = {subleaf == 3 ? UINT32_MAX : subleaf}});
}

static void msrs(int write)
{
	static const uint32_t ranges[][2] = {{0, 0x2000}, {0x40000000, 0x40000200},
					     {0x4b564d00, 0x4b564d10}, {0xc0000000, 0xc0000400},
					     {0xc0010000, 0xc0012000}, {0xfffffff0, 0xffffffff}};

	for (size_t range = 0; range < sizeof(ranges) / sizeof(ranges[0]); range++) {
		for (uint32_t msr = ranges[range][0]; msr < ranges[range][1]; msr++) {
			struct ring0 request = {.operation = RING0_RDMSR, .address = msr};

			if (act(&request) || !write)
				continue;
			act(&(struct ring0){.operation = RING0_WRMSR, .address = msr});
			act(&(struct ring0){.operation = RING0_WRMSR,
					    .address = msr,
					    .value = {UINT64_MAX}});
		}
	}
}

/* Reading these takes a byte from a device that Linux drives (keyboard, serial, RTC index, disk). */
static int is_live(uint32_t port)
{
	return port == 0x60 || (port >= 0x3f8 && port < 0x400) || (port >= 0x2f8 && port < 0x300) ||
	       (port >= 0x1f0 && port < 0x1f8) || (port >= 0x170 && port < 0x178);
}

static void ports(void)
{
	for (uint32_t port = 0; port < 0x10000; port++)
		for (uint32_t width = 1; width <= 4 && !is_live(port); width *= 2)
			act(&(struct ring0){.operation = RING0_IN, .address = port, .width = width});
}

static void instructions(unsigned long count)
{
	/* Not here: what must work or would stop the machine on purpose (CR0, CR4, INVD on bare metal). */
	static const uint32_t which[] = {RING0_VMRUN, RING0_VMLOAD, RING0_VMSAVE, RING0_STGI, RING0_CLGI,
					 RING0_SKINIT, RING0_INVLPGA, RING0_VMCALL, RING0_XSETBV,
					 RING0_RDPMC, RING0_RSM, RING0_WBINVD};

	for (unsigned long i = 0; i < count; i++) {
		struct ring0 request = {.operation = RING0_INSTRUCTION, .processor = (uint32_t)(draw() & 1)};

		request.address = which[draw() % (sizeof(which) / sizeof(which[0]))];
		for (int j = 0; j < 3; j++)
			request.value[j] = argument();
		if (request.address == RING0_XSETBV)
			request.value[1] |= 2; /* never the real XCR0 */
		act(&request);
	}
}

int main(int argc, char **argv)
{
	const char *kind = argc > 1 ? argv[1] : "";
	unsigned long count = argc > 2 ? strtoul(argv[2], NULL, 10) : 1000;

	if (argc > 3)
		random_state = strtoul(argv[3], NULL, 10) | 1;
	device = open(RING0_DEVICE, O_RDWR);
	for (unsigned int i = 0; device >= 0 && i < OWN_PAGES; i++) {
		struct ring0 request = {.operation = RING0_ALLOCATE};

		act(&request);
		own_pages[i] = request.value[0];
	}
	answered = faulted = 0;
	if (strcmp(kind, "calls") == 0)
		calls(count);
	else if (strcmp(kind, "cpuid") == 0)
		cpuid(count);
	else if (strcmp(kind, "read-msrs") == 0)
		msrs(0);
	else if (strcmp(kind, "write-msrs") == 0)
		msrs(1);
	else if (strcmp(kind, "read-ports") == 0)
		ports();
	else if (strcmp(kind, "instructions") == 0)
		instructions(count);
	else
		return fprintf(stderr, "sweep: calls, cpuid, read-msrs, write-msrs, read-ports or instructions\n"), 2;
	printf("answered %lu faulted %lu\n", answered, faulted);
	return 0;
}
