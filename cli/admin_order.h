/* admin_order.h: the two commands that need officers. */
#ifndef BULKHEAD_CLI_ADMIN_ORDER_H
#define BULKHEAD_CLI_ADMIN_ORDER_H

#include "admin.h"

extern const struct cli_option admin_order_wipe_options[], admin_order_release_options[];
extern const struct cli_command admin_order_commands[];

int admin_order_wipe(const struct cli_context *context);
int admin_order_release(const struct cli_context *context);

#endif
