/* `bulkhead device receipts`. */
#ifndef BULKHEAD_CLI_ADMIN_RECEIPT_H
#define BULKHEAD_CLI_ADMIN_RECEIPT_H

#include "command.h"

extern const struct cli_command admin_receipt_commands[];

#endif
