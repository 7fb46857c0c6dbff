/* SPDX-License-Identifier: MIT */
/*
 * ioctls COUNT SEED: a monitor that makes calls of /dev/kvm at random: in any order, on any of its files, with arguments
 * that are half sense and half noise, from two threads at once. Each child makes 200 and dies; what it made must be gone
 * afterwards. The driver is not trusted, but a monitor must not be able to bring Linux down through it either.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include <bulkhead/device.h>
#include <bulkhead/kvm.h>

#define CALLS_A_CHILD 200
#define FILES	      16
#define MEMORY_BYTES  (4u << 20)
#define OPERATIONS    12

static const unsigned long requests[] = {
	KVM_GET_API_VERSION, KVM_CREATE_VM, KVM_CHECK_EXTENSION, KVM_GET_VCPU_MMAP_SIZE, KVM_GET_SUPPORTED_CPUID,
	KVM_CREATE_IRQCHIP, KVM_SET_TSS_ADDR, KVM_SET_USER_MEMORY_REGION, KVM_CREATE_VCPU, KVM_IRQ_LINE, KVM_IRQFD,
	KVM_IOEVENTFD, KVM_SIGNAL_MSI, KVM_MEMORY_ENCRYPT_OP, KVM_MEMORY_ENCRYPT_OP, KVM_MEMORY_ENCRYPT_OP,
	KVM_MEMORY_ENCRYPT_OP, KVM_RUN, KVM_GET_REGS, KVM_SET_REGS, KVM_GET_SREGS, KVM_SET_SREGS, KVM_SET_CPUID2,
};

static int files[FILES];
static unsigned int file_count;
static uint8_t *memory;
static __thread uint64_t state;

static uint64_t number(void)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return state;
}

static uint64_t below(uint64_t end)
{
	return number() % end;
}

/* Numbers that calls understand, seldom others. */
static uint64_t plausible(void)
{
	switch (below(8)) {
	case 0:
		return number();
	case 1:
		return (uintptr_t)memory + below(MEMORY_BYTES);
	case 2:
	case 3:
		return 4096 * below(2048);
	default:
		return below(12);
	}
}

/* A page of words; for operations, one that leads to another. */
static void *argument(void)
{
	uint64_t *words = (uint64_t *)(memory + 4096 * below(8));

	for (unsigned int i = 0; i < 32; i++)
		words[i] = below(3) ? plausible() : plausible() << 32 | plausible();
	if (below(4)) {
		words[0] = 1 + below(OPERATIONS);
		words[1] = (uintptr_t)words + 256;
		words[32] = below(2) ? below(4) : 4096 * below(1024);
		words[33] = (uintptr_t)memory;
		words[34] = 4096 * below(16);
	}
	switch (below(8)) {
	case 0:
		return NULL;
	case 1:
		return (void *)(uintptr_t)plausible();
	default:
		return words;
	}
}

static void add_file(int file)
{
	unsigned int at = __atomic_fetch_add(&file_count, 1, __ATOMIC_SEQ_CST);

	if (file >= 0)
		files[at % FILES] = file;
}

static void *make_calls(void *seed)
{
	state = (uintptr_t)seed | 1;
	for (unsigned int i = 0; i < CALLS_A_CHILD; i++) {
		unsigned long request = requests[below(sizeof(requests) / sizeof(requests[0]))];
		int result = ioctl(files[below(FILES)], below(32) ? request : _IO(KVMIO, below(256)), argument());

		if (result > 2 && (request == KVM_CREATE_VM || request == KVM_CREATE_VCPU))
			add_file(result);
	}
	return NULL;
}

static void on_alarm(int signal)
{
	(void)signal;
}

/* If memory runs out, this process is the one to go. */
static void offer_to_die(void)
{
	int file = open("/proc/self/oom_score_adj", O_WRONLY);

	if (file < 0 || write(file, "1000", 4) != 4)
		perror("oom_score_adj");
	close(file);
}

/* Runs end by signal: what the guest executes is noise, and may well be a loop. */
static void be_monitor(uintptr_t seed)
{
	const struct itimerval often = { { 0, 20000 }, { 0, 20000 } };
	const struct sigaction interrupt = { .sa_handler = on_alarm };
	pthread_t other;

	offer_to_die();
	sigaction(SIGALRM, &interrupt, NULL);
	setitimer(ITIMER_REAL, &often, NULL);
	memory = mmap(NULL, MEMORY_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	for (unsigned int i = 0; i < FILES; i++)
		files[i] = i % 4 == 3 ? eventfd(0, 0) : open("/dev/kvm", O_RDWR);
	for (unsigned int i = 0; i < 4; i++)
		files[4 * i] = ioctl(files[4 * i], KVM_CREATE_VM, 0);
	pthread_create(&other, NULL, make_calls, (void *)(seed * 2));
	make_calls((void *)(seed * 2 + 1));
	kill(getpid(), SIGKILL);
}

int main(int argc, char **argv)
{
	unsigned long children = argc == 3 ? strtoul(argv[1], NULL, 10) / (2 * CALLS_A_CHILD) : 0;
	struct bulkhead_status status;
	int device = open(BULKHEAD_DEVICE, O_RDONLY);

	if (!children || device < 0) {
		fprintf(stderr, "usage: ioctls COUNT SEED, under Bulkhead\n");
		return 2;
	}
	for (unsigned long i = 0; i < children; i++) {
		pid_t child = fork();

		if (child == 0)
			be_monitor(strtoul(argv[2], NULL, 10) * 1000003 + i);
		waitpid(child, NULL, 0);
	}
	if (ioctl(device, BULKHEAD_DEVICE_STATUS, &status)) {
		perror(BULKHEAD_DEVICE);
		return 1;
	}
	for (unsigned int i = 0; i < BULKHEAD_MAX_GUESTS; i++)
		if (status.guests[i].handle) {
			printf("guest %u is still there\n", status.guests[i].handle);
			return 1;
		}
	printf("%lu monitors made %lu calls and left nothing\n", children, children * 2 * CALLS_A_CHILD);
	return 0;
}
