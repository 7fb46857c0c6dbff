/*
 * The table of `bulkhead image ...`: machine images in and out, prepared, compared, looked into.
 */
#include "image.h"

#define FORMAT_HELP "raw, qcow2, vhd, vhdx, vmdk or ova; default: told by its content"

static const struct cli_option inspect_options[] = {
	{"format", "FORMAT", FORMAT_HELP, 'f', false},
	{"disk", "NAME", "which disk of an archive with several", 0, false},
	{"json", NULL, "print JSON", 0, false},
	{0},
};

static const struct cli_option import_options[] = {
	{"format", "FORMAT", FORMAT_HELP, 'f', false},
	{"disk", "NAME", "which disk of an archive with several", 0, false},
	{"max-size", "BYTES", "refuse disks larger than this; default 2T", 0, false},
	{"replace", NULL, "replace RAW if it exists", 0, false},
	{"json", NULL, "print JSON", 0, false},
	{0},
};

static const struct cli_option export_options[] = {
	{"format", "FORMAT", "raw, qcow2 or vhd; default: by the ending of OUTPUT", 'f', false},
	{"replace", NULL, "replace OUTPUT if it exists", 0, false},
	{0},
};

const struct cli_command image_commands[] = {
	{
		.name = "image inspect",
		.arguments = "FILE",
		.summary = "say what a disk image is, without opening it with any tool",
		.description = "Prints the format, the size of the disk in it and, for an OVA or OVF, the machine it "
			       "describes. Fails if the image would be refused by `bulkhead image import`.",
		.example = "bulkhead image inspect appliance.ova",
		.options = inspect_options,
		.arguments_min = 1,
		.arguments_max = 1,
		.run = image_inspect_run,
	},
	{
		.name = "image import",
		.arguments = "FILE RAW",
		.summary = "turn a disk image into a sparse raw disk",
		.description =
			"FILE may be raw, qcow2, VHD, VHDX, VMDK, OVA or OVF. It is not trusted: its headers are judged "
			"first, images that lead to other files (backing, data, parent files) are refused, and QEMU's "
			"tools read it in a sandbox without network and files, with limits on memory, time and space.",
		.example = "bulkhead image import debian.qcow2 debian.raw",
		.options = import_options,
		.arguments_min = 2,
		.arguments_max = 2,
		.run = image_import_run,
	},
	{
		.name = "image export",
		.arguments = "RAW OUTPUT",
		.summary = "write a raw disk as raw, qcow2 or VHD",
		.description = "OUTPUT is written under another name, flushed and renamed: it is whole or not there.",
		.example = "bulkhead image export debian.raw debian.qcow2",
		.options = export_options,
		.arguments_min = 2,
		.arguments_max = 2,
		.run = image_export_run,
	},
	{0},
};
