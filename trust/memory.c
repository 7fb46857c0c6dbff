/* memory.c: see memory.h. */
#include "trust/memory.h"
#include "trust/document.h"
#include "trust/strict_json.h"

#include <errno.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

int64_t memory_now(const struct memory *memory, int64_t clock)
{
	return clock > memory->time ? clock : memory->time;
}

static void see_time(struct memory *memory, int64_t signed_time)
{
	memory->time = memory_now(memory, signed_time);
}

int memory_start(struct memory *memory, const char *device, const struct dsse_envelope *roles,
		 const uint8_t pin[32])
{
	struct memory made = {.time = 0};
	uint8_t found[32];
	int status;

	if (strlen(device) >= sizeof(made.device))
		return -EMSGSIZE;
	roles_pin(roles, found);
	if (!document_is_pinned(found, pin))
		return -EKEYREJECTED;
	status = roles_first(roles, &made.roles);
	if (status)
		return status;
	memcpy(made.device, device, strlen(device));
	*memory = made;
	return 0;
}

int memory_accept_roles(struct memory *memory, const struct dsse_envelope *envelope)
{
	return roles_follow(&memory->roles, envelope, &memory->roles);
}

int memory_accept_state(struct memory *memory, const struct dsse_envelope *envelope,
			struct state *state)
{
	int status = roles_verify(&memory->roles, ROLE_SERVER, DSSE_TYPE_STATE, envelope);

	if (!status)
		status = state_read(envelope->payload, envelope->payload_bytes, state);
	if (status)
		return status;
	if (!document_is_for(state->device, memory->device))
		return -EXDEV;
	if (!document_advances(memory->state, state->serial))
		return -ESTALE;
	memory->state = state->serial;
	see_time(memory, state->issued);
	return 0;
}

static struct memory_image *find_image(const struct memory *memory, const char *image)
{
	for (size_t i = 0; i < memory->image_count; i++)
		if (!strcmp(memory->images[i].image, image))
			return (struct memory_image *)&memory->images[i];
	return NULL;
}

int memory_accept_catalogue(struct memory *memory, const char *image,
			    const struct dsse_envelope *envelope, struct catalogue *catalogue)
{
	struct memory_image *known = find_image(memory, image);
	int status = roles_verify(&memory->roles, ROLE_IMAGES, DSSE_TYPE_CATALOGUE, envelope);

	if (!status)
		status = catalogue_read(envelope->payload, envelope->payload_bytes, catalogue);
	if (status)
		return status;
	if (!document_is_for(catalogue->image, image))
		return -EXDEV;
	if (known && !document_advances(known->catalogue, catalogue->version))
		return -ESTALE;
	if (!known) {
		if (memory->image_count == MEMORY_IMAGES_MAX)
			return -ENOSPC;
		known = &memory->images[memory->image_count++];
		memset(known, 0, sizeof(*known));
		memcpy(known->image, catalogue->image, sizeof(known->image));
	}
	known->catalogue = catalogue->version;
	if (catalogue->floor > known->floor)
		known->floor = catalogue->floor;
	return 0;
}

int memory_accept_policy(struct memory *memory, const struct dsse_envelope *envelope,
			 struct policy **policy)
{
	struct policy *read;
	int status = roles_verify(&memory->roles, ROLE_POLICY, DSSE_TYPE_POLICY, envelope);

	if (!status)
		status = policy_read(envelope->payload, envelope->payload_bytes, &read);
	if (status)
		return status;
	if (!document_advances(memory->policy, policy_version(read))) {
		policy_free(read);
		return -ESTALE;
	}
	memory->policy = policy_version(read);
	*policy = read;
	return 0;
}

int memory_accept_lease(struct memory *memory, const struct dsse_envelope *envelope,
			const struct lease_counters *counters, struct lease_account *account)
{
	struct lease lease;
	int status = roles_verify(&memory->roles, ROLE_SERVER, DSSE_TYPE_LEASE, envelope);

	if (!status)
		status = lease_read(envelope->payload, envelope->payload_bytes, &lease);
	if (status)
		return status;
	if (!document_is_for(lease.device, memory->device))
		return -EXDEV;
	/* The same lease again would start its account anew: only a newer one is taken. */
	if (!document_advances(memory->lease + 1, lease.serial))
		return -ESTALE;
	memory->lease = lease.serial;
	see_time(memory, lease.issued);
	account->lease = lease;
	account->accepted = *counters;
	return 0;
}

int memory_accept_order(struct memory *memory, const struct dsse_envelope *envelope, int64_t clock,
			struct order *order)
{
	int status = order_accept(&memory->roles, envelope, memory->device, memory->order,
				  memory_now(memory, clock), order);

	if (!status)
		memory->order = order->sequence;
	return status;
}

int memory_accept_head(struct memory *memory, const char *text)
{
	struct audit_head head;
	int status = audit_head_verify(text, &memory->roles, &head);

	if (status)
		return status;
	if (!document_advances(memory->head.sequence, head.sequence) ||
	    (head.sequence == memory->head.sequence && audit_compare(&memory->head, &head)))
		return -ESTALE;
	memory->head = head;
	return 0;
}

