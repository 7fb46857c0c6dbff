/*
 * `bulkhead enrol` and `bulkhead guest`: what a PC's user does with the guests on it. All of it is
 * done by the agent; these commands ask and show.
 */
#include "agent_link.h"
#include "guest.h"
#include "output.h"
#include "pc_name.h"
#include "phrase.h"
#include "policy_table.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int call(const struct cli_context *context, json_t *request, int file, json_t **result)
{
	*result = NULL;
	return agent_link_call(context, request, file, result);
}

/** A request about the guest that the first argument names. */
static json_t *about(const struct cli_context *context, const char *name)
{
	return json_pack("{s:s, s:s}", "call", name, "guest", cli_argument(context, 0));
}

static int simple(const struct cli_context *context, json_t *request, const char *done)
{
	json_t *result;
	int status = call(context, request, -1, &result);

	if (status == CLI_OK && done)
		printf("%s: %s.\n", cli_argument(context, 0), done);
	json_decref(result);
	return status;
}

static int run_enrol(const struct cli_context *context)
{
	const char *name = cli_value(context, "name");
	char own_name[PC_NAME_BYTES], *token = NULL;
	size_t capacity = 0;
	json_t *result;
	int status;

	pc_name(own_name);
	/* A token on the command line would stay in the shell's history: "-" or nothing reads it
	 * from stdin. */
	if (cli_argument_count(context) > 0 && strcmp(cli_argument(context, 0), "-") != 0)
		token = strdup(cli_argument(context, 0));
	else if (getline(&token, &capacity, stdin) < 0)
		return cli_usage(context, "no token; give it as an argument or on standard input");
	token[strcspn(token, "\r\n")] = '\0';
	status = call(context,
		      json_pack("{s:s, s:s, s:s}", "call", "enrol", "token", token, "name",
				name ? name : own_name),
		      -1, &result);
	explicit_bzero(token, strlen(token));
	free(token);
	json_decref(result);
	if (status == CLI_OK)
		puts("This PC is enrolled. Its guests arrive in the background: bulkhead guest "
		     "list");
	return status;
}

/** Adds what a row shows in words: how far an arriving guest is, and what it waits for. */
static void add_words(json_t *rows)
{
	json_t *row;
	size_t i;

	json_array_foreach(rows, i, row)
	{
		json_int_t total = json_integer_value(json_object_get(row, "total_bytes"));
		json_int_t done = json_integer_value(json_object_get(row, "arriving_bytes"));
		const char *state = json_string_value(json_object_get(row, "state"));
		const char *waits = json_string_value(json_object_get(row, "waits_for"));
		char text[512], of[16], have[16];

		if (total <= 0 || !state)
			continue;
		snprintf(text, sizeof(text), "%s, %s of %s arrived (%d %%)%s%s", state,
			 output_bytes((uint64_t)done, have), output_bytes((uint64_t)total, of),
			 (int)(done * 100 / total), waits ? "; waits: " : "", waits ? waits : "");
		json_object_set_new(row, "state", json_string(text));
	}
}

static int run_list(const struct cli_context *context)
{
	static const struct output_column columns[] = {{"name", "GUEST", OUTPUT_TEXT},
						       {"state", "STATE", OUTPUT_TEXT},
						       {"release", "RELEASE", OUTPUT_NUMBER},
						       {"previous", "BEFORE", OUTPUT_NUMBER},
						       {"last_backup", "LAST BACKUP", OUTPUT_TIME},
						       {"backup_label", "BACKUP IS", OUTPUT_TEXT}};
	json_t *result;
	int status = call(context, json_pack("{s:s}", "call", "list"), -1, &result);

	if (status != CLI_OK)
		return status;
	if (cli_switch(context, "json")) {
		output_json(result);
	} else {
		add_words(result);
		output_table(result, OUTPUT_COLUMNS(columns),
			     "No guest is on this PC.");
	}
	json_decref(result);
	return CLI_OK;
}

static int run_start(const struct cli_context *context)
{
	return simple(context, about(context, "start"), "started");
}

