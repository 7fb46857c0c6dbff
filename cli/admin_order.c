/*
 * admin_order.c: `bulkhead device wipe` and `release-key`: orders that two officers sign. Both keys
 * at one desk, or one after the other: the first writes the order to a file, the second adds a
 * signature and sends it.
 */
#include "admin_order.h"
#include "officer.h"
#include "settings.h"
#include "trust/order.h"
#include "trust/strict_json.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define DAY	  86400
#define LIFE_DAYS 30
#define HELD_DAYS 365

static int new_order(struct remote *remote, const struct cli_context *context, const char *kind,
		     bool is_held, struct order *order)
{
	const char *recipient;
	json_t *device;
	int64_t sequence;
	size_t bytes;
	int status = admin_device(remote, cli_argument(context, 0), order->device, &device);

	if (status)
		return status;
	if (strict_json_integer(device, "sequence", 0, INT64_MAX - 1, &sequence))
		sequence = 0;
	json_decref(device);
	order->sequence = (uint64_t)sequence + 1;
	order->issued = (int64_t)time(NULL);
	order->expires = order->issued + (is_held ? HELD_DAYS : LIFE_DAYS) * DAY;
	snprintf(order->reason, sizeof(order->reason), "%s",
		 cli_value(context, "reason") ? cli_value(context, "reason") : "");
	if (!strcmp(kind, "wipe")) {
		order->kind = ORDER_WIPE;
		snprintf(order->guest, sizeof(order->guest), "%s",
			 cli_argument(context, 1) ? cli_argument(context, 1) : "*");
		return CLI_OK;
	}
	order->kind = ORDER_RELEASE_KEY;
	recipient = cli_value(context, "recipient");
	snprintf(order->disk, sizeof(order->disk), "%s", cli_argument(context, 1));
	if (sodium_base642bin(order->recipient, 32, recipient, strlen(recipient), NULL, &bytes,
			      NULL, sodium_base64_VARIANT_ORIGINAL) ||
	    bytes != 32)
		return cli_usage(
		    context,
		    "--recipient must be an X25519 public key: 32 bytes in base64");
	return CLI_OK;
}

/* Reads an order file that another officer signed, and checks that it says what this one is asked
 * to sign. */
static int read_order(const struct cli_context *context, const char *file,
		      struct dsse_envelope *envelope, struct order *order)
{
	size_t text_bytes;
	char *text;
	int status = settings_read(file, 65536, &text, &text_bytes);

	if (status)
		return cli_fail(context, "%s: %s", file, strerror(-status));
	status = dsse_parse(text, text_bytes, envelope);
	free(text);
	if (!status)
		status = order_read(envelope->payload, envelope->payload_bytes, order);
	return status ? cli_fail(context, "%s: not an order", file) : CLI_OK;
}

static int deliver(struct remote *remote, const struct order *order,
		   const struct dsse_envelope *envelope, bool hold)
{
	char path[256], *text = NULL;
	json_t *body = NULL, *parsed = NULL;
	int status = dsse_write(envelope, &text) ? remote_fail(remote, "out of memory") : CLI_OK;

	if (!status)
		strict_json_parse(text, strlen(text), STRICT_JSON_BYTES_MAX, &parsed);
	body =
	    json_pack("{s:s, s:o, s:b}", "kind", order->kind == ORDER_WIPE ? "wipe" : "release-key",
		      "order", parsed, "hold", hold);
	snprintf(path, sizeof(path), "/api/v1/devices/%s/commands", order->device);
	if (!status)
		status = body ? remote_call(remote, "POST", path, body, NULL)
			      : remote_fail(remote, "out of memory");
	json_decref(body);
	free(text);
	return status;
}

static int run(const struct cli_context *context, const char *kind)
{
	const char *from = cli_value(context, "sign"), *to = cli_value(context, "out");
	bool hold = !strcmp(kind, "wipe") && cli_switch(context, "hold");
	struct dsse_envelope envelope = {.payload = NULL};
	struct order order = {.kind = ORDER_WIPE};
	struct remote *remote = NULL;
	char *payload = NULL, *text = NULL, device[65];
	int status = remote_open(context, &remote);

	if (!status)
		status = from ? read_order(context, from, &envelope, &order)
			      : new_order(remote, context, kind, hold, &order);
	if (!status && from) {
		status = admin_device(remote, cli_argument(context, 0), device, NULL);
		if (!status && (strcmp(device, order.device) ||
				strcmp(kind, order.kind == ORDER_WIPE ? "wipe" : "release-key")))
			status = cli_fail(context,
					  "%s: it is for device %s and another thing than you say",
					  from, order.device);
	}
	if (!status && !from && order_write(&order, &payload))
		status = cli_fail(context, "out of memory");
	if (!status && !from && dsse_new(&envelope, DSSE_TYPE_ORDER, payload, strlen(payload)))
		status = cli_fail(context, "out of memory");
	if (!status)
		status = officer_sign_more(context, "key", &envelope);
	if (!status && to) {
		if (dsse_write(&envelope, &text) || settings_write(to, text))
			status = cli_fail(context, "%s: cannot be written", to);
		else
			printf("%s: signed by %zu; the next officer: bulkhead device %s %s --sign "
			       "%s --key FILE\n",
			       to, envelope.signature_count, kind, cli_argument(context, 0), to);
	} else if (!status) {
		status = deliver(remote, &order, &envelope, hold);
		if (!status)
			printf("%s: %s %s\n", cli_argument(context, 0), kind,
			       hold ? "is held until the device is reported lost"
				    : "goes out at its next contact");
	}
	free(text);
	free(payload);
	dsse_release(&envelope);
	remote_close(remote);
	return status;
}

int admin_order_wipe(const struct cli_context *context)
{
	return run(context, "wipe");
}

int admin_order_release(const struct cli_context *context)
{
	if (!cli_value(context, "sign") &&
	    (!cli_argument(context, 1) || !cli_value(context, "recipient")))
		return cli_usage(context, "name the disk and --recipient KEY, or --sign FILE");
	return run(context, "release-key");
}

const struct cli_option admin_order_wipe_options[] = {
    {"key", "FILE", "an officer's key file; repeat for both", 'k', true},
    {"reason", "TEXT", "why", 0, false},
    {"hold", NULL, "keep the order until the device is reported lost (policy wipe_on_theft)", 0,
     false},
    {"out", "FILE", "write the order for another officer instead of sending it", 'o', false},
    {"sign", "FILE", "sign the order in FILE that another officer began", 0, false},
    OFFICER_PASSPHRASE,
    {0},
};
const struct cli_option admin_order_release_options[] = {
    {"key", "FILE", "an officer's key file; repeat for both", 'k', true},
    {"recipient", "KEY", "X25519 public key (base64) to seal the disk's key to", 0, false},
    {"reason", "TEXT", "why", 0, false},
    {"out", "FILE", "write the order for another officer instead of sending it", 'o', false},
    {"sign", "FILE", "sign the order in FILE that another officer began", 0, false},
    OFFICER_PASSPHRASE,
    {0},
};
const struct cli_command admin_order_commands[] = {
    {"device wipe", "DEVICE [GUEST]", "destroy a guest's keys on a device, or all of the company's",
     "Needs the signatures of two officers. The device checks them itself; the server only carries "
     "the order.",
     "bulkhead device wipe pc-17 --key officer-1.key --key officer-2.key", admin_order_wipe_options,
     1, 2, admin_order_wipe},
    {"device release-key", "DEVICE DISK", "have a device seal a disk's key to somebody",
     "Needs the signatures of two officers.", NULL, admin_order_release_options, 1, 2,
     admin_order_release},
    {0},
};
