/* What a person does in the console's overview: a key that acts at once, asks once more, or opens a form. See console.h. */
#include "agent_link.h"
#include "console.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static void no_progress(void *context, const char *line)
{
}

json_t *console_ask(const char *socket, json_t *request, char *error, size_t error_bytes)
{
	json_t *result = NULL;

	if (agent_link_ask(socket, request, -1, no_progress, NULL, &result, error, error_bytes) != 0)
		return NULL;
	return result;
}

static void say(struct console *console, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void say(struct console *console, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(console->message, sizeof(console->message), format, arguments);
	va_end(arguments);
}

void console_to_front(struct console *console, int index)
{
	form_close(console);
	console->message[0] = '\0';
	console->asks = '\0';
	console->shows_keys = false;
	explicit_bzero(console->words, sizeof(console->words));
	if (index >= console->guest_count) {
		say(console, "there is no guest %d", index + 1);
		return;
	}
	console->front = console->chosen = index;
	if (console->guests[index].is_taken) {
		console->guests[index].is_taken = false;
		console_refresh(console);
	}
}

static struct console_guest *chosen(struct console *console)
{
	if (console->chosen < console->guest_count)
		return &console->guests[console->chosen];
	say(console, "there is no guest yet; h lists what can be done");
	return NULL;
}

static const char *socket_of(const struct console *console, const struct console_guest *guest)
{
	return guest->is_personal ? console->personal_socket : console->company_socket;
}

/* ---- what is done at once ---- */

/** Has a guest's agent do something; says @done, or why not. @request is taken over. */
static void act(struct console *console, const struct console_guest *guest, json_t *request, const char *done)
{
	char error[512] = "";
	size_t named = strlen(guest->name);

	json_decref(console_ask(socket_of(console, guest), request, error, sizeof(error)));
	if (strncmp(error, guest->name, named) == 0 && strncmp(error + named, ": ", 2) == 0)
		say(console, "%s", error);
	else
		say(console, "%s: %s", guest->name, error[0] ? error : done);
	console_refresh(console);
}

static json_t *call(const struct console_guest *guest, const char *name)
{
	return json_pack("{s:s, s:s}", "call", name, "guest", guest->name);
}

static json_t *personal(const struct console_guest *guest, const char *action)
{
	return json_pack("{s:s, s:s, s:s}", "call", "personal", "do", action, "guest", guest->name);
}

static void start(struct console *console, struct console_guest *guest)
{
	act(console, guest, call(guest, "start"), "started");
}

static void end(struct console *console, struct console_guest *guest)
{
	act(console, guest, call(guest, "stop"), "asked to end");
}

static void revert(struct console *console, struct console_guest *guest)
{
	act(console, guest, call(guest, "revert"), "the release before is used from the next start on");
}

static void describe(struct console *console, struct console_guest *guest)
{
	act(console, guest, personal(guest, "describe"), "described anew, from the next start on");
}

static void remove_guest(struct console *console, struct console_guest *guest)
{
	act(console, guest, personal(guest, "remove"), "removed");
}

/* ---- what takes long ---- */

bool console_errand(struct console *console, const char *socket, const char *guest, const char *done, json_t *request, int file)
{
	if (console->errand)
		json_decref(request);
	else
		console->errand = errand_begin(socket, request, file);
	if (!console->errand) {
		snprintf(console->form.wrong, sizeof(console->form.wrong), "there is no memory for it");
		say(console, "%s: there is no memory for it", guest);
		return false;
	}
	console->errand_progress[0] = '\0';
	snprintf(console->errand_of, sizeof(console->errand_of), "%s", guest);
	snprintf(console->errand_done, sizeof(console->errand_done), "%s", done);
	return true;
}

void console_tend_errand(struct console *console)
{
	struct errand_end end;
	const char *words;

	if (!console->errand)
		return;
	errand_progress(console->errand, console->errand_progress, sizeof(console->errand_progress));
	if (console->front >= 0 || !errand_is_over(console->errand, &end))
		return;
	console->errand = NULL;
	words = json_string_value(json_object_get(end.result, "phrase")) ?: console->errand_words;
	if (!end.error[0])
		snprintf(console->words, sizeof(console->words), "%s", words);
	explicit_bzero(console->errand_words, sizeof(console->errand_words));
	say(console, "%s: %s", console->errand_of, end.error[0] ? end.error : console->errand_done);
	json_decref(end.result);
	console_refresh(console);
}

/** Seals a company's guest's data to nine new words, and shows them once they hold. */
static void make_words(struct console *console, struct console_guest *guest)
{
	char words[PHRASE_TEXT_BYTES];
	json_t *request = call(guest, "copies");

	phrase_generate(words);
	json_object_set_new(request, "phrase", json_string(words));
	if (console_errand(console, console->company_socket, guest->name, "write the words down; any key takes them from the screen",
			   request, -1))
		memcpy(console->errand_words, words, sizeof(words));
	explicit_bzero(words, sizeof(words));
}

static void save(struct console *console, struct console_guest *guest)
{
	if (guest->is_personal)
		form_open(console, &form_save);
	else
		console_errand(console, console->company_socket, guest->name, "backed up", call(guest, "backup"), -1);
}

static void make(struct console *console, struct console_guest *guest)
{
	form_open(console, &form_make);
}

static void get_back(struct console *console, struct console_guest *guest)
{
	form_open(console, &form_get_back);
}

static void enrol(struct console *console, struct console_guest *guest)
{
	if (json_is_true(json_object_get(console->company, "enrolled")))
		say(console, "this PC is enrolled already");
	else
		form_open(console, &form_enrol);
}

static void show_keys(struct console *console, struct console_guest *guest)
{
	console->shows_keys = true;
}

static void quit(struct console *console, struct console_guest *guest)
{
	console->ends = true;
}

/* ---- the keys ---- */

enum whose { ANY, COMPANYS, OWN, NO_GUEST };

static const struct overview_key {
	char key;
	enum whose whose;     /* which guest it is for */
	bool takes_long;      /* an errand: one at a time */
	const char *question; /* asked before; the key once more means yes */
	void (*act)(struct console *console, struct console_guest *guest);
} keys[] = {
	{'s', ANY, false, NULL, start},
	{'e', ANY, false, NULL, end},
	{'r', COMPANYS, false, "back to the release before? r again", revert},
	{'w', COMPANYS, true, NULL, make_words},
	{'b', ANY, true, NULL, save},
	{'g', NO_GUEST, true, NULL, get_back},
	{'m', NO_GUEST, true, NULL, make},
	{'d', OWN, false, NULL, describe},
	{'x', OWN, false, "gone for good, with all that is in it? x again", remove_guest},
	{'n', NO_GUEST, true, NULL, enrol},
	{'h', NO_GUEST, false, NULL, show_keys},
	{'q', NO_GUEST, true, NULL, quit},
};

static void press(struct console *console, const struct overview_key *key, bool is_sure)
{
	struct console_guest *guest = key->whose == NO_GUEST ? NULL : chosen(console);

	if (key->whose != NO_GUEST && !guest)
		return;
	if ((key->whose == COMPANYS && guest->is_personal) || (key->whose == OWN && !guest->is_personal)) {
		say(console, "%s is %s; %c is for the %s", guest->name, guest->is_personal ? "yours" : "your company's", key->key,
		    guest->is_personal ? "company's" : "ones that are yours");
	} else if (key->takes_long && console->errand) {
		say(console, "wait until %s is done", console->errand_of);
	} else if (key->question && !is_sure) {
		say(console, "%s: %s", guest->name, key->question);
		console->asks = key->key;
	} else {
		key->act(console, guest);
	}
}

void console_overview_key(struct console *console, const char *key, size_t bytes)
{
	bool showed = console->words[0] || console->shows_keys;
	char asked = console->asks;

	console->message[0] = '\0';
	console->asks = '\0';
	console->shows_keys = false;
	explicit_bzero(console->words, sizeof(console->words));
	if (showed)
		return;
	if (bytes == 3 && key[2] == 'A' && console->chosen > 0)
		console->chosen--;
	else if (bytes == 3 && key[2] == 'B' && console->chosen + 1 < console->guest_count)
		console->chosen++;
	if (bytes != 1)
		return;
	if (key[0] >= '1' && key[0] <= '9')
		console_to_front(console, key[0] - '1');
	else if (key[0] == '\r' || key[0] == '\n')
		console_to_front(console, console->chosen);
	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
		if (keys[i].key == key[0])
			press(console, &keys[i], asked == key[0]);
}