static int run_stop(const struct cli_context *context)
{
	json_t *request = about(context, "stop");

	json_object_set_new(request, "hard", json_boolean(cli_switch(context, "now")));
	return simple(context, request, cli_switch(context, "now") ? "ended" : "asked to end");
}

static int run_revert(const struct cli_context *context)
{
	return simple(context, about(context, "revert"),
		      "the release before is used from the next start on");
}

static int run_sync(const struct cli_context *context)
{
	json_t *result;
	int status = call(context, json_pack("{s:s}", "call", "sync"), -1, &result);

	json_decref(result);
	return status;
}

static int run_agent(const struct cli_context *context)
{
	json_t *result, *vault;
	const char *trouble, *reason;
	int status = call(context, json_pack("{s:s}", "call", "status"), -1, &result);

	if (status != CLI_OK)
		return status;
	if (cli_switch(context, "json")) {
		output_json(result);
		json_decref(result);
		return CLI_OK;
	}
	vault = json_object_get(result, "vault");
	trouble = json_string_value(json_object_get(result, "trouble"));
	reason = json_string_value(json_object_get(vault, "reason"));
	if (json_is_true(json_object_get(result, "personal")))
		puts("This is the agent of your own guests. No company knows of it.");
	else if (!json_is_true(json_object_get(result, "enrolled")))
		puts("This PC is not enrolled. Ask for a token, then: bulkhead enrol");
	else
		printf("Device %s of %s\n", json_string_value(json_object_get(result, "device")),
		       json_string_value(json_object_get(result, "server")));
	printf("Keys: %s; lease enforced by %s\n", reason ? reason : "available",
	       strcmp(json_string_value(json_object_get(vault, "enforcement")) ?: "", "tpm") == 0
		   ? "the TPM"
		   : "this PC's software only (advisory: no TPM)");
	if (!json_is_true(json_object_get(result, "personal")))
		puts(strcmp(json_string_value(json_object_get(vault, "guests")) ?: "", "measured") == 0
			 ? "      given to guests that measure as the company described them"
			 : "      not bound to what a guest measures as (advisory: no hypervisor)");
	if (trouble && *trouble)
		printf("Trouble: %s\n", trouble);
	if (json_object_get(result, "policy")) {
		putchar('\n');
		policy_table_print(json_object_get(result, "policy"), true);
	}
	json_decref(result);
	return CLI_OK;
}

char *guest_read_phrase(const struct cli_context *context)
{
	char *phrase = NULL, why[PHRASE_WHY_BYTES];
	size_t capacity = 0;

	if (isatty(STDIN_FILENO))
		fputs("Recovery phrase: ", stderr);
	if (getline(&phrase, &capacity, stdin) < 0) {
		free(phrase);
		cli_usage(context, "the recovery phrase is read from standard input, and there was none");
		return NULL;
	}
	phrase[strcspn(phrase, "\r\n")] = '\0';
	if (phrase_holds(phrase, why))
		return phrase;
	explicit_bzero(phrase, strlen(phrase));
	free(phrase);
	cli_fail(context, "%s", why);
	return NULL;
}

static json_t *personal(const struct cli_context *context, const char *action)
{
	json_t *request = about(context, "personal");

	json_object_set_new(request, "do", json_string(action));
	return request;
}

/** Sets "field" by --NAME or --no-NAME, if one of them is there. */
static void set_switch(const struct cli_context *context, json_t *settings, const char *field, const char *name,
		       const char *no_name)
{
	if (cli_switch(context, name) || cli_switch(context, no_name))
		json_object_set_new(settings, field, json_boolean(!cli_switch(context, no_name)));
}

/** What MACHINE_OPTIONS say of a guest of one's own; NULL after saying what is wrong. */
static json_t *machine_settings(const struct cli_context *context)
{
	json_t *settings = json_object();
	uint64_t memory = 0, processors = 0;

	if (cli_number(context, "memory", 64ull << 20, 64ull << 30, &memory) != CLI_OK ||
	    cli_number(context, "processors", 1, 16, &processors) != CLI_OK) {
		json_decref(settings);
		return NULL;
	}
	if (memory)
		json_object_set_new(settings, "memory_mib", json_integer((json_int_t)(memory >> 20)));
	if (processors)
		json_object_set_new(settings, "processors", json_integer((json_int_t)processors));
	set_switch(context, settings, "network", "network", "no-network");
	set_switch(context, settings, "guest_agent", "guest-agent", "no-guest-agent");
	return settings;
}

