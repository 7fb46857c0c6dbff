/* admin_audit.h: `bulkhead audit`. */
#ifndef BULKHEAD_CLI_ADMIN_AUDIT_H
#define BULKHEAD_CLI_ADMIN_AUDIT_H

#include "admin.h"

extern const struct cli_command admin_audit_commands[];

#endif
