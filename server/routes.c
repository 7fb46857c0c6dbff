/*
 * routes.c: the table of all calls; see route.h. openapi.json describes the same calls, and a test
 * compares the two field by field.
 */
#include "server/handlers.h"

#define KIB	     1024
#define MIB	     (1024 * KIB)
#define SMALL	     (16 * KIB)
#define ENVELOPE_MAX (6 * MIB)
#define PACK_MAX     (256 * MIB)
#define MANIFEST_MAX (1024 * MIB)
#define BIG	     9000000000000000LL

/* Columns of a field: name, kind, most, required, words. */
#define NAME(name)                                                                                 \
	{                                                                                          \
		name, FIELD_NAME, 0, true, NULL                                                    \
	}
#define NAME_MAYBE(name)                                                                           \
	{                                                                                          \
		name, FIELD_NAME, 0, false, NULL                                                   \
	}
#define TEXT(name, most)                                                                           \
	{                                                                                          \
		name, FIELD_TEXT, most, true, NULL                                                 \
	}
#define TEXT_MAYBE(name, most)                                                                     \
	{                                                                                          \
		name, FIELD_TEXT, most, false, NULL                                                \
	}
#define WORD(name, words)                                                                          \
	{                                                                                          \
		name, FIELD_TEXT, 64, true, words                                                  \
	}
#define WORD_MAYBE(name, words)                                                                    \
	{                                                                                          \
		name, FIELD_TEXT, 64, false, words                                                 \
	}
#define COUNT(name, most)                                                                          \
	{                                                                                          \
		name, FIELD_INTEGER, most, true, NULL                                              \
	}
#define COUNT_MAYBE(name, most)                                                                    \
	{                                                                                          \
		name, FIELD_INTEGER, most, false, NULL                                             \
	}
#define FLAG(name)                                                                                 \
	{                                                                                          \
		name, FIELD_BOOLEAN, 0, true, NULL                                                 \
	}
#define FLAG_MAYBE(name)                                                                           \
	{                                                                                          \
		name, FIELD_BOOLEAN, 0, false, NULL                                                \
	}
#define OBJECT(name)                                                                               \
	{                                                                                          \
		name, FIELD_OBJECT, 0, true, NULL                                                  \
	}
#define OBJECT_MAYBE(name)                                                                         \
	{                                                                                          \
		name, FIELD_OBJECT, 0, false, NULL                                                 \
	}
#define FIELDS(...)                                                                                \
	(const struct field[])                                                                     \
	{                                                                                          \
		__VA_ARGS__,                                                                       \
		{                                                                                  \
			0                                                                          \
		}                                                                                  \
	}

static const char *const enforcement_words[] = {"tpm", "advisory", NULL};
static const char *const result_words[] = {"received", "done", "failed", "refused", NULL};
static const char *const label_words[] = {"frozen", "crash-consistent", NULL};
static const char *const ring_words[] = {"deployed", "staged", "test", NULL};
static const char *const stage_words[] = {"draft", "test", "staged", "deployed", "withdrawn", NULL};
static const char *const command_words[] = {"lock",	   "unlock", "lost",   "revoke", "wipe",
					    "release-key", "revert", "remove", "update", NULL};
static const char *const account_words[] = {"owner",	"author",  "operator",
					    "helpdesk", "auditor", NULL};

/* How a body is taken: kind, most bytes, fields. */
#define NOTHING		     BODY_NONE, 0, NULL
#define JSON_BODY(...)	     BODY_JSON, SMALL, FIELDS(__VA_ARGS__)
#define JSON_LONG(most, ...) BODY_JSON, most, FIELDS(__VA_ARGS__)
#define ENVELOPE	     BODY_ENVELOPE, ENVELOPE_MAX, NULL
#define UPLOAD(most)	     BODY_UPLOAD, most, NULL
#define TEXT_BODY(most)	     BODY_TEXT, most, NULL