static int run_create(const struct cli_context *context)
{
	json_t *settings = machine_settings(context), *request, *result;
	int file, status;

	if (!settings)
		return CLI_USAGE;
	request = personal(context, "create");
	json_object_set_new(request, "machine", settings);
	file = open(cli_value(context, "disk"), O_RDONLY | O_CLOEXEC);
	if (file < 0) {
		json_decref(request);
		return cli_fail(context, "%s: %s", cli_value(context, "disk"), strerror(errno));
	}
	status = call(context, request, file, &result);
	close(file);
	json_decref(result);
	return status;
}

static int run_describe(const struct cli_context *context)
{
	json_t *settings = machine_settings(context), *request, *result;
	int status;

	if (!settings)
		return CLI_USAGE;
	request = personal(context, "describe");
	json_object_set_new(request, "machine", settings);
	status = call(context, request, -1, &result);
	if (status == CLI_OK)
		printf("%s: %d MiB, %d processors, %s network card, %s port for its guest agent, from the next start on.\n",
		       cli_argument(context, 0),
		       (int)json_integer_value(json_object_get(result, "memory_mib")),
		       (int)json_integer_value(json_object_get(result, "processors")),
		       json_is_true(json_object_get(result, "network")) ? "a" : "no",
		       json_is_true(json_object_get(result, "guest_agent")) ? "a" : "no");
	json_decref(result);
	return status;
}

static int run_remove(const struct cli_context *context)
{
	if (!cli_switch(context, "yes"))
		return cli_usage(
		    context,
		    "%s and all that is in it would be gone for good; say --yes if that is meant",
		    cli_argument(context, 0));
	return simple(context, personal(context, "remove"), "removed");
}

static int run_catalogue(const struct cli_context *context)
{
	static const struct output_column columns[] = {{"image", "IMAGE", OUTPUT_TEXT},
						       {"taken", "TAKEN", OUTPUT_TEXT},
						       {"description", "DESCRIPTION", OUTPUT_TEXT}};
	json_t *result;
	int status = call(context, json_pack("{s:s}", "call", "catalogue"), -1, &result);

	if (status != CLI_OK)
		return status;
	output_rows(result, cli_switch(context, "json"), OUTPUT_COLUMNS(columns),
		    "The company offers no images to you.");
	return CLI_OK;
}

static int run_take(const struct cli_context *context)
{
	return simple(context, about(context, "take"), "taken; it arrives now");
}

static int run_give_back(const struct cli_context *context)
{
	json_t *request = about(context, "take");

	json_object_set_new(request, "back", json_true());
	return simple(context, request, "given back; your data in it is kept");
}

static int run_remove_version(const struct cli_context *context)
{
	json_t *request = about(context, "remove-version");
	uint64_t release = 0;
	int status = cli_number(context, "release", 1, INT32_MAX, &release);

	if (status != CLI_OK) {
		json_decref(request);
		return status;
	}
	json_object_set_new(request, "release", json_integer((json_int_t)release));
	return simple(context, request, "the release is removed, with what was written to it");
}

static int run_export(const struct cli_context *context)
{
	const char *path = cli_argument(context, 1);
	int file = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600), status;
	const char *phrase;
	json_t *result;

	if (file < 0)
		return cli_fail(context, "%s: %s", path,
				errno == EEXIST ? "is there already; choose another name"
						: strerror(errno));
	status = call(context, personal(context, "export"), file, &result);
	if (close(file) != 0 && status == CLI_OK)
		status = cli_fail(context, "%s: %s", path, strerror(errno));
	if (status != CLI_OK)
		unlink(path);
	phrase = json_string_value(json_object_get(result, "phrase"));
	if (status == CLI_OK && phrase)
		printf("Written to %s. It opens with these nine words only; write them down:\n\n  "
		       "%s\n\n",
		       path, phrase);
	json_decref(result);
	return status;
}

