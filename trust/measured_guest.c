/* measured_guest.c: see measured_guest.h. */
#include "trust/measured_guest.h"

#include <errno.h>
#include <string.h>

static_assert(BULKHEAD_MEASUREMENT_BYTES == DESCRIPTOR_MEASUREMENT_BYTES, "one kind of measurement");

int measured_guest_check(const struct roles *roles, const char *descriptor_text, size_t text_bytes,
			 const struct bulkhead_measurement *measurement)
{
	const struct roles_role *images = &roles->roles[ROLE_IMAGES];
	struct descriptor descriptor;
	int result = -EKEYREJECTED;

	for (uint8_t i = 0; i < images->key_count && result == -EKEYREJECTED; i++)
		result = descriptor_verify(descriptor_text, text_bytes, &images->keys[i], &descriptor);
	if (result != 0)
		return result;
	if (!measurement->is_sealed)
		return -EAGAIN;
	return memcmp(measurement->digest, descriptor.measurement, sizeof(descriptor.measurement)) == 0 ? 0 : -EXDEV;
}

const char *measured_guest_reason(int result)
{
	switch (result) {
	case 0:
		return "this is the guest that was described";
	case -EBADMSG:
		return "what came as its descriptor is none; bulkhead image describe makes one";
	case -EKEYREJECTED:
		return "its descriptor is not signed by the company's keys for images";
	case -EAGAIN:
		return "the guest is not sealed yet, and could still become another one";
	case -EXDEV:
		return "this is not the guest that its descriptor names: it measures otherwise, so no key comes out for it; describe it "
		       "anew with this PC's release of Bulkhead (bulkhead image describe), or go back to the version before";
	default:
		return "the guest cannot be held against its descriptor";
	}
}
