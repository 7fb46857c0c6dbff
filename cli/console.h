/*
 * `bulkhead console`: what a person sees on the service domain's screen. Guests, their state, what the company may, and
 * one guest's own console in front. The last line of the screen is always ours and says which guest gets the keys.
 */
#ifndef BULKHEAD_CLI_CONSOLE_H
#define BULKHEAD_CLI_CONSOLE_H

#include "command.h"
#include "vt.h"

#include "agent/phrase.h"

#include <jansson.h>

#define CONSOLE_GUESTS_MAX 9
#define CONSOLE_NAME_MAX   64

/** A guest as the person knows it, and the connection to its console. */
struct console_guest {
	char name[CONSOLE_NAME_MAX];
	char state[CONSOLE_NAME_MAX]; /**< as the agent says */
	char path[256];		      /**< its console's socket */
	bool is_personal;
	long long release, last_backup;
	int arrived_percent; /**< -1: nothing arrives */
	int file;	     /**< -1: not connected */
	struct vt screen;
};

struct console {
	char company_socket[200], personal_socket[200];
	struct console_guest guests[CONSOLE_GUESTS_MAX];
	int guest_count, front; /**< front: index, or -1 for the overview */
	int chosen;		/**< in the overview */
	unsigned int rows, columns;
	json_t *company, *personal; /**< the agents' states, or NULL */
	char message[256];	    /**< what the last act said */
	char words[PHRASE_TEXT_BYTES]; /**< a recovery phrase, until the next key; empty: none */
	bool asks_revert;	       /**< the next r goes back */
	char key[16];		    /**< an escape sequence typed so far */
	size_t key_bytes;
	bool ends;
};

/** Asks both agents; guests keep their place and connection. */
void console_refresh(struct console *console);

/** Draws the whole screen into @out, which the caller frees; only text and sequences of ours, whatever guests wrote. */
char *console_draw(const struct console *console, size_t *bytes);

/** The row of the table of commands. */
extern const struct cli_command console_commands[];

#endif
