/*
 * `bulkhead console`: what a person sees on the service domain's screen. Guests, their state, what the company may, and
 * one guest's own console in front. The last line of the screen is always ours and says which guest gets the keys.
 */
#ifndef BULKHEAD_CLI_CONSOLE_H
#define BULKHEAD_CLI_CONSOLE_H

#include "command.h"
#include "console_form.h"
#include "errand.h"
#include "vt.h"

#include "agent/phrase.h"

#include <jansson.h>

#define CONSOLE_GUESTS_MAX 9
#define CONSOLE_NAME_MAX   64
#define CONSOLE_TYPED_MAX  16384 /* bytes that wait for a guest which is slow to take them; what is typed beyond is lost */

/** A guest as the person knows it, and the connection to its console. */
struct console_guest {
	char name[CONSOLE_NAME_MAX];
	char state[CONSOLE_NAME_MAX]; /**< as the agent says */
	char path[256];		      /**< its console's socket */
	bool is_personal;
	long long release, last_backup;
	int arrived_percent; /**< -1: nothing arrives */
	int file;	     /**< -1: not connected */
	bool is_taken;	     /**< somebody else has connected since; only its person takes it back */
	char typed[CONSOLE_TYPED_MAX]; /**< what it has not taken yet */
	size_t typed_bytes;
	struct vt screen;
};

struct console {
	char company_socket[200], personal_socket[200];
	struct console_guest guests[CONSOLE_GUESTS_MAX];
	int guest_count, front; /**< front: index, or -1 for the overview */
	int chosen;		/**< in the overview */
	unsigned int rows, columns;
	json_t *company, *personal; /**< the agents' states, or NULL */
	char message[640];	    /**< what the last act said */
	char words[PHRASE_TEXT_BYTES]; /**< a recovery phrase, until the next key; empty: none */
	char asks;		       /**< a key that does it when it is pressed once more; 0: none */
	bool shows_keys;	       /**< the page of keys, until the next one */
	struct console_form form;
	struct errand *errand; /**< what an agent does for the person now, or NULL; */
	char errand_progress[128];		  /**< how far it is, */
	char errand_of[CONSOLE_NAME_MAX];	  /**< for which guest, */
	char errand_done[96];			  /**< what to say when it went well, */
	char errand_words[PHRASE_TEXT_BYTES]; /**< and the phrase that holds then; empty: the answer has it, or there is none */
	char key[16];		    /**< an escape sequence typed so far */
	size_t key_bytes;
	bool ends;
};

/** Asks both agents; guests keep their place and connection. */
void console_refresh(struct console *console);

/**
 * Has an agent do something that may take long; the console says @done of @guest when it is over. @request and @file (-1: none)
 * are taken over. Returns false, with form.wrong saying why, if it cannot begin.
 */
bool console_errand(struct console *console, const char *socket, const char *guest, const char *done, json_t *request,
		    int file);

/** Looks how far the errand is; says what came of it when it is over, in the overview only, where the person sees it. */
void console_tend_errand(struct console *console);

/** A whole key in the overview. */
void console_overview_key(struct console *console, const char *key, size_t bytes);

/** Brings a guest to the front by its index. */
void console_to_front(struct console *console, int index);

/** One request to an agent that is answered at once. Returns its result, the caller's; NULL with one line in @error. */
json_t *console_ask(const char *socket, json_t *request, char *error, size_t error_bytes);

/** Draws the whole screen into @out, which the caller frees; only text and sequences of ours, whatever guests wrote. */
char *console_draw(const struct console *console, size_t *bytes);

/** The row of the table of commands. */
extern const struct cli_command console_commands[];

#endif
