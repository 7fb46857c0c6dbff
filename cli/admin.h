/* admin.h: the commands of administrators: what they need of each other. See commands.c for where
 * they are named. */
#ifndef BULKHEAD_CLI_ADMIN_H
#define BULKHEAD_CLI_ADMIN_H

#include "output.h"
#include "remote.h"

extern const struct cli_command admin_fleet_commands[];	  /* device, enrolment */
extern const struct cli_command admin_people_commands[];  /* user, group, account */
extern const struct cli_command admin_release_commands[]; /* assign, version */
extern const struct cli_command admin_policy_commands[];
extern const struct cli_command admin_key_commands[]; /* key, audit */
extern const struct cli_command admin_server_commands[];

#define ADMIN_JSON                                                                                 \
	{                                                                                          \
		"json", NULL, "print JSON for scripts", 0, false                                   \
	}

/** Fetches a list and shows it: a table, or JSON with --json (the command must have that option).
 */
int admin_list(const struct cli_context *context, const char *path,
	       const struct output_column *columns, size_t column_count, const char *empty);

/** Opens a session, makes one call and says @done on success (NULL: nothing). @body is taken over.
 */
int admin_call(const struct cli_context *context, const char *method, const char *path,
	       json_t *body, const char *done, ...) __attribute__((format(printf, 5, 6)));

/** Finds a device by id or name. @id: 65 bytes; @device: the row, or NULL if it is not wanted. */
int admin_device(struct remote *remote, const char *name, char *id, json_t **device);

/** True (after nothing) if @name may be a name; else false after saying so. */
bool admin_name(const struct cli_context *context, const char *name);

#endif
