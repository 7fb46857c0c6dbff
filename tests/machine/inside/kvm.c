/* SPDX-License-Identifier: MIT */
/*
 * Tiny guests through /dev/kvm, as a monitor would make them. usage: kvm CASE
 *   run      loads, seals and runs a guest; what the API promises holds, what is closed stays closed
 *   killed   a thousand monitors die at every step and at random moments; nothing of them is left
 *   lent     the same guest unprotected, in this program's own memory
 *   unload   the module cannot be unloaded while a guest exists
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <bulkhead/device.h>
#include <bulkhead/hypercall.h>
#include <bulkhead/kvm.h>

#define CODE_AT	     0x1000u
#define MEMORY_BYTES (4u << 20) /* one area of 2 MiB with code in it, one without */
#define FAR_AT	     0x10000u

/*
 * Real mode, loaded at CODE_AT: reads a byte from the serial port and answers it plus one; writes and reads back a byte
 * of a page nobody has filled; halts.
 */
static const uint8_t talker[] = {
	0xba, 0xf8, 0x03,	      /* mov dx, 3f8h */
	0xec,			      /* in al, dx */
	0xfe, 0xc0,		      /* inc al */
	0xee,			      /* out dx, al */
	0xb9, 0x00, 0x10,	      /* mov cx, FAR_AT >> 4 */
	0x8e, 0xd9,		      /* mov ds, cx */
	0xa2, 0x34, 0x12,	      /* mov [1234h], al */
	0x30, 0xc0,		      /* xor al, al */
	0xa0, 0x34, 0x12,	      /* mov al, [1234h] */
	0xee,			      /* out dx, al */
	0xf4,			      /* hlt */
	0xeb, 0xfd,		      /* jmp to the hlt */
};
static const uint8_t spinner[] = { 0xeb, 0xfe };

static int steps_left = -1; /* this process dies when they are used up */

static void __attribute__((format(printf, 1, 2), noreturn)) fail(const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	vprintf(format, arguments);
	va_end(arguments);
	putchar('\n');
	exit(1);
}

static int call(const char *what, int fd, unsigned long request, void *argument)
{
	int result;

	if (steps_left >= 0 && steps_left-- == 0)
		kill(getpid(), SIGKILL);
	result = ioctl(fd, request, argument);
	if (result < 0)
		fail("%s: %s", what, strerror(errno));
	return result;
}

static void refused(const char *what, int fd, unsigned long request, void *argument, int reason)
{
	if (ioctl(fd, request, argument) == 0)
		fail("%s was not refused", what);
	if (errno != reason)
		fail("%s: refused with %s, expected %s", what, strerror(errno), strerror(reason));
}

static int operate(const char *what, int vm, uint32_t number, void *argument)
{
	struct bulkhead_kvm_operation operation = { .operation = number, .argument = (uintptr_t)argument };

	return call(what, vm, KVM_MEMORY_ENCRYPT_OP, &operation);
}

struct guest {
	int kvm, vm, vcpu;
	struct kvm_run *run;
	uint8_t *memory; /* unprotected: ours */
};

static void set_registers(const struct guest *guest)
{
	struct kvm_sregs special;
	struct kvm_regs registers = { .rip = CODE_AT, .rflags = 2, .rsp = 0x2000 };

	call("GET_SREGS", guest->vcpu, KVM_GET_SREGS, &special);
	special.cs.base = 0;
	special.cs.selector = 0;
	special.cr0 = 0x10;
	call("SET_SREGS", guest->vcpu, KVM_SET_SREGS, &special);
	call("SET_REGS", guest->vcpu, KVM_SET_REGS, &registers);
}

static struct guest make(const uint8_t *code, size_t size_bytes, bool protected)
{
	struct bulkhead_kvm_init init = { .flags = protected ? BULKHEAD_GUEST_PROTECTED : 0 };
	struct kvm_userspace_memory_region region = {
		.flags = protected ? BULKHEAD_KVM_MEM_PRIVATE : 0,
		.memory_size = MEMORY_BYTES,
	};
	struct bulkhead_kvm_load load = { .guest_address = CODE_AT, .from = (uintptr_t)code, .size_bytes = size_bytes };
	struct guest guest = { .kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC) };
	int run_bytes;

	if (guest.kvm < 0)
		fail("/dev/kvm: %s", strerror(errno));
	guest.vm = call("CREATE_VM", guest.kvm, KVM_CREATE_VM, NULL);
	operate("INIT", guest.vm, BULKHEAD_KVM_INIT, &init);
	if (!protected) {
		guest.memory = mmap(NULL, MEMORY_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
		memcpy(guest.memory + CODE_AT, code, size_bytes);
		region.userspace_addr = (uintptr_t)guest.memory;
	}
	call("SET_USER_MEMORY_REGION", guest.vm, KVM_SET_USER_MEMORY_REGION, &region);
	guest.vcpu = call("CREATE_VCPU", guest.vm, KVM_CREATE_VCPU, NULL);
	run_bytes = call("GET_VCPU_MMAP_SIZE", guest.kvm, KVM_GET_VCPU_MMAP_SIZE, NULL);
	guest.run = mmap(NULL, (size_t)run_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, guest.vcpu, 0);
	if (guest.run == MAP_FAILED)
		fail("mapping the run structure: %s", strerror(errno));
	if (protected)
		operate("LOAD", guest.vm, BULKHEAD_KVM_LOAD, &load);
	set_registers(&guest);
	operate("SEAL", guest.vm, BULKHEAD_KVM_SEAL, NULL);
	return guest;
}

