/*
 * All commands there are, group by group. A part's file exports its rows; naming them here makes them exist.
 */
#include "command.h"
#include "help.h"
#include "image.h"
#include "machine.h"

const struct cli_group cli_groups[] = {
	{"This machine", machine_commands},
	{"Images", image_commands},
	{"This command", help_commands},
	{0},
};
