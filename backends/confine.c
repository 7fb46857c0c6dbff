/*
 * Rights of a backend; see confine.h. Deny by default: any other system call ends the process.
 */
#include "confine.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <seccomp.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

static const int allowed[] = {
	/* front-ends, rings, and what is served */
	SCMP_SYS(read), SCMP_SYS(write), SCMP_SYS(poll), SCMP_SYS(ppoll), SCMP_SYS(recvmsg), SCMP_SYS(recvfrom),
	SCMP_SYS(sendmsg), SCMP_SYS(sendto), SCMP_SYS(accept4), SCMP_SYS(accept), SCMP_SYS(shutdown), SCMP_SYS(close),
	SCMP_SYS(eventfd2), SCMP_SYS(pipe2), SCMP_SYS(epoll_wait), SCMP_SYS(epoll_pwait), SCMP_SYS(getrandom),
	SCMP_SYS(memfd_create), SCMP_SYS(ftruncate), SCMP_SYS(fcntl), SCMP_SYS(fstat), SCMP_SYS(newfstatat),
	SCMP_SYS(lseek),
	/* threads and memory */
	SCMP_SYS(futex), SCMP_SYS(clone), SCMP_SYS(clone3), SCMP_SYS(set_robust_list), SCMP_SYS(rseq), SCMP_SYS(mmap),
	SCMP_SYS(munmap), SCMP_SYS(mremap), SCMP_SYS(mprotect), SCMP_SYS(madvise), SCMP_SYS(brk), SCMP_SYS(exit),
	SCMP_SYS(exit_group), SCMP_SYS(sched_yield), SCMP_SYS(gettid), SCMP_SYS(getpid), SCMP_SYS(tgkill),
	SCMP_SYS(rt_sigaction), SCMP_SYS(rt_sigprocmask), SCMP_SYS(rt_sigreturn), SCMP_SYS(restart_syscall),
	SCMP_SYS(clock_gettime), SCMP_SYS(sched_getaffinity),
};

static const int file_calls[] = {
	SCMP_SYS(openat), SCMP_SYS(pread64), SCMP_SYS(pwrite64), SCMP_SYS(fsync), SCMP_SYS(fdatasync),
	SCMP_SYS(fallocate), SCMP_SYS(renameat), SCMP_SYS(unlinkat), SCMP_SYS(unlink), SCMP_SYS(mkdirat),
	SCMP_SYS(getdents64), SCMP_SYS(dup), SCMP_SYS(connect), SCMP_SYS(setsockopt), SCMP_SYS(nanosleep),
	SCMP_SYS(clock_nanosleep), SCMP_SYS(sysinfo), /* sorting asks how much memory there is */
};

/*
 * A ring carries out what the filter refuses, so there is none: neither a new one nor one from before. The store uses
 * rings where it gets them; a program that is to be confined tells it before that it gets none.
 */
static const int ring_calls[] = { SCMP_SYS(io_uring_setup), SCMP_SYS(io_uring_enter), SCMP_SYS(io_uring_register) };

static const char *program;

/** A front-end that cuts its memory file short makes every access to it a SIGBUS: this device ends, no other. */
static void on_bus_error(int signal)
{
	static const char text[] = ": the guest's memory was taken away under a request; this device ends\n";

	(void)signal;
	if (write(2, program, strlen(program)) < 0 || write(2, text, sizeof(text) - 1) < 0)
		_exit(1);
	_exit(1);
}

int confine_signals(const char *name)
{
	sigset_t set;

	program = name;
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	if (sigprocmask(SIG_BLOCK, &set, NULL))
		return -1;
	signal(SIGPIPE, SIG_IGN);
	signal(SIGBUS, on_bus_error);
	return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

static int become(const char *user)
{
	const struct passwd *entry;

	errno = 0;
	entry = getpwnam(user);
	if (!entry)
		return errno ? -errno : -ENOENT;
	if (setgroups(0, NULL) || setresgid(entry->pw_gid, entry->pw_gid, entry->pw_gid) ||
	    setresuid(entry->pw_uid, entry->pw_uid, entry->pw_uid))
		return -errno;
	return 0;
}

static int allow_files(scmp_filter_ctx filter)
{
	int error = 0;

	for (unsigned int i = 0; !error && i < sizeof(file_calls) / sizeof(file_calls[0]); i++)
		error = seccomp_rule_add(filter, SCMP_ACT_ALLOW, file_calls[i], 0);
	if (!error) /* no network */
		error = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(socket), 1,
					 SCMP_A0(SCMP_CMP_EQ, AF_UNIX, 0));
	for (unsigned int i = 0; !error && i < sizeof(ring_calls) / sizeof(ring_calls[0]); i++)
		error = seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), ring_calls[i], 0);
	return error;
}

static int filter_calls(enum confine_needs needs)
{
	scmp_filter_ctx filter = seccomp_init(SCMP_ACT_KILL_PROCESS);
	int error = filter ? seccomp_attr_set(filter, SCMP_FLTATR_CTL_TSYNC, 1) : -ENOMEM;

	for (unsigned int i = 0; !error && i < sizeof(allowed) / sizeof(allowed[0]); i++)
		error = seccomp_rule_add(filter, SCMP_ACT_ALLOW, allowed[i], 0);
	if (!error && needs == CONFINE_FILES)
		error = allow_files(filter);
	if (!error)
		error = seccomp_load(filter);
	seccomp_release(filter);
	return error;
}

int confine_enter(const char *user, enum confine_needs needs, const char **what)
{
	int error = 0;

	*what = "becoming its user";
	if (user)
		error = become(user);
	if (error)
		return error;
	*what = "giving up rights";
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_DUMPABLE, 0))
		return -errno;
	*what = "filtering system calls";
	return filter_calls(needs);
}
