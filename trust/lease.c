/* lease.c: see lease.h. */
#include "trust/lease.h"
#include "trust/document.h"
#include "trust/strict_json.h"

#include <errno.h>
#include <string.h>

int lease_read(const void *payload, size_t payload_bytes, struct lease *lease)
{
	static const char *const fields[] = {"type",	  "device",	     "serial", "issued",
					     "not_after", "powered_seconds", "starts", NULL};
	int64_t serial, powered_seconds, starts;
	json_t *root;
	int status;

	memset(lease, 0, sizeof(*lease));
	status = document_open(payload, payload_bytes, "lease", fields, &root);
	if (status)
		return status;
	if (strict_json_string(root, "device", lease->device, sizeof(lease->device)) ||
	    strict_json_integer(root, "serial", 1, INT64_MAX, &serial) ||
	    strict_json_integer(root, "issued", 0, INT64_MAX, &lease->issued) ||
	    strict_json_integer(root, "not_after", lease->issued, INT64_MAX, &lease->not_after) ||
	    strict_json_integer(root, "powered_seconds", 0, INT64_MAX / 2, &powered_seconds) ||
	    strict_json_integer(root, "starts", 0, INT64_MAX / 2, &starts)) {
		status = -EBADMSG;
	} else {
		lease->serial = (uint64_t)serial;
		lease->powered_seconds = (uint64_t)powered_seconds;
		lease->starts = (uint64_t)starts;
	}
	json_decref(root);
	return status;
}

int lease_write(const struct lease *lease, char **text)
{
	json_t *root = json_pack(
	    "{s:s, s:s, s:I, s:I, s:I, s:I, s:I}", "type", "lease", "device", lease->device,
	    "serial", (json_int_t)lease->serial, "issued", (json_int_t)lease->issued, "not_after",
	    (json_int_t)lease->not_after, "powered_seconds", (json_int_t)lease->powered_seconds,
	    "starts", (json_int_t)lease->starts);

	*text = root ? strict_json_write(root) : NULL;
	json_decref(root);
	return *text ? 0 : -ENOMEM;
}

static int nearly_used(uint64_t used, uint64_t allowed)
{
	return used >= allowed - allowed / 5;
}

enum lease_verdict lease_judge(const struct lease_account *account,
			       const struct lease_counters *now, int64_t time)
{
	const struct lease *lease = &account->lease;
	uint64_t powered, starts, life;

	if (now->powered_seconds < account->accepted.powered_seconds ||
	    now->starts < account->accepted.starts)
		return LEASE_COUNTERS_LOWER;
	powered = now->powered_seconds - account->accepted.powered_seconds;
	starts = now->starts - account->accepted.starts;
	if (time >= lease->not_after)
		return LEASE_DATE_PASSED;
	if (powered >= lease->powered_seconds)
		return LEASE_POWERED_USED_UP;
	if (starts >= lease->starts)
		return LEASE_STARTS_USED_UP;
	life = (uint64_t)(lease->not_after - lease->issued);
	if ((time > lease->issued && nearly_used((uint64_t)(time - lease->issued), life)) ||
	    nearly_used(powered, lease->powered_seconds) || nearly_used(starts, lease->starts))
		return LEASE_WARN;
	return LEASE_GOOD;
}

const char *lease_text(enum lease_verdict verdict)
{
	static const char *const texts[] = {
	    [LEASE_GOOD] = "the lease is good",
	    [LEASE_WARN] = "the lease runs out soon; connect this PC to the company's network",
	    [LEASE_DATE_PASSED] = "the lease's date has passed; connect this PC to unlock it",
	    [LEASE_POWERED_USED_UP] =
		"the lease's running time is used up; connect this PC to unlock it",
	    [LEASE_STARTS_USED_UP] = "the lease's starts are used up; connect this PC to unlock it",
	    [LEASE_COUNTERS_LOWER] =
		"this PC's counters went back (a restored copy?); connect it to unlock it",
	};

	return texts[verdict];
}
