/*
 * All commands there are, group by group. A part's file exports its rows; naming them here makes them exist.
 */
#include "admin_audit.h"
#include "admin_order.h"
#include "admin_receipt.h"
#include "command.h"
#include "console.h"
#include "documents.h"
#include "guest.h"
#include "help.h"
#include "image.h"
#include "image_publish.h"
#include "machine.h"

const struct cli_group cli_groups[] = {
	{"This machine", machine_commands},
	{"Guests on this PC", guest_commands},
	{"This PC's screen", console_commands},
	{"Your data", own_data_commands},
	{"Images", image_commands},
	{"Server and administrators", admin_server_commands},
	{"After a loss", documents_commands},
	{"Who may sign what", admin_key_commands},
	{"Users and groups", admin_people_commands},
	{"Publishing", image_publish_commands},
	{"What a guest must be", image_describe_commands},
	{"Images and who runs them", admin_release_commands},
	{"Devices", admin_fleet_commands},
	{"Orders of officers", admin_order_commands},
	{"What proves a wipe", admin_receipt_commands},
	{"Policy", admin_policy_commands},
	{"Audit", admin_audit_commands},
	{"This command", help_commands},
	{0},
};