static uint32_t run(const struct guest *guest)
{
	/* Linux may want this thread back for work of its own, as it does for a signal. */
	while (ioctl(guest->vcpu, KVM_RUN, NULL))
		if (errno != EINTR)
			fail("RUN: %s", strerror(errno));
	return guest->run->exit_reason;
}

static uint8_t *port_data(const struct guest *guest)
{
	return (uint8_t *)guest->run + guest->run->io.data_offset;
}

static void expect_port(const struct guest *guest, uint8_t direction)
{
	if (run(guest) != KVM_EXIT_IO)
		fail("exit %u, expected a port access", guest->run->exit_reason);
	if (guest->run->io.port != 0x3f8 || guest->run->io.size != 1 || guest->run->io.count != 1 ||
	    guest->run->io.direction != direction)
		fail("port %x, size %u, direction %u", guest->run->io.port, guest->run->io.size,
		     guest->run->io.direction);
}

static void converse(const struct guest *guest)
{
	expect_port(guest, KVM_EXIT_IO_IN);
	*port_data(guest) = 'A';
	expect_port(guest, KVM_EXIT_IO_OUT);
	if (*port_data(guest) != 'B')
		fail("the guest answered %02x", *port_data(guest));
	expect_port(guest, KVM_EXIT_IO_OUT);
	if (*port_data(guest) != 'B')
		fail("the guest read back %02x", *port_data(guest));
	if (run(guest) != KVM_EXIT_HLT)
		fail("exit %u, expected HLT", guest->run->exit_reason);
}

static int run_case(void)
{
	struct guest guest = make(talker, sizeof(talker), true);
	struct bulkhead_measurement measurement;
	struct kvm_regs registers;
	struct kvm_sregs special;
	struct kvm_userspace_memory_region region = { .slot = 1, .flags = BULKHEAD_KVM_MEM_PRIVATE,
						      .guest_phys_addr = 1u << 30, .memory_size = 4096 };
	struct kvm_irqfd irqfd = { 0 };

	if (call("CHECK_EXTENSION", guest.kvm, KVM_CHECK_EXTENSION, (void *)BULKHEAD_KVM_CAP) >> 16 !=
	    BULKHEAD_ABI_VERSION >> 16)
		fail("the capability names another interface");
	operate("MEASURE", guest.vm, BULKHEAD_KVM_MEASURE, &measurement);
	if (!measurement.is_sealed || measurement.record_count != 4)
		fail("%llu records, expected guest, range, page and vCPU",
		     (unsigned long long)measurement.record_count);
	refused("GET_REGS after the seal", guest.vcpu, KVM_GET_REGS, &registers, EACCES);
	refused("SET_REGS after the seal", guest.vcpu, KVM_SET_REGS, &registers, EACCES);
	refused("GET_SREGS after the seal", guest.vcpu, KVM_GET_SREGS, &special, EACCES);
	refused("memory after the seal", guest.vm, KVM_SET_USER_MEMORY_REGION, &region, EACCES);
	refused("a vCPU after the seal", guest.vm, KVM_CREATE_VCPU, (void *)1, EACCES);
	refused("an irqfd", guest.vm, KVM_IRQFD, &irqfd, EOPNOTSUPP);
	refused("a call that does not exist", guest.vm, _IO(KVMIO, 0xf0), NULL, ENOTTY);
	guest.run->immediate_exit = 1;
	refused("a run that is to return at once", guest.vcpu, KVM_RUN, NULL, EINTR);
	guest.run->immediate_exit = 0;
	converse(&guest);
	return 0;
}

