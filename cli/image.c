/*
 * The table of `bulkhead image ...`: machine images in and out, prepared, compared, looked into.
 */
#include "image.h"
#include "image_store.h"
#include "officer.h"

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

static const struct cli_option prepare_options[] = {
	{"keep-homes", NULL, "leave /home on the system disk", 0, false},
	{"replace", NULL, "replace OUTPUT if it exists", 0, false},
	{"json", NULL, "print JSON", 'j', false},
	{0},
};

static const struct cli_option publish_options[] = {
	IMAGE_STORE_OPTIONS,
	{"key", "FILE", "key file of an administrator who may sign images", 'k', true},
	OFFICER_PASSPHRASE,
	{"base", "VERSION", "the version before it, for the record", 0, false},
	{"work", "DIR", "folder for the raw disk of other formats; default: the store's", 0, false},
	{"fast", NULL, "compress less: some percent more bytes, sooner done", 0, false},
	{"json", NULL, "print JSON", 'j', false},
	{0},
};

static const struct cli_option stored_options[] = {
	{"store", "DIR", "folder of the store", 's', true},
	{"json", NULL, "print JSON", 'j', false},
	{0},
};

static const struct cli_option check_options[] = {
	{"store", "DIR", "folder of the store", 's', true},
	{"repair", "STORE", "get what is damaged, and nothing else, from this other store", 0, false},
	{"json", NULL, "print JSON", 'j', false},
	{0},
};

static const struct cli_option rebuild_options[] = {
	{"store", "DIR", "folder of the store", 's', true},
	{"domain-key", "FILE", "key of the image family whose block index is rebuilt too", 'd', false},
	{"key", "FILE", "key file that must have signed a version; repeat for several. No passphrase is asked: its public half is read",
	 'k', false},
	{"any-signer", NULL, "take versions whoever signed them, as in a store of your own backups", 0, false},
	{0},
};

static const struct cli_option collect_options[] = {
	{"store", "DIR", "folder of the store", 's', true},
	{"now", NULL, "also give back what is unused since just now, if nobody is publishing or fetching", 0, false},
	{0},
};

static const struct cli_option diff_options[] = {
	IMAGE_STORE_OPTIONS,
	{"json", NULL, "print JSON", 'j', false},
	{0},
};

static const struct cli_option mount_options[] = {
	IMAGE_STORE_OPTIONS,
	{"reader", "PROGRAM", "what reads file systems (default: the installed bulkhead-file-view)", 0, false},
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
	{
		.name = "image prepare",
		.arguments = "DISK OUTPUT",
		.summary = "take identity out of a disk before it is published",
		.description = "Writes a copy of DISK, as a raw disk, without machine id, SSH host keys, host name, random\n"
			       "seed, logs and leases, so that two PCs never share one, and gives free space back, so\n"
			       "that nothing of it is left in unused blocks. /home moves to the user disk at the first\n"
			       "start. The root file system must be ext4; it is changed as a file, never mounted.",
		.example = "bulkhead image prepare work.qcow2 work.raw",
		.options = prepare_options,
		.arguments_min = 2,
		.arguments_max = 2,
		.run = image_prepare_run,
	},
	{
		.name = "store publish",
		.arguments = "DISK LABEL",
		.summary = "make a signed version of a disk in a store on this machine",
		.description = "DISK may be in any format that `bulkhead image import` takes. Only blocks that the store\n"
			       "does not have are added. The store and the key of the image family are made if they do\n"
			       "not exist. Prints the version's id.",
		.example = "bulkhead store publish work.qcow2 'work 7' -s store -d work.family -k images.key",
		.options = publish_options,
		.arguments_min = 2,
		.arguments_max = 2,
		.run = store_publish_run,
	},
	{
		.name = "store list",
		.arguments = "",
		.summary = "list the versions in a store",
		.options = stored_options,
		.run = store_list_run,
	},
	{
		.name = "store check",
		.arguments = "",
		.summary = "read everything in a store and name what is damaged",
		.description = "Compares every frame, table and manifest with its name. Fails if anything is damaged.",
		.example = "bulkhead store check -s store --repair /mnt/copy",
		.options = check_options,
		.run = store_check_run,
	},
	{
		.name = "store rebuild",
		.arguments = "",
		.summary = "make a store's catalogue again from its packs and signed versions",
		.description = "For a store whose catalogue or block index is damaged or lost. Nothing may use the store\n"
			       "meanwhile. The old catalogue is kept as catalogue.old. A catalogue vouches for the signatures\n"
			       "of what it lists, so they are checked again here: a version that none of the keys has signed\n"
			       "is left out, and its file stays.",
		.example = "bulkhead store rebuild -s store -d work.family -k images.key",
		.options = rebuild_options,
		.run = store_rebuild_run,
	},
	{
		.name = "store collect",
		.arguments = "",
		.summary = "give back the space of what no version uses",
		.description = "May run while versions are published and fetched. What is unused now is given back by the\n"
			       "next collection, unless something came to use it meanwhile.",
		.example = "bulkhead store collect -s store",
		.options = collect_options,
		.run = store_collect_run,
	},
	{
		.name = "image diff",
		.arguments = "OLD NEW",
		.summary = "say what a version will cost before it is published",
		.description = "OLD is a version in the store, NEW a version or a disk file. Counts the blocks that a PC\n"
			       "with OLD would lack, and compresses them as publishing would: that is what it fetches.",
		.example = "bulkhead image diff 'work 7' work-8.qcow2 -s store -d work.family",
		.options = diff_options,
		.arguments_min = 2,
		.arguments_max = 2,
		.run = image_diff_run,
	},
	{
		.name = "image mount",
		.arguments = "VERSION FOLDER",
		.summary = "show a version's disk, partitions and files, read-only",
		.description = "FOLDER holds disk.raw, a partition-N.raw for each partition, and a folder files-N with the\n"
			       "files of each that is ext2, ext3 or ext4, until it is unmounted or the command is\n"
			       "interrupted. Every block is checked. The kernel never reads the file systems in them: a\n"
			       "process does that can do nothing but ask for blocks. Absolute links lead within files-N.",
		.example = "bulkhead image mount 'work 7' view -s store -d work.family",
		.options = mount_options,
		.arguments_min = 2,
		.arguments_max = 2,
		.run = image_mount_run,
	},
	{0},
};
