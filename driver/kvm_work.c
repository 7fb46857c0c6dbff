// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * What Linux wants done before a thread returns to its program, done without returning. A thread that was switched away from
 * always has some (its restartable sequence): to return to the monitor for it costs more than the rest of an exit. Linux has
 * the function for its own KVM, whose structures it names; of them it touches only what it tells of a signal.
 */
#include "kvm_work.h"

#include <linux/entry-kvm.h>
#include <linux/kvm_host.h>

static struct kvm_run told;
static struct kvm_vcpu nobody = { .run = &told };

bool kvm_work_is_left(void)
{
	return test_thread_flag(TIF_NOTIFY_RESUME);
}

int kvm_work_do(void)
{
	return xfer_to_guest_mode_handle_work(&nobody);
}