static int lent_case(void)
{
	struct guest guest = make(talker, sizeof(talker), false);
	struct kvm_regs registers;

	converse(&guest);
	if (guest.memory[FAR_AT + 0x1234] != 'B')
		fail("the guest's byte is not in our memory");
	call("GET_REGS", guest.vcpu, KVM_GET_REGS, &registers);
	if ((registers.rax & 0xff) != 'B')
		fail("rax is %llx", (unsigned long long)registers.rax);
	return 0;
}

static struct bulkhead_status status(void)
{
	struct bulkhead_status answer;
	int fd = open(BULKHEAD_DEVICE, O_RDONLY);

	if (fd < 0 || ioctl(fd, BULKHEAD_DEVICE_STATUS, &answer))
		fail(BULKHEAD_DEVICE ": %s", strerror(errno));
	close(fd);
	return answer;
}

/*
 * Free pages that wait on the processors' own lists count as used: tens of MiB, since 2 MiB blocks wait there too. Short
 * lists make what is free comparable.
 */
static void keep_few_pages_waiting(void)
{
	FILE *file = fopen("/proc/sys/vm/percpu_pagelist_high_fraction", "w");

	if (!file || fprintf(file, "1000000\n") < 0 || fclose(file))
		fail("percpu_pagelist_high_fraction: %s", strerror(errno));
}

static unsigned long free_kib(void)
{
	char line[128];
	unsigned long value = 0;
	FILE *file = fopen("/proc/meminfo", "r");

	while (file && fgets(line, sizeof(line), file))
		if (sscanf(line, "MemAvailable: %lu", &value) == 1)
			break;
	if (file)
		fclose(file);
	return value;
}

/* One monitor that dies: before its @step-th call, or whenever the signal finds it while the guest spins. */
static void one_killed(int step)
{
	pid_t child = fork();

	if (child == 0) {
		struct guest guest;

		steps_left = step;
		if (step >= 0) {
			guest = make(talker, sizeof(talker), step % 2);
			converse(&guest);
			_exit(0);
		}
		guest = make(spinner, sizeof(spinner), true);
		for (;;)
			(void)ioctl(guest.vcpu, KVM_RUN, NULL);
	}
	if (step < 0) {
		usleep((useconds_t)(rand() % 20000));
		kill(child, SIGKILL);
	}
	waitpid(child, NULL, 0);
}

static int killed_case(void)
{
	struct bulkhead_status before, after;
	unsigned long kib;

	keep_few_pages_waiting();
	for (int i = 0; i < 40; i++)
		one_killed(1000); /* what is made once is made */
	before = status();
	kib = free_kib();
	for (int i = 0; i < 1000; i++)
		one_killed(i % 3 ? i / 3 % 20 : -1);
	after = status();
	for (unsigned int i = 0; i < BULKHEAD_MAX_GUESTS; i++)
		if (after.guests[i].handle)
			fail("guest %u is still there", after.guests[i].handle);
	if (after.guest_pages != before.guest_pages)
		fail("guests have %llu pages", (unsigned long long)after.guest_pages);
	if (after.table_pages + after.spare_pages > before.table_pages + before.spare_pages + 4)
		fail("%llu tables more than before",
		     (unsigned long long)(after.table_pages + after.spare_pages - before.table_pages - before.spare_pages));
	printf("%ld KiB fewer are available\n", (long)(kib - free_kib()));
	/* Less than a page a monitor. */
	if (free_kib() + 3072 < kib)
		fail("%lu KiB are available, %lu before", free_kib(), kib);
	return 0;
}

static int unload_case(void)
{
	struct guest guest = make(talker, sizeof(talker), true);

	if (syscall(SYS_delete_module, "bulkhead", O_NONBLOCK) == 0)
		fail("the module went away under a guest");
	if (errno != EWOULDBLOCK)
		fail("unloading: %s", strerror(errno));
	converse(&guest);
	close(guest.vcpu);
	close(guest.vm);
	close(guest.kvm);
	munmap(guest.run, 8192);
	if (syscall(SYS_delete_module, "bulkhead", O_NONBLOCK))
		fail("unloading without a guest: %s", strerror(errno));
	return 0;
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		int (*run)(void);
	} cases[] = { { "run", run_case }, { "killed", killed_case }, { "lent", lent_case }, { "unload", unload_case } };

	setvbuf(stdout, NULL, _IOLBF, 0);
	for (size_t i = 0; argc == 2 && i < sizeof(cases) / sizeof(cases[0]); i++)
		if (strcmp(argv[1], cases[i].name) == 0)
			return cases[i].run();
	fprintf(stderr, "usage: kvm run|killed|lent|unload\n");
	return 2;
}
