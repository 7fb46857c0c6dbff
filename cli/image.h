/* The rows of `bulkhead image ...`. */
#ifndef BULKHEAD_CLI_IMAGE_H
#define BULKHEAD_CLI_IMAGE_H

#include "command.h"

extern const struct cli_command image_commands[];

/* What the rows run, by file. */
int image_inspect_run(const struct cli_context *context);
int image_import_run(const struct cli_context *context);
int image_export_run(const struct cli_context *context);
int store_publish_run(const struct cli_context *context);
int store_list_run(const struct cli_context *context);
int image_prepare_run(const struct cli_context *context);
int image_diff_run(const struct cli_context *context);
int image_mount_run(const struct cli_context *context);
int store_check_run(const struct cli_context *context);
int store_rebuild_run(const struct cli_context *context);
int store_collect_run(const struct cli_context *context);

#endif
