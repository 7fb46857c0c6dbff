/*
 * Forms of the console's overview: what a person is asked before an agent does something that needs more than a key. A form
 * lets them choose something that lies on a disk they plugged in, then fill in lines; Escape gives it up at any time, and so
 * does bringing a guest to the front.
 */
#ifndef BULKHEAD_CLI_CONSOLE_FORM_H
#define BULKHEAD_CLI_CONSOLE_FORM_H

#include "stick.h"

#include <stdbool.h>
#include <stddef.h>

#define FORM_SOURCES_MAX 9 /* a digit each */
#define FORM_FIELDS_MAX	 2
#define FORM_TEXT_BYTES	 1024

struct console;

/** Something to choose. */
struct form_source {
	char text[128];		      /**< as the person reads it */
	char stick[STICK_NAME_BYTES]; /**< the file system it lies on; empty: the company's server */
	char guest[64];		      /**< whose backup it is; empty: it is none */
	int file;		      /**< what it names, opened to be read; -1: opened later */
};

/** One of the forms: what it says and asks. */
struct form_kind {
	const char *title, *text;
	const char *choice; /**< what is chosen; NULL: nothing is */
	bool may_type;	    /**< the first line may be typed instead of choosing */
	struct {
		const char *label;
		const char *usual; /**< stands there already; NULL: nothing does */
		bool can_be_empty;
	} fields[FORM_FIELDS_MAX]; /**< up to the first without a label */
	void (*look)(struct console *console); /**< finds what can be chosen */
	bool (*submit)(struct console *console); /**< false: form.wrong says why not */
};

struct console_form {
	const struct form_kind *kind; /**< NULL: none is shown */
	struct form_source sources[FORM_SOURCES_MAX];
	int source_count, source; /**< source: chosen; -1: not yet */
	int field;		  /**< the line that is typed in */
	char fields[FORM_FIELDS_MAX][FORM_TEXT_BYTES];
	char wrong[128];
};

extern const struct form_kind form_enrol, form_make, form_save, form_get_back;

void form_open(struct console *console, const struct form_kind *kind);

/** Gives the form up and forgets what was typed. Nothing happens when none is shown. */
void form_close(struct console *console);

/** A whole key, while a form is shown. */
void form_key(struct console *console, const char *key, size_t bytes);

/** Whether the person has to choose before anything can be typed or sent. */
bool form_chooses(const struct console_form *form);

#endif
