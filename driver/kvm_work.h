/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * Work that Linux leaves to a thread on its way back to its program. Apart from kvm.h: the names of Linux's own KVM are used
 * in kvm_work.c alone.
 */
#ifndef BULKHEAD_DRIVER_KVM_WORK_H
#define BULKHEAD_DRIVER_KVM_WORK_H

#include <linux/types.h>

/** Whether this thread has any. */
bool kvm_work_is_left(void);

/** Does it. May sleep. Returns 0, or -EINTR: a signal is for the thread. */
int kvm_work_do(void);

#endif
