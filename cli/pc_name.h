/* What administrators call this PC where its user gives it no name. */
#ifndef BULKHEAD_CLI_PC_NAME_H
#define BULKHEAD_CLI_PC_NAME_H

#include <stddef.h>

#define PC_NAME_BYTES 65

/** "pc-" and the serial number that its maker gave it; where that is missing, or only root may read it, the begin of its
 * machine-id instead. Empty if it has neither. */
void pc_name(char name[PC_NAME_BYTES]);

#endif
