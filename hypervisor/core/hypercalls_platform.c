/* SPDX-License-Identifier: MIT */
/*
 * Calls about guests' platforms. Those that touch a running one take their locks themselves (guest_platform.h).
 */
#include "guest_platform.h"
#include "hypercalls.h"

enum bulkhead_error hypercalls_platform_create(struct request *request)
{
	return guest_platform_create(request->held, request->guest, phys_at(request->arguments[1]));
}

enum bulkhead_error hypercalls_platform_blob(struct request *request)
{
	return guest_platform_set_blob(request->held, request->guest, guest_phys_at(request->arguments[1]),
				       request->arguments[2]);
}

enum bulkhead_error hypercalls_platform_device(struct request *request)
{
	return guest_platform_add_device(request->held, request->guest, request->arguments[1],
					 phys_at(request->arguments[2]));
}

enum bulkhead_error hypercalls_platform_relay(struct request *request)
{
	return guest_platform_add_relay(request->held, request->guest, request->arguments[1],
					phys_at(request->arguments[2]));
}

enum bulkhead_error hypercalls_platform_config(struct request *request)
{
	return guest_platform_configure(request->arguments[0], request->arguments[1], phys_at(request->arguments[2]),
					request->arguments[3], &request->value);
}

enum bulkhead_error hypercalls_platform_line(struct request *request)
{
	return guest_platform_line(request->arguments[0], request->arguments[1], request->arguments[2],
				   &request->value);
}

enum bulkhead_error hypercalls_platform_backend(struct request *request)
{
	return guest_platform_backend(request->arguments[0], request->arguments[1], &request->value);
}

enum bulkhead_error hypercalls_platform_release(struct request *request)
{
	return guest_platform_release(request->arguments[0], request->arguments[1], &request->value);
}

enum bulkhead_error hypercalls_platform_lose(struct request *request)
{
	return guest_platform_lose(request->arguments[0], request->arguments[1], &request->value);
}