/* Last columns: unrestricted, audited, limited. */
#define PLAIN	     false, false, false
#define AUDITED	     false, true, false
#define UNRESTRICTED true, false, false
#define UNRESTRICTED_AUDITED true, true, false

#define OPEN(method, path, operation, handler, body, last)                                         \
	{                                                                                          \
		method, path, operation, CALLER_OPEN, 0, handler, NULL, body, last                 \
	}
#define DEVICE(method, path, operation, handler, body, last)                                       \
	{                                                                                          \
		method, path, operation, CALLER_DEVICE, 0, handler, NULL, body, last               \
	}
#define PERSON(method, path, operation, permission, handler, body, last)                           \
	{                                                                                          \
		method, path, operation, CALLER_PERSON, permission, handler, NULL, body, last      \
	}

/* clang-format off: one row a call. */
const struct route route_table[] = {
	/* Anybody */
	OPEN("GET", "/healthz", "health", health_live, NOTHING, PLAIN),
	OPEN("GET", "/readyz", "ready", health_ready, NOTHING, PLAIN),
	OPEN("GET", "/api/v1/openapi.json", "openapi", health_openapi, NOTHING, PLAIN),
	OPEN("GET", "/api/v1/server", "server", health_server, NOTHING, PLAIN),
	OPEN("GET", "/api/v1/roles/{version}", "roles_get", documents_roles_get, NOTHING, PLAIN),
	OPEN("GET", "/packs/{pack}", "pack_get", packs_get, NOTHING, PLAIN),
	{"POST", "/api/v1/enrol", "enrol", CALLER_OPEN, 0, enrolment_enrol, NULL,
	 JSON_LONG(64 * KIB, TEXT("token", 64), TEXT("csr", 8192), TEXT("name", 64),
	       TEXT_MAYBE("tpm", 8192), OBJECT_MAYBE("hardware")),
	 false, true, true},
	{"GET", "/api/v1/enrol/{enrolment}", "enrol_result", CALLER_OPEN, 0, enrolment_result, NULL,
	 NOTHING, false, false, true},
	{"POST", "/api/v1/sessions", "session_open", CALLER_OPEN, 0, accounts_login,
	 accounts_login_prepare, JSON_BODY(NAME("name"), TEXT("password", 256)), false, true, true},

	/* Devices */
	DEVICE("GET", "/api/v1/device/state", "device_state", device_state_get, NOTHING, UNRESTRICTED),
	DEVICE("POST", "/api/v1/device/report", "device_report", device_state_report,
	   JSON_LONG(64 * KIB, TEXT("agent", 64), WORD_MAYBE("enforcement", enforcement_words),
		     {"guests", FIELD_OBJECTS, 32, false, NULL}, OBJECT_MAYBE("lease"),
		     COUNT_MAYBE("roles", BIG), COUNT_MAYBE("policy", BIG),
		     COUNT_MAYBE("quota_bytes", BIG), COUNT_MAYBE("used_bytes", BIG),
		     TEXT_MAYBE("detail", 4096)),
	   PLAIN),
	DEVICE("GET", "/api/v1/device/policy", "device_policy", documents_policy_get, NOTHING, PLAIN),
	DEVICE("GET", "/api/v1/device/images/{image}/catalogue", "device_catalogue",
	   images_device_catalogue, NOTHING, PLAIN),
	DEVICE("GET", "/api/v1/device/images/{image}/key", "device_image_key", images_device_key,
	   NOTHING, PLAIN),
	DEVICE("GET", "/api/v1/device/appliances", "device_appliances", appliances_list, NOTHING,
	   PLAIN),
	DEVICE("POST", "/api/v1/device/appliances", "device_appliance_take", appliances_take,
	   JSON_BODY(NAME("image"), FLAG("take")), AUDITED),
	DEVICE("GET", "/api/v1/device/images/{image}/versions/{release}/trace", "device_trace_get",
	   traces_device_get, NOTHING, PLAIN),
	DEVICE("PUT", "/api/v1/device/images/{image}/versions/{release}/trace", "device_trace_put",
	   traces_device_put, TEXT_BODY(MIB), PLAIN),
	DEVICE("GET", "/api/v1/device/manifests/{sha256}", "device_manifest", packs_get, NOTHING,
	   PLAIN),
	DEVICE("POST", "/api/v1/device/lease", "device_lease", device_state_lease,
	   JSON_BODY(COUNT("serial", BIG), COUNT("powered_seconds", BIG), COUNT("starts", BIG)),
	   PLAIN),
	DEVICE("GET", "/api/v1/device/commands", "device_commands", commands_for_device, NOTHING,
	   UNRESTRICTED),
	DEVICE("POST", "/api/v1/device/commands/{sequence}", "device_command_result", commands_result,
	   JSON_LONG(256 * KIB, WORD("state", result_words), TEXT_MAYBE("detail", 4096),
		     TEXT_MAYBE("receipt", 131072)),
	       UNRESTRICTED_AUDITED),
	DEVICE("PUT", "/api/v1/device/keys/{disk}", "device_keys_put", disks_keys_put,
	   JSON_LONG(128 * KIB, {"copies", FIELD_OBJECTS, 8, true, NULL}), AUDITED),
	DEVICE("GET", "/api/v1/device/keys/{disk}", "device_keys_get", disks_keys, NOTHING, PLAIN),
	DEVICE("GET", "/api/v1/device/disks", "device_disks", disks_for_device, NOTHING, PLAIN),
	DEVICE("POST", "/api/v1/device/disks", "device_disk_create", disks_create,
	   JSON_BODY(NAME("disk")), AUDITED),
	DEVICE("POST", "/api/v1/device/disks/{disk}/epoch", "device_epoch", disks_epoch,
	   JSON_BODY(COUNT("epoch", BIG)), AUDITED),
	DEVICE("GET", "/api/v1/device/disks/{disk}/backups", "device_backups", disks_backups, NOTHING,
	   PLAIN),
	DEVICE("POST", "/api/v1/device/disks/{disk}/backups", "device_backup_add", disks_backup_add,
	   JSON_LONG(8 * MIB, COUNT("epoch", BIG), COUNT("parent", BIG), WORD("label", label_words),
		     TEXT("manifest", 1500000), {"packs", FIELD_TEXTS, 65536, true, NULL}),
	   AUDITED),
	DEVICE("GET", "/api/v1/device/disks/{disk}/backups/{number}", "device_backup_get",
	   disks_backup_get, NOTHING, PLAIN),
	DEVICE("PUT", "/api/v1/device/disks/{disk}/packs/{pack}", "device_pack_put", packs_put,
	   UPLOAD(PACK_MAX), PLAIN),
	DEVICE("GET", "/api/v1/device/disks/{disk}/packs/{pack}", "device_pack_get", packs_get, NOTHING,
	   PLAIN),
	DEVICE("POST", "/api/v1/device/certificate", "device_certificate", enrolment_renew,
	   JSON_BODY(TEXT("csr", 8192)), AUDITED),

	/* People: themselves */
	PERSON("DELETE", "/api/v1/sessions/current", "session_close", PERMIT_SELF, accounts_logout,
	   NOTHING, PLAIN),
	PERSON("GET", "/api/v1/me", "me", PERMIT_SELF, accounts_me, NOTHING, PLAIN),
	{"POST", "/api/v1/me/password", "password_change", CALLER_PERSON, PERMIT_SELF,
	 accounts_password, accounts_password_prepare, JSON_BODY(TEXT("old", 256), TEXT("new", 256)),
	 false, true, true},
	PERSON("GET", "/api/v1/me/tokens", "api_tokens", PERMIT_READ, accounts_tokens, NOTHING, PLAIN),
	PERSON("POST", "/api/v1/me/tokens", "api_token_add", PERMIT_READ, accounts_token_add,
	   JSON_BODY(NAME("label"), COUNT_MAYBE("days", 400)), AUDITED),
	PERSON("DELETE", "/api/v1/me/tokens/{id}", "api_token_remove", PERMIT_READ,
	   accounts_token_remove, NOTHING, AUDITED),
	PERSON("GET", "/metrics", "metrics", PERMIT_READ, health_metrics, NOTHING, PLAIN),

	/* Accounts */
	PERSON("GET", "/api/v1/accounts", "account_list", PERMIT_READ, accounts_list, NOTHING, PLAIN),
	{"POST", "/api/v1/accounts", "account_add", CALLER_PERSON, PERMIT_ACCOUNTS, accounts_add,
	 accounts_add_prepare,
	 JSON_BODY(NAME("name"), WORD("role", account_words), TEXT("password", 256)), false, true,
	 false},
	PERSON("PATCH", "/api/v1/accounts/{name}", "account_change", PERMIT_ACCOUNTS, accounts_change,
	   JSON_BODY(WORD_MAYBE("role", account_words), FLAG_MAYBE("active")), AUDITED),
	PERSON("DELETE", "/api/v1/accounts/{name}", "account_remove", PERMIT_ACCOUNTS, accounts_remove,
	   NOTHING, AUDITED),

	/* Enrolment */
	PERSON("GET", "/api/v1/enrolment-tokens", "token_list", PERMIT_READ, enrolment_tokens, NOTHING,
	   PLAIN),
	PERSON("POST", "/api/v1/enrolment-tokens", "token_add", PERMIT_OPERATE, enrolment_token_add,
	   JSON_BODY(NAME_MAYBE("group"), NAME_MAYBE("user"), COUNT_MAYBE("uses", 100000),
		     COUNT_MAYBE("hours", 8760), FLAG_MAYBE("approval")),
	   AUDITED),
	PERSON("DELETE", "/api/v1/enrolment-tokens/{id}", "token_remove", PERMIT_OPERATE,
	   enrolment_token_remove, NOTHING, AUDITED),
	PERSON("GET", "/api/v1/enrolments", "enrolment_list", PERMIT_READ, enrolment_list, NOTHING,
	   PLAIN),
	PERSON("POST", "/api/v1/enrolments/{enrolment}", "enrolment_decide", PERMIT_HELP,
	   enrolment_decide, JSON_BODY(FLAG("approve")), AUDITED),

	/* Devices, as administrators see them */
	PERSON("GET", "/api/v1/devices", "device_list", PERMIT_READ, devices_list, NOTHING, PLAIN),
	PERSON("GET", "/api/v1/devices/{device}", "device_get", PERMIT_READ, devices_get, NOTHING,
	   PLAIN),
	PERSON(
	"PATCH", "/api/v1/devices/{device}", "device_change", PERMIT_OPERATE, devices_change,
	JSON_BODY(TEXT_MAYBE("name", 64), TEXT_MAYBE("user", 64), WORD_MAYBE("ring", ring_words)),
	AUDITED),
	PERSON("GET", "/api/v1/devices/{device}/policy", "device_effective_policy", PERMIT_READ,
	   devices_policy, NOTHING, PLAIN),
	PERSON("GET", "/api/v1/devices/{device}/commands", "command_list", PERMIT_READ, commands_list,
	   NOTHING, PLAIN),
	PERSON("POST", "/api/v1/devices/{device}/commands", "command_add", PERMIT_HELP, commands_add,
	   JSON_LONG(64 * KIB, WORD("kind", command_words), NAME_MAYBE("guest"),
		     COUNT_MAYBE("release", BIG), OBJECT_MAYBE("order"), FLAG_MAYBE("hold")),
	   AUDITED),

	/* Users and groups */
	PERSON("GET", "/api/v1/users", "user_list", PERMIT_READ, people_users, NOTHING, PLAIN),
	PERSON("POST", "/api/v1/users", "user_add", PERMIT_OPERATE, people_user_add,
	   JSON_BODY(NAME("name"), TEXT_MAYBE("full_name", 256), TEXT_MAYBE("mail", 256),
		     {"groups", FIELD_TEXTS, 64, false, NULL}),
	   AUDITED),
	PERSON("POST", "/api/v1/users/import", "user_import", PERMIT_OPERATE, people_import,
	   TEXT_BODY(8 * MIB), AUDITED),
	PERSON("GET", "/api/v1/users/{user}", "user_get", PERMIT_READ, people_user_get, NOTHING, PLAIN),
	PERSON("PATCH", "/api/v1/users/{user}", "user_change", PERMIT_OPERATE, people_user_change,
	   JSON_BODY(TEXT_MAYBE("full_name", 256), TEXT_MAYBE("mail", 256)), AUDITED),
	PERSON("DELETE", "/api/v1/users/{user}", "user_remove", PERMIT_OPERATE, people_user_remove,
	   NOTHING, AUDITED),
	PERSON("GET", "/api/v1/groups", "group_list", PERMIT_READ, people_groups, NOTHING, PLAIN),
	PERSON("POST", "/api/v1/groups", "group_add", PERMIT_OPERATE, people_group_add,
	   JSON_BODY(NAME("name"), TEXT_MAYBE("description", 256)), AUDITED),
	PERSON("GET", "/api/v1/groups/{group}", "group_get", PERMIT_READ, people_group_get, NOTHING,
	   PLAIN),
	PERSON("PATCH", "/api/v1/groups/{group}", "group_change", PERMIT_OPERATE, people_group_change,
	   JSON_BODY(TEXT_MAYBE("description", 256)), AUDITED),
	PERSON("DELETE", "/api/v1/groups/{group}", "group_remove", PERMIT_OPERATE, people_group_remove,
	   NOTHING, AUDITED),
	PERSON("PUT", "/api/v1/groups/{group}/members/{user}", "member_add", PERMIT_OPERATE,
	   people_member_add, NOTHING, AUDITED),
	PERSON("DELETE", "/api/v1/groups/{group}/members/{user}", "member_remove", PERMIT_OPERATE,
	   people_member_remove, NOTHING, AUDITED),

	/* Images */
	PERSON("GET", "/api/v1/images", "image_list", PERMIT_READ, images_list, NOTHING, PLAIN),
	PERSON("POST", "/api/v1/images", "image_add", PERMIT_AUTHOR, images_add,
	   JSON_BODY(NAME("name"), TEXT_MAYBE("description", 1024)), AUDITED),
	PERSON("GET", "/api/v1/images/{image}", "image_get", PERMIT_READ, images_get, NOTHING, PLAIN),
	PERSON("DELETE", "/api/v1/images/{image}", "image_remove", PERMIT_AUTHOR, images_remove,
	   NOTHING, AUDITED),
	PERSON("GET", "/api/v1/images/{image}/catalogue", "catalogue_get", PERMIT_READ,
	   images_catalogue_get, NOTHING, PLAIN),
	PERSON("PUT", "/api/v1/images/{image}/catalogue", "catalogue_put", PERMIT_AUTHOR,
	   images_catalogue_put, ENVELOPE, AUDITED),
	PERSON("GET", "/api/v1/images/{image}/key", "image_key_get", PERMIT_AUTHOR, images_key_get,
	   NOTHING, PLAIN),
	PERSON("PUT", "/api/v1/images/{image}/key", "image_key_put", PERMIT_AUTHOR, images_key_put,
	   JSON_BODY(TEXT("key", 96)), AUDITED),
	PERSON("GET", "/api/v1/images/{image}/versions", "version_list", PERMIT_READ, images_versions,
	   NOTHING, PLAIN),
	PERSON("PATCH", "/api/v1/images/{image}/versions/{release}", "version_change", PERMIT_OPERATE,
	   images_version_change, JSON_BODY(WORD("stage", stage_words)), AUDITED),
	PERSON("POST", "/api/v1/images/{image}/offer", "image_offer", PERMIT_OPERATE,
	   appliances_offer, JSON_BODY(NAME_MAYBE("group"), FLAG("offered")), AUDITED),
	PERSON("PUT", "/api/v1/images/{image}/versions/{release}/trace", "trace_put", PERMIT_AUTHOR,
	   traces_put, TEXT_BODY(MIB), AUDITED),
	PERSON("PUT", "/api/v1/packs/{pack}", "pack_put", PERMIT_AUTHOR, packs_put, UPLOAD(PACK_MAX),
	   PLAIN),
	PERSON("PUT", "/api/v1/manifests/{sha256}", "manifest_put", PERMIT_AUTHOR, packs_put,
	   UPLOAD(MANIFEST_MAX), PLAIN),
	PERSON("GET", "/api/v1/manifests/{sha256}", "manifest_get", PERMIT_READ, packs_get, NOTHING,
	   PLAIN),
	PERSON("GET", "/api/v1/assignments", "assignment_list", PERMIT_READ, images_assignments,
	   NOTHING, PLAIN),
	PERSON("POST", "/api/v1/assignments", "assignment_add", PERMIT_OPERATE, images_assign,
	   JSON_BODY(NAME("image"), NAME_MAYBE("group"), NAME_MAYBE("user"), NAME_MAYBE("device"),
		     COUNT_MAYBE("release", BIG)),
	   AUDITED),
	PERSON("DELETE", "/api/v1/assignments/{id}", "assignment_remove", PERMIT_OPERATE,
	   images_unassign, NOTHING, AUDITED),

	/* Signed documents */
	PERSON("PUT", "/api/v1/roles", "roles_put", PERMIT_ACCOUNTS, documents_roles_put, ENVELOPE,
	   AUDITED),
	PERSON("GET", "/api/v1/policy", "policy_get", PERMIT_READ, documents_policy_get, NOTHING,
	   PLAIN),
	PERSON("PUT", "/api/v1/policy", "policy_put", PERMIT_OPERATE, documents_policy_put, ENVELOPE,
	   AUDITED),
	PERSON("POST", "/api/v1/policy/try", "policy_try", PERMIT_READ, documents_policy_try,
	   JSON_LONG(4 * MIB, OBJECT("policy"), NAME("device")), PLAIN),

	/* Backups */
	PERSON("GET", "/api/v1/disks", "disk_list", PERMIT_READ, disks_list, NOTHING, PLAIN),
	PERSON("GET", "/api/v1/disks/{disk}/backups", "backup_list", PERMIT_READ, disks_backups,
	   NOTHING, PLAIN),
	PERSON("GET", "/api/v1/disks/{disk}/backups/{number}", "backup_get", PERMIT_RECOVER,
	   disks_backup_get, NOTHING, PLAIN),
	PERSON("GET", "/api/v1/disks/{disk}/keys", "disk_keys", PERMIT_RECOVER, disks_keys, NOTHING,
	   PLAIN),
	PERSON("GET", "/api/v1/disks/{disk}/packs/{pack}", "disk_pack_get", PERMIT_RECOVER, packs_get,
	   NOTHING, PLAIN),

	/* Audit */
	PERSON("GET", "/api/v1/audit", "audit_list", PERMIT_AUDIT, audit_log_list, NOTHING, PLAIN),
	PERSON("GET", "/api/v1/audit/head", "audit_head", PERMIT_READ, audit_log_head, NOTHING, PLAIN),
	PERSON("GET", "/api/v1/audit/witnesses", "audit_witnesses", PERMIT_READ, audit_log_witnesses,
	   NOTHING, PLAIN),
};
/* clang-format on */

const size_t route_count = sizeof(route_table) / sizeof(route_table[0]);
