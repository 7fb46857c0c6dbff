/* order.c: see order.h. */
#include "trust/order.h"
#include "trust/document.h"
#include "trust/strict_json.h"

#include <errno.h>
#include <string.h>

static const char *const kind_names[] = {
    [ORDER_WIPE] = "wipe", [ORDER_RELEASE_KEY] = "release-key"};

static int read_target(const json_t *root, struct order *order)
{
	char kind[16];

	if (strict_json_string(root, "order", kind, sizeof(kind)))
		return -EBADMSG;
	if (!strcmp(kind, kind_names[ORDER_WIPE])) {
		order->kind = ORDER_WIPE;
		if (json_object_get(root, "disk") || json_object_get(root, "recipient") ||
		    strict_json_string(root, "guest", order->guest, sizeof(order->guest)) ||
		    (strcmp(order->guest, "*") && !strict_json_is_name(order->guest)))
			return -EBADMSG;
	} else if (!strcmp(kind, kind_names[ORDER_RELEASE_KEY])) {
		order->kind = ORDER_RELEASE_KEY;
		if (json_object_get(root, "guest") ||
		    strict_json_string(root, "disk", order->disk, sizeof(order->disk)) ||
		    !strict_json_is_name(order->disk) ||
		    strict_json_bytes(root, "recipient", order->recipient,
				      sizeof(order->recipient)))
			return -EBADMSG;
	} else {
		return -EBADMSG;
	}
	return 0;
}

int order_read(const void *payload, size_t payload_bytes, struct order *order)
{
	static const char *const fields[] = {"type",   "order",	    "device", "sequence",
					     "issued", "expires",   "guest",  "disk",
					     "reason", "recipient", NULL};
	int64_t sequence;
	json_t *root;
	int status;

	memset(order, 0, sizeof(*order));
	status = document_open(payload, payload_bytes, "order", fields, &root);
	if (status)
		return status;
	if (read_target(root, order) ||
	    strict_json_string(root, "device", order->device, sizeof(order->device)) ||
	    !strict_json_is_name(order->device) ||
	    strict_json_integer(root, "sequence", 1, INT64_MAX, &sequence) ||
	    strict_json_integer(root, "issued", 0, INT64_MAX, &order->issued) ||
	    strict_json_integer(root, "expires", 0, INT64_MAX, &order->expires) ||
	    strict_json_string(root, "reason", order->reason, sizeof(order->reason)))
		status = -EBADMSG;
	else
		order->sequence = (uint64_t)sequence;
	json_decref(root);
	return status;
}

int order_write(const struct order *order, char **text)
{
	json_t *root = json_pack("{s:s, s:s, s:s, s:I, s:I, s:I, s:s}", "type", "order", "order",
				 kind_names[order->kind], "device", order->device, "sequence",
				 (json_int_t)order->sequence, "issued", (json_int_t)order->issued,
				 "expires", (json_int_t)order->expires, "reason", order->reason);
	int status = -ENOMEM;

	if (!root)
		return status;
	if (order->kind == ORDER_WIPE) {
		if (json_object_set_new(root, "guest", json_string(order->guest)))
			goto out;
	} else if (json_object_set_new(root, "disk", json_string(order->disk)) ||
		   json_object_set_new(root, "recipient",
				       strict_json_new_bytes(order->recipient, 32))) {
		goto out;
	}
	*text = strict_json_write(root);
	status = *text ? 0 : -ENOMEM;
out:
	json_decref(root);
	return status;
}

int order_accept(const struct roles *roles, const struct dsse_envelope *envelope,
		 const char *device, uint64_t obeyed, int64_t now, struct order *order)
{
	int status = roles_verify(roles, ROLE_DESTRUCTION, DSSE_TYPE_ORDER, envelope);

	if (!status)
		status = order_read(envelope->payload, envelope->payload_bytes, order);
	if (status)
		return status;
	if (!document_is_for(order->device, device))
		return -EXDEV;
	if (!document_advances(obeyed + 1, order->sequence))
		return -ESTALE;
	return document_is_fresh(order->expires, now) ? 0 : -EKEYEXPIRED;
}
