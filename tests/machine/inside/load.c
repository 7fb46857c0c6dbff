/* SPDX-License-Identifier: MIT */
/*
 * load: a fixed amount of the work that operating systems do, part by part, timed by this system's own
 * clock. Prints one line a part: "NAME NANOSECONDS". With instruction counting the numbers repeat.
 *
 * Waiting is left out: how long a disk or a timer takes is not work, and under an emulator depends on the
 * emulator's host. Each part returns the nanoseconds it waited. Meant for one processor.
 *
 * usage: load DISK      (a block device that may be overwritten)
 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define SYSTEM_CALLS	 200000
#define FAULT_PAGES	 8192
#define FORKS		 300
#define SWITCHES	 20000
#define DISK_BLOCKS	 1500
#define BLOCK_BYTES	 4096
#define TIMERS		 400
#define TIMER_NS	 250000

static void die(const char *what)
{
	fprintf(stderr, "load: %s: %s\n", what, strerror(errno));
	exit(1);
}

static uint64_t now_ns(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return (uint64_t)time.tv_sec * 1000000000ull + (uint64_t)time.tv_nsec;
}

/** How long this system's processors have been idle since it started, as its scheduler counts. */
static uint64_t idle_ns(void)
{
	unsigned long long nanoseconds;
	uint64_t total = 0;
	char line[160];
	FILE *file = fopen("/proc/timer_list", "r");

	if (!file)
		die("/proc/timer_list");
	while (fgets(line, sizeof(line), file))
		if (sscanf(line, " .idle_sleeptime : %llu nsecs", &nanoseconds) == 1)
			total += nanoseconds;
	fclose(file);
	return total;
}

static uint64_t do_system_calls(const char *disk)
{
	for (int i = 0; i < SYSTEM_CALLS; i++)
		syscall(SYS_getppid);
	return 0;
}

static uint64_t do_page_faults(const char *disk)
{
	for (int round = 0; round < 2; round++) {
		char *memory = mmap(NULL, FAULT_PAGES * 4096ul, PROT_READ | PROT_WRITE,
				    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

		if (memory == MAP_FAILED)
			die("mmap");
		madvise(memory, FAULT_PAGES * 4096ul, MADV_NOHUGEPAGE);
		for (size_t page = 0; page < FAULT_PAGES; page++)
			memory[page * 4096] = 1;
		munmap(memory, FAULT_PAGES * 4096ul);
	}
	return 0;
}

static uint64_t do_forks(const char *disk)
{
	for (int i = 0; i < FORKS; i++) {
		pid_t child = fork();
		int status;

		if (child == 0)
			_exit(0);
		if (child < 0 || waitpid(child, &status, 0) != child)
			die("fork");
	}
	return 0;
}

static uint64_t do_switches(const char *disk)
{
	int there[2], back[2];
	pid_t child;
	char byte = 0;

	if (pipe(there) || pipe(back))
		die("pipe");
	child = fork();
	if (child < 0)
		die("fork");
	for (int i = 0; i < SWITCHES; i++) {
		int in = child ? back[0] : there[0], out = child ? there[1] : back[1];

		if (child ? write(out, &byte, 1) != 1 || read(in, &byte, 1) != 1
			  : read(in, &byte, 1) != 1 || write(out, &byte, 1) != 1)
			die("pipe");
	}
	if (!child)
		_exit(0);
	waitpid(child, NULL, 0);
	for (int i = 0; i < 2; i++) {
		close(there[i]);
		close(back[i]);
	}
	return 0;
}

/**
 * A process that runs whenever nothing else would: with it the processor never sleeps, so that under
 * instruction counting a wait for the disk cannot jump to the next timer. Returns its id.
 */
static pid_t start_idler(void)
{
	const struct sched_param none = { 0 };
	pid_t child = fork();

	if (child < 0)
		die("fork");
	if (child == 0) {
		if (sched_setscheduler(0, SCHED_IDLE, &none))
			_exit(1);
		for (;;)
			asm volatile("" : : : "memory");
	}
	return child;
}

/** Ends the idler and returns the time it ran: what everybody else waited. */
static uint64_t stop_idler(pid_t idler)
{
	struct rusage usage;
	int status;

	kill(idler, SIGKILL);
	if (wait4(idler, &status, 0, &usage) != idler || !WIFSIGNALED(status))
		die("idler");
	return ((uint64_t)usage.ru_utime.tv_sec + (uint64_t)usage.ru_stime.tv_sec) * 1000000000ull +
	       ((uint64_t)usage.ru_utime.tv_usec + (uint64_t)usage.ru_stime.tv_usec) * 1000ull;
}

static uint64_t do_disk(const char *disk)
{
	int file = open(disk, O_RDWR | O_DIRECT);
	pid_t idler = start_idler();
	void *block = NULL;

	if (file < 0 || posix_memalign(&block, BLOCK_BYTES, BLOCK_BYTES))
		die(disk);
	memset(block, 0x5a, BLOCK_BYTES);
	for (int i = 0; i < DISK_BLOCKS; i++)
		if (pwrite(file, block, BLOCK_BYTES, (off_t)i * BLOCK_BYTES) != BLOCK_BYTES ||
		    pread(file, block, BLOCK_BYTES, (off_t)(DISK_BLOCKS - 1 - i) * BLOCK_BYTES) != BLOCK_BYTES)
			die(disk);
	free(block);
	close(file);
	return stop_idler(idler);
}

static uint64_t do_timers(const char *disk)
{
	const struct timespec pause = { .tv_nsec = TIMER_NS };
	uint64_t idle = idle_ns();

	for (int i = 0; i < TIMERS; i++)
		nanosleep(&pause, NULL);
	return idle_ns() - idle;
}

static const struct part {
	const char *name;
	uint64_t (*work)(const char *disk);
} parts[] = {
	{ "system_calls", do_system_calls }, { "page_faults", do_page_faults }, { "forks", do_forks },
	{ "context_switches", do_switches }, { "disk", do_disk },		{ "timers", do_timers },
};

int main(int argc, char **argv)
{
	uint64_t start, waited, all = 0;

	if (argc != 2) {
		fprintf(stderr, "usage: load DISK\n");
		return 2;
	}
	for (size_t i = 0; i < sizeof(parts) / sizeof(*parts); i++) {
		start = now_ns();
		waited = parts[i].work(argv[1]);
		start = now_ns() - start - waited;
		all += start;
		printf("%s %llu\n", parts[i].name, (unsigned long long)start);
	}
	printf("all %llu\n", (unsigned long long)all);
	return 0;
}