/** Sends a request that opens something with a phrase. Takes `request` over. */
static int with_phrase(const struct cli_context *context, json_t *request, int file)
{
	char *phrase = guest_read_phrase(context);
	json_t *result;
	int status;

	if (!phrase) {
		json_decref(request);
		return CLI_FAILED;
	}
	json_object_set_new(request, "phrase", json_string(phrase));
	status = call(context, request, file, &result);
	explicit_bzero(phrase, strlen(phrase));
	free(phrase);
	json_decref(result);
	return status;
}

static int run_import(const struct cli_context *context)
{
	const char *path = cli_argument(context, 1);
	int file = open(path, O_RDONLY | O_CLOEXEC), status;

	if (file < 0)
		return cli_fail(context, "%s: %s", path, strerror(errno));
	status = with_phrase(context, personal(context, "import"), file);
	close(file);
	return status;
}

/** Asks for something about the folder that the second argument names: opened here, for the agent has other rights than who
 * asks and sees another tree. `phrase`: the request needs one. */
static int call_about_folder(const struct cli_context *context, const char *action, bool phrase, json_t **result)
{
	int folder = open(cli_argument(context, 1), O_RDONLY | O_DIRECTORY | O_CLOEXEC), status;

	*result = NULL;
	if (folder < 0)
		return cli_fail(context, "%s: %s", cli_argument(context, 1), strerror(errno));
	status = phrase ? with_phrase(context, personal(context, action), folder)
			: call(context, personal(context, action), folder, result);
	close(folder);
	return status;
}

static int run_own_backup(const struct cli_context *context)
{
	json_t *result;
	const char *phrase;
	int status = call_about_folder(context, "backup", false, &result);

	if (status != CLI_OK)
		return status;
	phrase = json_string_value(json_object_get(result, "phrase"));
	if (phrase)
		printf("The backups in %s open with these nine words only; write them down and keep them "
		       "elsewhere:\n\n  %s\n\n",
		       cli_argument(context, 1), phrase);
	printf("%s: backed up (%s).\n", cli_argument(context, 0),
	       json_string_value(json_object_get(result, "label")) ?: "");
	json_decref(result);
	return CLI_OK;
}

static int run_bring_back(const struct cli_context *context)
{
	json_t *result;
	int status = call_about_folder(context, "bring-back", true, &result);

	if (status == CLI_OK)
		printf("%s: brought back.\n", cli_argument(context, 0));
	return status;
}

static const struct cli_option link_options[] = {AGENT_LINK_OPTIONS, {0}};

static const struct cli_option shown_options[] = {
    {"json", NULL, "print JSON for scripts", 0, false}, AGENT_LINK_OPTIONS, {0}};

static const struct cli_option enrol_options[] = {
    {"name", "NAME", "what administrators see (default: pc- and its serial number)", 0, false},
    AGENT_LINK_OPTIONS,
    {0}};

static const struct cli_option stop_options[] = {
    {"now", NULL, "end it at once, as if its power were cut", 0, false}, AGENT_LINK_OPTIONS, {0}};

#define MACHINE_OPTIONS                                                                        \
	{"memory", "SIZE", "its memory, an even number of MiB (at first 2G)", 0, false},       \
	    {"processors", "N", "1 to 16 (at first 2)", 0, false},                             \
	    {"network", NULL, "it has a network card (at first it has)", 0, false},            \
	    {"no-network", NULL, "it has none", 0, false},                                     \
	    {"guest-agent", NULL, "it has a port for qemu-guest-agent (at first it has)", 0, false}, \
	    {"no-guest-agent", NULL, "it has none", 0, false}

static const struct cli_option create_options[] = {
    {"disk", "FILE", "the raw disk to start from: a file, or a disk of this PC", 0, true}, MACHINE_OPTIONS, AGENT_LINK_OPTIONS, {0}};

