/*
 * `bulkhead backup run`, `bulkhead backup restore` and `bulkhead key phrase`: a user's data and the
 * means to get it back. Restoring happens on this PC, where the key is; the server only ever holds
 * what it cannot read.
 */
#include "agent_link.h"
#include "guest.h"
#include "output.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "phrase.h"

static int run_backup(const struct cli_context *context)
{
	json_t *result = NULL;
	int status = agent_link_call(
	    context, json_pack("{s:s, s:s}", "call", "backup", "guest", cli_argument(context, 0)),
	    -1, &result);

	json_decref(result);
	if (status == CLI_OK)
		printf("%s: backed up.\n", cli_argument(context, 0));
	return status;
}

static int run_restore(const struct cli_context *context)
{
	json_t *request =
		   json_pack("{s:s, s:s}", "call", "restore", "guest", cli_argument(context, 0)),
	       *result = NULL;
	uint64_t number = 0;
	char *phrase = NULL;
	int file = -1, status = cli_number(context, "number", 1, INT32_MAX, &number);

	if (status == CLI_OK && cli_value(context, "file") && !cli_value(context, "into"))
		status = cli_usage(context, "--file needs --into FILE: where to write it");

	if (status == CLI_OK && cli_switch(context, "phrase")) {
		phrase = guest_read_phrase(context);
		status = phrase ? CLI_OK : CLI_FAILED;
	}
	if (status != CLI_OK) {
		json_decref(request);
		return status;
	}
	if (number > 0)
		json_object_set_new(request, "number", json_integer((json_int_t)number));
	if (phrase)
		json_object_set_new(request, "phrase", json_string(phrase));
	if (cli_value(context, "disk"))
		json_object_set_new(request, "disk", json_string(cli_value(context, "disk")));
	if (cli_value(context, "file"))
		json_object_set_new(request, "path", json_string(cli_value(context, "file")));
	if (cli_value(context, "into")) {
		/* Opened here: the agent has other rights than who asks. */
		json_object_set_new(request, "copy", json_true());
		file = open(cli_value(context, "into"), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
		if (file < 0) {
			json_decref(request);
			request = NULL;
			status = cli_fail(context, "%s: %s", cli_value(context, "into"),
					  errno == EEXIST ? "is there already; choose another name"
							  : strerror(errno));
		}
	}
	if (status == CLI_OK)
		status = agent_link_call(context, request, file, &result);
	if (file >= 0 && close(file) != 0 && status == CLI_OK)
		status = cli_fail(context, "%s: %s", cli_value(context, "into"), strerror(errno));
	if (file >= 0 && status != CLI_OK)
		unlink(cli_value(context, "into"));
	if (phrase)
		explicit_bzero(phrase, strlen(phrase));
	free(phrase);
	json_decref(result);
	if (status == CLI_OK && !cli_value(context, "into"))
		printf("%s: restored; this PC is its writer now.\n", cli_argument(context, 0));
	return status;
}

static int run_phrase(const struct cli_context *context)
{
	char phrase[PHRASE_TEXT_BYTES];
	json_t *result = NULL;
	int status;

	phrase_generate(phrase);
	status = agent_link_call(context,
				 json_pack("{s:s, s:s, s:s}", "call", "copies", "guest",
					   cli_argument(context, 0), "phrase", phrase),
				 -1, &result);
	json_decref(result);
	if (status == CLI_OK)
		printf("Write these nine words down and keep them away from this PC. With them, "
		       "and only with them, you\n"
		       "can bring %s's data back on another one:\n\n  %s\n\n"
		       "A phrase made earlier still opens the copies that were sealed to it.\n",
		       cli_argument(context, 0), phrase);
	explicit_bzero(phrase, sizeof(phrase));
	return status;
}

static const struct cli_option link_options[] = {AGENT_LINK_OPTIONS, {0}};

static const struct cli_option restore_options[] = {
    {"number", "N", "the backup to bring back (default: the newest)", 0, false},
    {"phrase", NULL, "read a recovery phrase from standard input: this PC does not have the key", 0,
     false},
    {"disk", "NAME", "another disk of yours than this guest's own", 0, false},
    {"file", "PATH", "only this file of the disk, from its / on; with --into", 0, false},
    {"into", "FILE", "write it to a file and leave the guest's disk as it is", 0, false},
    AGENT_LINK_OPTIONS,
    {0}};

const struct cli_command own_data_commands[] = {
    {"backup run", "GUEST", "back a guest's data up now",
     "Only what changed is sent. While the guest runs its file systems are frozen for a moment "
     "through its guest agent; "
     "without one the backup is as after a power cut, and labelled so.",
     "bulkhead backup run work", link_options, 1, 1, run_backup},
    {"backup restore", "GUEST", "bring a guest's data back on this PC",
     "The guest must be stopped. This PC becomes the writer of the disk; what a lost PC sends "
     "later is kept on a side "
     "branch and overwrites nothing.",
     "bulkhead backup restore work --phrase", restore_options, 1, 1, run_restore},
    {"key phrase", "GUEST", "make a recovery phrase for a guest's data",
     "A copy of the disk's key, sealed to nine words that are printed once, is kept by the server, "
     "which cannot open "
     "it.",
     NULL, link_options, 1, 1, run_phrase},
    {0},
};
