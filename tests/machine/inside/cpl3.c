/* SPDX-License-Identifier: MIT */
/*
 * cpl3: executes one privileged or hypervisor instruction at CPL 3 in a child and prints the signal it
 * died of ("SIGILL", "SIGSEGV") or "survived".
 */
#include <stdio.h>
#include <stdint.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static void do_vmmcall(void)
{
	uint64_t rax = 0;

	asm volatile("vmmcall" : "+a"(rax) : : "memory");
}

static void do_vmcall(void)
{
	uint64_t rax = 0;

	asm volatile("vmcall" : "+a"(rax) : : "memory");
}

static void do_vmrun(void)
{
	asm volatile("vmrun" : : "a"(0x1000ull) : "memory");
}

static void do_clgi(void)
{
	asm volatile("clgi" : : : "memory");
}

static void do_hlt(void)
{
	asm volatile("hlt" : : : "memory");
}

static const struct {
	const char *name;
	void (*execute)(void);
} instructions[] = {
	{ "vmmcall", do_vmmcall }, { "vmcall", do_vmcall }, { "vmrun", do_vmrun },
	{ "clgi", do_clgi },	   { "hlt", do_hlt },
};

int main(int argc, char **argv)
{
	int status;
	pid_t child;

	for (size_t i = 0; argc == 2 && i < sizeof(instructions) / sizeof(*instructions); i++) {
		if (strcmp(argv[1], instructions[i].name) != 0)
			continue;
		child = fork();
		if (child == 0) {
			instructions[i].execute();
			_exit(0);
		}
		if (child < 0 || waitpid(child, &status, 0) != child) {
			perror("cpl3");
			return 1;
		}
		if (WIFSIGNALED(status))
			printf("SIG%s\n", sigabbrev_np(WTERMSIG(status)));
		else
			printf("survived\n");
		return 0;
	}
	fprintf(stderr, "usage: cpl3 vmmcall|vmcall|vmrun|clgi|hlt\n");
	return 2;
}
