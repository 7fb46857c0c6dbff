/* The commands of a PC's user: enrolling, guests, backups and recovery phrases. Tables in guest.c
 * and own_data.c. */
#ifndef BULKHEAD_CLI_GUEST_H
#define BULKHEAD_CLI_GUEST_H

#include "command.h"

/** Reads a recovery phrase from standard input and checks its words before anybody is asked. The caller overwrites and frees
 * it. NULL after saying why there is none. */
char *guest_read_phrase(const struct cli_context *context);

extern const struct cli_command guest_commands[];
extern const struct cli_command own_data_commands[];

#endif
