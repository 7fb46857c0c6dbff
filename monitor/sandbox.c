/* SPDX-License-Identifier: MIT */
/*
 * Deny by default: the lists below are all a running machine needs. Whatever else a broken monitor tries kills it.
 */
#include "sandbox.h"

#include <errno.h>
#include <grp.h>
#include <linux/capability.h>
#include <linux/kvm.h>
#include <pwd.h>
#include <sched.h>
#include <seccomp.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static const int allowed[] = {
	/* the guest, its backends, its console */
	SCMP_SYS(read), SCMP_SYS(write), SCMP_SYS(poll), SCMP_SYS(ppoll), SCMP_SYS(sendmsg), SCMP_SYS(sendto),
	SCMP_SYS(recvfrom), SCMP_SYS(recvmsg), SCMP_SYS(accept4), SCMP_SYS(close), SCMP_SYS(shutdown),
	/* threads and memory */
	SCMP_SYS(futex), SCMP_SYS(set_robust_list), SCMP_SYS(rseq), SCMP_SYS(munmap), SCMP_SYS(madvise), SCMP_SYS(brk),
	SCMP_SYS(exit), SCMP_SYS(exit_group), SCMP_SYS(sched_yield), SCMP_SYS(gettid), SCMP_SYS(getpid),
	SCMP_SYS(rt_sigaction), SCMP_SYS(rt_sigprocmask), SCMP_SYS(rt_sigreturn),
	/* time, and what the C library asks along the way */
	SCMP_SYS(clock_gettime), SCMP_SYS(gettimeofday), SCMP_SYS(restart_syscall), SCMP_SYS(fstat),
	SCMP_SYS(newfstatat), SCMP_SYS(getrandom), SCMP_SYS(sched_getaffinity),
};

/* What a running machine asks of the KVM device. */
static const unsigned long requests[] = {
	KVM_RUN, KVM_IRQ_LINE, KVM_MEMORY_ENCRYPT_OP, KVM_IRQFD, KVM_IOEVENTFD, KVM_SET_GSI_ROUTING, KVM_SIGNAL_MSI,
};

/** Everything of the machine that has a name goes: what is needed is open. */
static int leave_namespaces(void)
{
	int spaces = CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWCGROUP;

	/* Without root, a user namespace of its own gives the right to leave the others. */
	if (unshare(spaces | (geteuid() ? CLONE_NEWUSER : 0)))
		return -errno;
	/* An empty file system becomes the root; the old one is let go of beneath it. */
	if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
	    mount("none", "/proc", "tmpfs", MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC, "size=4k,mode=555") ||
	    chdir("/proc"))
		return -errno;
	if (syscall(SYS_pivot_root, ".", ".") == 0)
		return umount2(".", MNT_DETACH) || chdir("/") ? -errno : 0;
	/* The kernel's first file system, an initrd's, cannot be let go of: it is covered, and there is no way back under. */
	if (errno != EINVAL || mount(".", "/", NULL, MS_MOVE, NULL) || chroot(".") || chdir("/"))
		return -errno;
	return 0;
}

static int become(const struct passwd *entry)
{
	if (setgroups(0, NULL) || setresgid(entry->pw_gid, entry->pw_gid, entry->pw_gid) ||
	    setresuid(entry->pw_uid, entry->pw_uid, entry->pw_uid))
		return -errno;
	return 0;
}

static int drop_capabilities(void)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	const struct __user_cap_data_struct none[2] = { { 0 } };

	return syscall(SYS_capset, &header, none) ? -errno : 0;
}

/** Adds the rules that look at arguments. */
static int add_narrow_rules(scmp_filter_ctx filter)
{
	int status = 0;

	for (unsigned int i = 0; !status && i < sizeof(requests) / sizeof(requests[0]); i++)
		status = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(ioctl), 1,
					  SCMP_A1(SCMP_CMP_EQ, requests[i], 0));
	/* Memory that is written is never run. */
	if (!status)
		status = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(mmap), 1,
					  SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
	if (!status)
		status = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(mprotect), 1,
					  SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
	/* Threads, no processes; signals to its own threads only. The C library takes clone where there is no clone3. */
	if (!status)
		status = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(clone), 1,
					  SCMP_A0(SCMP_CMP_MASKED_EQ, CLONE_THREAD, CLONE_THREAD));
	if (!status)
		status = seccomp_rule_add(filter, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0);
	if (!status)
		status = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(tgkill), 1,
					  SCMP_A0(SCMP_CMP_EQ, (scmp_datum_t)getpid(), 0));
	return status;
}

static int filter_calls(void)
{
	scmp_filter_ctx filter = seccomp_init(SCMP_ACT_KILL_PROCESS);
	int status = filter ? 0 : -ENOMEM;

	for (unsigned int i = 0; !status && i < sizeof(allowed) / sizeof(allowed[0]); i++)
		status = seccomp_rule_add(filter, SCMP_ACT_ALLOW, allowed[i], 0);
	if (!status)
		status = add_narrow_rules(filter);
	if (!status)
		status = seccomp_load(filter);
	seccomp_release(filter);
	return status;
}

int sandbox_enter(const char *user, const char **what)
{
	const struct passwd *entry = NULL;
	int status;

	/* The C library reads the time zone at the first conversion of a time; there are no files afterwards. */
	tzset();
	*what = "finding its user";
	if (user) {
		errno = 0;
		entry = getpwnam(user);
		if (!entry)
			return errno ? -errno : -ENOENT;
	}
	*what = "leaving the machine's namespaces; without root the kernel has to allow user namespaces";
	status = leave_namespaces();
	if (status)
		return status;
	*what = "becoming its user; that takes root";
	status = entry ? become(entry) : 0;
	if (status)
		return status;
	*what = "giving up rights";
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_DUMPABLE, 0))
		return -errno;
	status = drop_capabilities();
	if (status)
		return status;
	/* No guest without its supervisor; a change of user has taken that back. */
	if (prctl(PR_SET_PDEATHSIG, SIGKILL))
		return -errno;
	*what = "filtering system calls";
	return filter_calls();
}