int memory_may_install(const struct memory *memory, const struct state *state,
		       const struct catalogue *catalogue, uint64_t release, int64_t clock)
{
	int64_t now = memory_now(memory, clock);

	if (!document_is_fresh(memory->roles.expires, now) ||
	    !document_is_fresh(state->expires, now) || !document_is_fresh(catalogue->expires, now))
		return -EKEYEXPIRED;
	if (!catalogue_find(catalogue, release))
		return -ENOENT;
	return memory_may_start(memory, catalogue->image, release);
}

int memory_may_start(const struct memory *memory, const char *image, uint64_t release)
{
	const struct memory_image *known = find_image(memory, image);

	return known && !document_advances(known->floor, release) ? -EPERM : 0;
}

const char *memory_reason(int status)
{
	switch (-status) {
	case EKEYREJECTED:
		return "it is not signed by enough of the keys that may sign it";
	case EPROTOTYPE:
		return "it is a document of another kind";
	case EXDEV:
		return "it is made out to somebody else";
	case ESTALE:
		return "it is older than what was accepted before";
	case EKEYEXPIRED:
		return "it has expired";
	case EPERM:
		return "it lies below the security floor";
	case ENOENT:
		return "there is no such release";
	case EMSGSIZE:
		return "it is too long or too deeply nested";
	case EBADMSG:
		return "it is not well formed";
	case ENOSPC:
		return "there are too many of them";
	default:
		return strerror(-status);
	}
}

/* The roles are kept as their payload text: one reader, one set of rules. */
int memory_write(const struct memory *memory, char **text)
{
	char head[AUDIT_HEAD_TEXT_MAX], *roles_text;
	json_t *images = json_array(), *root;
	int status = roles_write(&memory->roles, &roles_text);

	if (status) {
		json_decref(images);
		return status;
	}
	audit_head_write(&memory->head, head);
	root = json_pack("{s:s, s:s, s:s, s:I, s:I, s:I, s:I, s:I, s:s, s:o}", "type", "memory",
			 "device", memory->device, "roles", roles_text, "time",
			 (json_int_t)memory->time, "state", (json_int_t)memory->state, "policy",
			 (json_int_t)memory->policy, "lease", (json_int_t)memory->lease, "order",
			 (json_int_t)memory->order, "head", head, "images", images);
	free(roles_text);
	if (!root)
		return -ENOMEM;
	status = -ENOMEM;
	for (size_t i = 0; i < memory->image_count; i++) {
		const struct memory_image *image = &memory->images[i];

		if (json_array_append_new(images,
					  json_pack("{s:s, s:I, s:I}", "image", image->image,
						    "catalogue", (json_int_t)image->catalogue,
						    "floor", (json_int_t)image->floor)))
			goto out;
	}
	*text = strict_json_write(root);
	status = *text ? 0 : -ENOMEM;
out:
	json_decref(root);
	return status;
}

static int read_images(const json_t *list, struct memory *memory)
{
	static const char *const fields[] = {"image", "catalogue", "floor", NULL};
	int64_t catalogue, floor;
	json_t *entry;
	size_t index;

	if (!json_is_array(list) || json_array_size(list) > MEMORY_IMAGES_MAX)
		return -EBADMSG;
	json_array_foreach(list, index, entry)
	{
		struct memory_image *image = &memory->images[index];

		if (!strict_json_only_keys(entry, fields) ||
		    strict_json_string(entry, "image", image->image, sizeof(image->image)) ||
		    strict_json_integer(entry, "catalogue", 0, INT64_MAX, &catalogue) ||
		    strict_json_integer(entry, "floor", 0, INT64_MAX, &floor))
			return -EBADMSG;
		image->catalogue = (uint64_t)catalogue;
		image->floor = (uint64_t)floor;
	}
	memory->image_count = json_array_size(list);
	return 0;
}

int memory_read(const char *text, size_t text_bytes, struct memory *memory)
{
	static const char *const fields[] = {"type",  "device", "roles", "time",
					     "state", "policy", "lease", "order",
					     "head",  "images", NULL};
	const char *roles_text, *head_text;
	int64_t state, policy, lease, order;
	json_t *root;
	int status;

	memset(memory, 0, sizeof(*memory));
	status = document_open(text, text_bytes, "memory", fields, &root);
	if (status)
		return status;
	roles_text = json_string_value(json_object_get(root, "roles"));
	head_text = json_string_value(json_object_get(root, "head"));
	status = -EBADMSG;
	if (!roles_text || roles_read(roles_text, strlen(roles_text), &memory->roles) ||
	    !head_text || audit_head_read(head_text, &memory->head) ||
	    strict_json_string(root, "device", memory->device, sizeof(memory->device)) ||
	    strict_json_integer(root, "time", 0, INT64_MAX, &memory->time) ||
	    strict_json_integer(root, "state", 0, INT64_MAX, &state) ||
	    strict_json_integer(root, "policy", 0, INT64_MAX, &policy) ||
	    strict_json_integer(root, "lease", 0, INT64_MAX, &lease) ||
	    strict_json_integer(root, "order", 0, INT64_MAX, &order) ||
	    read_images(json_object_get(root, "images"), memory))
		goto out;
	memory->state = (uint64_t)state;
	memory->policy = (uint64_t)policy;
	memory->lease = (uint64_t)lease;
	memory->order = (uint64_t)order;
	status = 0;
out:
	json_decref(root);
	return status;
}
