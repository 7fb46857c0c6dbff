/*
 * The same disks as bulkhead-blk serves, as a plugin of nbdkit: any QEMU, or any other client of NBD, boots from a store.
 *
 *   nbdkit bulkhead.so state=DIR key=FILE store=DIR domain-key=FILE version=V
 */
#define NBDKIT_API_VERSION 2
#include "served.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <nbdkit-plugin.h>

#define THREAD_MODEL NBDKIT_THREAD_MODEL_PARALLEL

static struct served_options options = {.stop_fd = -1};
static const char *key_file, *domain_key_file;
static struct served *served;

static int text_option(const char *key, const char *value)
{
	const struct {
		const char *key;
		const char **to;
		bool path;
	} texts[] = {{"state", &options.state, true},	{"key", &key_file, true},
		     {"store", &options.store, true},	{"domain-key", &domain_key_file, true},
		     {"version", &options.version, false}, {"trace", &options.trace, true},
		     {"feed", &options.feed, true},	{"layer", &options.layer, false},
		     {"control", &options.control, true}};

	for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++) {
		if (strcmp(texts[i].key, key) != 0)
			continue;
		*texts[i].to = texts[i].path ? nbdkit_absolute_path(value) : nbdkit_strdup_intern(value);
		return *texts[i].to ? 0 : -1;
	}
	nbdkit_error("%s: no such option; nbdkit bulkhead.so --help lists them", key);
	return -1;
}

static int plugin_config(const char *key, const char *value)
{
	int64_t size;
	int yes;

	if (strcmp(key, "record") == 0) {
		/* Made on closing, perhaps: a path that does not exist yet. */
		options.record = nbdkit_absolute_path(value);
		return options.record ? 0 : -1;
	}
	if (strcmp(key, "size") == 0) {
		size = nbdkit_parse_size(value);
		options.layer_bytes = size > 0 ? (uint64_t)size : 0;
		return size > 0 ? 0 : -1;
	}
	if (strcmp(key, "drop-overlay") == 0 || strcmp(key, "background") == 0 || strcmp(key, "direct") == 0) {
		yes = nbdkit_parse_bool(value);
		if (yes < 0)
			return -1;
		if (strcmp(key, "drop-overlay") == 0)
			options.drop_overlay = yes;
		else if (strcmp(key, "direct") == 0)
			options.direct = yes;
		else
			options.no_background = !yes;
		return 0;
	}
	return text_option(key, value);
}

static int plugin_config_complete(void)
{
	if (options.state && key_file && (!options.store || (domain_key_file && options.version)))
		return 0;
	nbdkit_error("state= and key= are needed, and with store= also domain-key= and version=");
	return -1;
}

/** After the fork, so that threads live in the process that serves. */
static int plugin_after_fork(void)
{
	uint8_t key[SERVED_KEY_BYTES], domain_key[SERVED_KEY_BYTES];
	struct problem problem = {""};
	int error = served_read_key(key_file, key, &problem);

	options.key = key;
	if (!error && domain_key_file) {
		error = served_read_key(domain_key_file, domain_key, &problem);
		options.domain_key = domain_key;
	}
	if (!error)
		error = served_open(&options, &served, &problem);
	explicit_bzero(key, sizeof(key));
	explicit_bzero(domain_key, sizeof(domain_key));
	options.key = options.domain_key = NULL;
	if (error)
		nbdkit_error("%s", problem.line);
	return error ? -1 : 0;
}

static void plugin_cleanup(void)
{
	struct problem problem = {""};

	if (served && served_close(served, &problem))
		nbdkit_error("%s", problem.line);
	served = NULL;
}

static void *plugin_open(int read_only)
{
	return NBDKIT_HANDLE_NOT_NEEDED;
}

static int64_t plugin_get_size(void *handle)
{
	return (int64_t)served_disk(served)->bytes;
}

static int plugin_can_write(void *handle)
{
	return served_disk(served)->top != NULL;
}

static int plugin_yes(void *handle)
{
	return 1;
}

static int plugin_block_size(void *handle, uint32_t *minimum, uint32_t *preferred, uint32_t *maximum)
{
	*minimum = SECTOR_BYTES;
	*preferred = BLOCK_BYTES;
	*maximum = 32u << 20;
	return 0;
}

static int answer(int error)
{
	if (!error)
		return 0;
	nbdkit_error("%s", strerror(-error));
	nbdkit_set_error(-error);
	return -1;
}

static int plugin_pread(void *handle, void *buffer, uint32_t count, uint64_t offset, uint32_t flags)
{
	return answer(guestdisk_read(served_disk(served), offset, count, buffer));
}

static int plugin_pwrite(void *handle, const void *buffer, uint32_t count, uint64_t offset, uint32_t flags)
{
	return answer(guestdisk_write(served_disk(served), offset, count, buffer));
}

static int plugin_flush(void *handle, uint32_t flags)
{
	return answer(guestdisk_flush(served_disk(served)));
}

static int plugin_zero(void *handle, uint32_t count, uint64_t offset, uint32_t flags)
{
	return answer(guestdisk_zero(served_disk(served), offset, count));
}

static struct nbdkit_plugin plugin = {
	.name = "bulkhead",
	.longname = "Bulkhead disks",
	.description = "serves a version of a Bulkhead store with an overlay, or a user disk",
	.config = plugin_config,
	.config_complete = plugin_config_complete,
	.config_help = "state=DIR          (required) folder of the guest's layers\n"
		       "key=FILE           (required) 32 bytes from which the layers' keys are made\n"
		       "store=DIR          store that has the version; without it: a disk that is one layer\n"
		       "domain-key=FILE    key of the version's domain\n"
		       "version=V          id, beginning of an id, or label\n"
		       "feed=PATH          socket at which missing frames are asked for\n"
		       "drop-overlay=BOOL  forget what was written above this version before\n"
		       "background=BOOL    bring the whole version, not only what is read (default true)\n"
		       "direct=BOOL        layers past this machine's page cache (default false)\n"
		       "trace=FILE         bring it in the order of this boot trace\n"
		       "record=FILE        record a boot trace\n"
		       "layer=NAME         without store=: folder of the layer (default user)\n"
		       "size=SIZE          make it in this size if there is none\n"
		       "control=PATH       socket at which backups are read",
	.after_fork = plugin_after_fork,
	.cleanup = plugin_cleanup,
	.open = plugin_open,
	.get_size = plugin_get_size,
	.can_write = plugin_can_write,
	.can_multi_conn = plugin_yes,
	.can_trim = plugin_can_write,
	.block_size = plugin_block_size,
	.pread = plugin_pread,
	.pwrite = plugin_pwrite,
	.flush = plugin_flush,
	.trim = plugin_zero,
	.zero = plugin_zero,
};

struct nbdkit_plugin *plugin_init(void);
NBDKIT_REGISTER_PLUGIN(plugin)