static const struct cli_option describe_options[] = {MACHINE_OPTIONS, AGENT_LINK_OPTIONS, {0}};

static const struct cli_option remove_options[] = {
    {"yes", NULL, "yes, remove it with all that is in it", 0, false}, AGENT_LINK_OPTIONS, {0}};

static const struct cli_option version_options[] = {
    {"release", "N", "which one (default: the one that going back would run)", 0, false},
    AGENT_LINK_OPTIONS,
    {0}};

const struct cli_command guest_commands[] = {
    {"enrol", "[TOKEN]", "make this PC a device of the company",
     "The token comes from an administrator and works once. "
     "It says where the server is and what to believe, so a wrong server is noticed.",
     "bulkhead enrol bh1-eyJ...", enrol_options, 0, 1, run_enrol},
    {"agent", "", "show how this PC's agent is", NULL, NULL, shown_options, 0, 0, run_agent},
    {"sync", "", "ask the server for news now",
     "Waits until a round is over: the lease renewed, orders obeyed, what is due backed up. Says what went wrong.", NULL, link_options, 0, 0, run_sync},
    {"guest list", "", "show the guests on this PC", NULL, NULL, shown_options, 0, 0, run_list},
    {"guest start", "GUEST", "start a guest", NULL, "bulkhead guest start work", link_options, 1, 1,
     run_start},
    {"guest stop", "GUEST", "end a guest", NULL, NULL, stop_options, 1, 1, run_stop},
    {"guest revert", "GUEST", "go back to the release before",
     "Takes effect at the next start. The release given up is not taken again until a newer one is "
     "published.",
     NULL, link_options, 1, 1, run_revert},
    {"guest catalogue", "", "list the images that the company lets you take", NULL, NULL,
     shown_options, 0, 0, run_catalogue},
    {"guest take", "IMAGE", "take an image that is offered to you",
     "It arrives as a guest of its own, which starts as soon as it can.", "bulkhead guest take cad",
     link_options, 1, 1, run_take},
    {"guest give-back", "IMAGE", "give back an image that you took", NULL, NULL, link_options, 1, 1,
     run_give_back},
    {"guest remove-version", "GUEST", "remove a release that is kept for going back",
     "Gives its space back. What runs, or would run next, is not removed. By itself a PC removes "
     "it when its time by policy is over.",
     NULL, version_options, 1, 1, run_remove_version},
    {"guest create", "GUEST", "make a guest of your own from a disk", NULL,
     "bulkhead guest create personal --personal --disk old-pc.raw", create_options, 1, 1,
     run_create},
    {"guest describe", "GUEST", "say anew what machine a guest of your own is",
     "Changes what you name. Also needed once after an update of Bulkhead that measures guests otherwise: such a guest does "
     "not start, and its monitor says that it is not the one its descriptor names.",
     "bulkhead guest describe personal --personal --memory 4G", describe_options, 1, 1, run_describe},
    {"guest export", "GUEST FILE", "write a guest of your own into one encrypted file",
     "The file holds its disks and keys and opens with the nine words that are printed.", NULL,
     link_options, 2, 2, run_export},
    {"guest import", "GUEST FILE", "take a guest of your own out of such a file",
     "The nine words are read from standard input. Nothing is there before all of it is.", NULL,
     link_options, 2, 2, run_import},
    {"guest backup", "GUEST FOLDER", "back a guest of your own up to a disk of your own",
     "FOLDER lies on that disk; the user that runs your own agent must be able to write there. While "
     "the guest runs it goes on. Only what changed is read and only what is new is written, "
     "encrypted. The first backup prints nine words that open all of them.",
     "bulkhead guest backup personal /media/my-disk --personal", link_options, 2, 2, run_own_backup},
    {"guest bring-back", "GUEST FOLDER", "make a guest of your own again from its newest backup",
     "On this PC or another; the nine words are read from standard input. A guest of that name must "
     "not be here.",
     NULL, link_options, 2, 2, run_bring_back},
    {"guest remove", "GUEST", "remove a guest of your own for good", NULL, NULL, remove_options, 1,
     1, run_remove},
    {0},
};
