/* SPDX-License-Identifier: MIT */
/*
 * The handlers behind the hypercall table, one a call; docs/hypercalls.md describes them.
 * Arguments arrive as the caller's registers held them. value starts as 0.
 */
#ifndef BULKHEAD_CORE_HYPERCALLS_H
#define BULKHEAD_CORE_HYPERCALLS_H

#include "ownership.h"

/** A handle argument's guest, with the core's lock taken. */
struct target {
	struct core_locked held;
	struct guest *guest; /* NULL: none, or the service domain where a call allows it */
	enum bulkhead_error error;
};

/** Takes the core's lock and finds the guest; error is NO_GUEST if no guest has the handle. */
struct target target_guest(uint64_t handle);

/** Gives the lock back and returns the target's error. */
enum bulkhead_error target_end(struct target target);

enum bulkhead_error hypercalls_version(const uint64_t *arguments, uint64_t *value);
enum bulkhead_error hypercalls_status(const uint64_t *arguments, uint64_t *value);
enum bulkhead_error hypercalls_stats(const uint64_t *arguments, uint64_t *value);
enum bulkhead_error hypercalls_log_read(const uint64_t *arguments, uint64_t *value);
enum bulkhead_error hypercalls_guest_create(const uint64_t *arguments, uint64_t *value);
enum bulkhead_error hypercalls_guest_pay(const uint64_t *arguments, uint64_t *value);
enum bulkhead_error hypercalls_guest_refund(const uint64_t *arguments, uint64_t *value);
enum bulkhead_error hypercalls_guest_range(const uint64_t *arguments, uint64_t *value);
enum bulkhead_error hypercalls_guest_donate(const uint64_t *arguments, uint64_t *value);
enum bulkhead_error hypercalls_guest_load(const uint64_t *arguments, uint64_t *value);
enum bulkhead_error hypercalls_guest_share(const uint64_t *arguments, uint64_t *value);
enum bulkhead_error hypercalls_guest_unshare(const uint64_t *arguments, uint64_t *value);
enum bulkhead_error hypercalls_guest_seal(const uint64_t *arguments, uint64_t *value);
enum bulkhead_error hypercalls_guest_measure(const uint64_t *arguments, uint64_t *value);
enum bulkhead_error hypercalls_guest_reclaim(const uint64_t *arguments, uint64_t *value);
enum bulkhead_error hypercalls_guest_destroy(const uint64_t *arguments, uint64_t *value);
enum bulkhead_error hypercalls_vcpu_create(const uint64_t *arguments, uint64_t *value);
enum bulkhead_error hypercalls_vcpu_set(const uint64_t *arguments, uint64_t *value);
enum bulkhead_error hypercalls_vcpu_get(const uint64_t *arguments, uint64_t *value);
enum bulkhead_error hypercalls_vcpu_run(const uint64_t *arguments, uint64_t *value);
enum bulkhead_error hypercalls_platform_create(const uint64_t *arguments, uint64_t *value);
enum bulkhead_error hypercalls_platform_blob(const uint64_t *arguments, uint64_t *value);
enum bulkhead_error hypercalls_platform_device(const uint64_t *arguments, uint64_t *value);
enum bulkhead_error hypercalls_platform_config(const uint64_t *arguments, uint64_t *value);
enum bulkhead_error hypercalls_platform_relay(const uint64_t *arguments, uint64_t *value);
enum bulkhead_error hypercalls_platform_line(const uint64_t *arguments, uint64_t *value);
enum bulkhead_error hypercalls_platform_backend(const uint64_t *arguments, uint64_t *value);
enum bulkhead_error hypercalls_platform_release(const uint64_t *arguments, uint64_t *value);
enum bulkhead_error hypercalls_platform_lose(const uint64_t *arguments, uint64_t *value);

#endif
