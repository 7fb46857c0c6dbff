/*
 * policy.h: what a guest may do, as signed data, and how layers of it merge.
 *
 * Layers: default < groups (by rank, then name) < user < device. For an ordinary field the
 * uppermost layer that names it wins; a security field takes the strictest value that any layer
 * names, so no exception can loosen it. The table in policy_fields.c says which field is which, and
 * is the only place that knows. The PC merges; the server and the command show the same merge as
 * "effective view" because they run this code.
 */
#ifndef TRUST_POLICY_H
#define TRUST_POLICY_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define POLICY_TEXT_MAX	  16385
#define POLICY_SOURCE_MAX 80
#define POLICY_LAYERS_MAX 4096

enum policy_field {
	POLICY_PERSISTENCE,    /* choice: keep, discard (the system disk's changes at shutdown) */
	POLICY_PREVIOUS_HOURS, /* how long the previous version stays for going back */
	POLICY_ROLLBACK,       /* may the user go back to it */
	POLICY_UPDATE_MODE,    /* choice: when-idle, at-start, now */
	POLICY_BANDWIDTH_KIB,  /* KiB/s for transfers, 0 = no limit */
	POLICY_AUTOSTART,      /* start the guest when the PC starts, or when it has arrived */
	POLICY_BACKUP_MINUTES, /* between backups, 0 = none */
	POLICY_BACKUP_WINDOW,  /* text: "HH:MM-HH:MM" local time, empty = always */
	POLICY_TRANSFER_WINDOW, /* text: as backup_window, of versions that can wait */
	POLICY_QUOTA_GIB,      /* disk space for the company's guests, 0 = no limit */
	POLICY_WIPE_ON_THEFT,  /* release a wipe that officers signed in advance when the PC is
				  reported lost */
	POLICY_HOST_NAME, /* text: pattern of the guest's host name; %d = device's name, %u = user
			   */
	POLICY_CLOUD_CONFIG, /* text: cloud-init user-data for the configuration disk */
	POLICY_LEASE_DAYS,   /* security from here on */
	POLICY_LEASE_POWERED_HOURS,
	POLICY_LEASE_STARTS,
	POLICY_NETWORK,	  /* choice by strictness: open, company, none */
	POLICY_USB,	  /* set of device classes */
	POLICY_CLIPBOARD, /* set: in, out */
	POLICY_FILES,	  /* set: in, out */
	POLICY_SCREEN_CAPTURE,
	POLICY_OWN_IMAGES, /* may the user start published images that nobody assigned */
	POLICY_FIELD_COUNT
};

/** What a choice of POLICY_NETWORK means, in the order of its words. */
enum policy_network {
	POLICY_NETWORK_OPEN,
	POLICY_NETWORK_COMPANY,
	POLICY_NETWORK_NONE,
	POLICY_NETWORKS
};

enum policy_kind { POLICY_BOOLEAN, POLICY_NUMBER, POLICY_CHOICE, POLICY_SET, POLICY_TEXT };

/** How two layers of one field merge. */
enum policy_merge_rule {
	POLICY_UPPERMOST, /* ordinary field */
	POLICY_LEAST,	  /* security: the smaller number, or false */
	POLICY_MOST,	  /* security: the choice further down its list */
	POLICY_COMMON,	  /* security: only what every layer that names it allows */
};

struct policy_field_rule {
	const char *name;
	enum policy_kind kind;
	enum policy_merge_rule merge;
	int64_t least, most;	  /* numbers */
	const char *const *words; /* choices and sets; ends with NULL */
	int64_t initial;	  /* if no layer names it */
	const char *help;
	const char *enforced_by; /* NULL: signed and merged, but nothing on a PC obeys it yet */
};

extern const struct policy_field_rule policy_field_rules[POLICY_FIELD_COUNT];

/** Who enforces a field: "agent", or "not enforced by this version". */
const char *policy_enforcer(enum policy_field field);

/** A policy document that was read. Free with policy_free(). */
struct policy;

struct policy_subject {
	const char *device;	   /* its id */
	const char *user;	   /* NULL if nobody is assigned */
	const char *const *groups; /* in any order */
	size_t group_count;
};

/** The merge for one subject; points into the policy it came from. */
struct policy_effective {
	struct policy_value {
		int64_t number;	  /* boolean, number, index of the choice, or bits of the set */
		const char *text; /* text fields; never NULL for them */
		char source[POLICY_SOURCE_MAX]; /* the deciding layer: "built-in", "default", "group
						   sales", ... */
	} values[POLICY_FIELD_COUNT];
};

/** Reads a payload: known fields and values only. Returns 0, -EBADMSG, -EMSGSIZE or -ENOMEM. */
int policy_read(const void *payload, size_t payload_bytes, struct policy **policy);

/**
 * Like policy_read(), and says what is wrong with a document that a person wrote.
 *
 * @problem: receives one line, for instance 'group "sales": lease_days must be 1 to 3650'.
 */
int policy_check(const void *payload, size_t payload_bytes, struct policy **policy, char *problem,
		 size_t problem_bytes);

void policy_free(struct policy *policy);

uint64_t policy_version(const struct policy *policy);
int64_t policy_expires(const struct policy *policy);

/** Merges the layers that concern @subject. @policy NULL gives the built-in values. */
void policy_merge(const struct policy *policy, const struct policy_subject *subject,
		  struct policy_effective *effective);

/** {"FIELD": {"value": ..., "from": "...", "enforced_by": "..."}, ...}; a new reference, or NULL if memory ran out. */
json_t *policy_view(const struct policy_effective *effective);

/** Index of a field by name, or POLICY_FIELD_COUNT. */
enum policy_field policy_field_from_name(const char *name);

/** True if @set allows @word of the set field @field. */
bool policy_allows(const struct policy_effective *effective, enum policy_field field,
		   const char *word);

#endif
