/* SPDX-License-Identifier: MIT */
/*
 * Deny by default: the list below is all a running machine needs. Whatever else a broken monitor tries kills it.
 */
#include "sandbox.h"

#include <errno.h>
#include <seccomp.h>
#include <sys/prctl.h>
#include <time.h>

static const int allowed[] = {
	/* the guest, its backends, its console */
	SCMP_SYS(ioctl), SCMP_SYS(read), SCMP_SYS(write), SCMP_SYS(poll), SCMP_SYS(ppoll), SCMP_SYS(sendmsg),
	SCMP_SYS(sendto), SCMP_SYS(recvfrom), SCMP_SYS(recvmsg), SCMP_SYS(accept4), SCMP_SYS(close),
	/* threads and memory */
	SCMP_SYS(futex), SCMP_SYS(clone), SCMP_SYS(clone3), SCMP_SYS(set_robust_list), SCMP_SYS(rseq),
	SCMP_SYS(mmap), SCMP_SYS(munmap), SCMP_SYS(mprotect), SCMP_SYS(madvise), SCMP_SYS(brk), SCMP_SYS(exit),
	SCMP_SYS(exit_group), SCMP_SYS(sched_yield), SCMP_SYS(gettid), SCMP_SYS(getpid), SCMP_SYS(tgkill),
	SCMP_SYS(rt_sigaction), SCMP_SYS(rt_sigprocmask), SCMP_SYS(rt_sigreturn),
	/* time, and what the C library asks along the way */
	SCMP_SYS(clock_gettime), SCMP_SYS(gettimeofday), SCMP_SYS(restart_syscall), SCMP_SYS(fstat),
	SCMP_SYS(newfstatat), SCMP_SYS(getrandom), SCMP_SYS(sched_getaffinity),
};

int sandbox_enter(void)
{
	scmp_filter_ctx filter;
	int status = 0;

	/* The C library reads the time zone at the first conversion of a time; there are no files afterwards. */
	tzset();
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
		return -errno;
	filter = seccomp_init(SCMP_ACT_KILL_PROCESS);
	if (!filter)
		return -ENOMEM;
	for (unsigned int i = 0; !status && i < sizeof(allowed) / sizeof(allowed[0]); i++)
		status = seccomp_rule_add(filter, SCMP_ACT_ALLOW, allowed[i], 0);
	if (!status)
		status = seccomp_load(filter);
	seccomp_release(filter);
	return status;
}
