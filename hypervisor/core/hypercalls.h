/* SPDX-License-Identifier: MIT */
/*
 * The handlers behind the hypercall table, one a call; docs/hypercalls.md describes them.
 */
#ifndef BULKHEAD_CORE_HYPERCALLS_H
#define BULKHEAD_CORE_HYPERCALLS_H

#include "ownership.h"

/** What a handler works on. */
struct request {
	struct core_locked held; /* unset if the call takes its locks itself */
	struct guest *guest;	 /* that the first argument names; NULL: the service domain, or the call is for no guest */
	const uint64_t *arguments; /* HYPERCALL_ARGUMENTS, as the caller's registers held them */
	uint64_t value;		   /* of the call; starts as 0 */
};

enum bulkhead_error hypercalls_version(struct request *request);
enum bulkhead_error hypercalls_status(struct request *request);
enum bulkhead_error hypercalls_stats(struct request *request);
enum bulkhead_error hypercalls_log_read(struct request *request);
enum bulkhead_error hypercalls_guest_create(struct request *request);
enum bulkhead_error hypercalls_guest_pay(struct request *request);
enum bulkhead_error hypercalls_guest_refund(struct request *request);
enum bulkhead_error hypercalls_guest_range(struct request *request);
enum bulkhead_error hypercalls_guest_donate(struct request *request);
enum bulkhead_error hypercalls_guest_load(struct request *request);
enum bulkhead_error hypercalls_guest_share(struct request *request);
enum bulkhead_error hypercalls_guest_unshare(struct request *request);
enum bulkhead_error hypercalls_guest_seal(struct request *request);
enum bulkhead_error hypercalls_guest_measure(struct request *request);
enum bulkhead_error hypercalls_guest_reclaim(struct request *request);
enum bulkhead_error hypercalls_guest_destroy(struct request *request);
enum bulkhead_error hypercalls_vcpu_create(struct request *request);
enum bulkhead_error hypercalls_vcpu_set(struct request *request);
enum bulkhead_error hypercalls_vcpu_get(struct request *request);
enum bulkhead_error hypercalls_vcpu_run(struct request *request);
enum bulkhead_error hypercalls_platform_create(struct request *request);
enum bulkhead_error hypercalls_platform_blob(struct request *request);
enum bulkhead_error hypercalls_platform_device(struct request *request);
enum bulkhead_error hypercalls_platform_config(struct request *request);
enum bulkhead_error hypercalls_platform_relay(struct request *request);
enum bulkhead_error hypercalls_platform_line(struct request *request);
enum bulkhead_error hypercalls_platform_backend(struct request *request);
enum bulkhead_error hypercalls_platform_release(struct request *request);
enum bulkhead_error hypercalls_platform_lose(struct request *request);

#endif
