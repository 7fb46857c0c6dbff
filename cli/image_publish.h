/* `bulkhead image publish`: a disk becomes a version that PCs fetch. */
#ifndef BULKHEAD_CLI_IMAGE_PUBLISH_H
#define BULKHEAD_CLI_IMAGE_PUBLISH_H

#include "command.h"

extern const struct cli_command image_describe_commands[];
extern const struct cli_command image_publish_commands[];

#endif
