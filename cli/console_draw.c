/* The screen of `bulkhead console`: see console.h. */
#include "console.h"
#include "output.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/** A page of text that is cut to the screen: nothing wraps, nothing scrolls. */
struct page {
	FILE *out;
	unsigned int row, rows, columns;
};

/** One line of at most the screen's width. Control characters, which names from a server could hold, become '?'. */
static void line(struct page *page, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void line(struct page *page, const char *format, ...)
{
	char text[1024];
	unsigned int columns = 0;
	va_list arguments;

	if (page->row >= page->rows)
		return;
	va_start(arguments, format);
	vsnprintf(text, sizeof(text), format, arguments);
	va_end(arguments);
	fprintf(page->out, "\033[%u;1H", ++page->row);
	for (const char *byte = text; *byte && columns < page->columns; byte++, columns++)
		fputc((unsigned char)*byte >= ' ' && (unsigned char)*byte < 0x7f ? *byte : '?', page->out);
	fputs("\033[K", page->out);
}

static void heading(struct page *page, const char *text)
{
	line(page, "%s", "");
	fputs("\033[1m", page->out);
	line(page, "%s", text);
	fputs("\033[0m", page->out);
}

/** A text of several lines, broken at spaces. */
static void draw_text(struct page *page, const char *text)
{
	while (*text) {
		size_t most = page->columns > 10 ? page->columns - 6 : 4, length = strlen(text), next;

		if (length > most)
			for (length = most; length > 1 && text[length] != ' '; length--)
				;
		line(page, "   %.*s", (int)length, text);
		next = length + strspn(text + length, " ");
		text += next;
	}
}

static void pen(FILE *out, const struct vt_cell *cell)
{
	fputs("\033[0", out);
	if (cell->attributes & VT_BOLD)
		fputs(";1", out);
	if (cell->attributes & VT_UNDERLINE)
		fputs(";4", out);
	if (cell->attributes & VT_REVERSE)
		fputs(";7", out);
	if (cell->foreground < 16)
		fprintf(out, ";%d", cell->foreground < 8 ? 30 + cell->foreground : 82 + cell->foreground);
	if (cell->background < 16)
		fprintf(out, ";%d", cell->background < 8 ? 40 + cell->background : 92 + cell->background);
	fputc('m', out);
}

static void put_character(FILE *out, uint32_t character)
{
	if (character < 0x80) {
		fputc((int)character, out);
	} else if (character < 0x800) {
		fputc((int)(0xc0 | character >> 6), out);
		fputc((int)(0x80 | (character & 0x3f)), out);
	} else {
		fputc((int)(0xe0 | character >> 12), out);
		fputc((int)(0x80 | (character >> 6 & 0x3f)), out);
		fputc((int)(0x80 | (character & 0x3f)), out);
	}
}

static bool looks_other(const struct vt_cell *one, const struct vt_cell *two)
{
	return one->foreground != two->foreground || one->background != two->background ||
	       one->attributes != two->attributes;
}

static void draw_guest(FILE *out, const struct vt *screen)
{
	for (unsigned int row = 0; row < screen->rows; row++) {
		const struct vt_cell *before = NULL;

		fprintf(out, "\033[%u;1H", row + 1);
		for (unsigned int column = 0; column < screen->columns; column++) {
			const struct vt_cell *cell = vt_cell(screen, row, column);

			if (!before || looks_other(before, cell))
				pen(out, cell);
			put_character(out, cell->character);
			before = cell;
		}
	}
	fputs("\033[0m", out);
}

static const char *when(long long seconds, char text[32])
{
	time_t at = (time_t)seconds;
	struct tm parts;

	if (seconds <= 0 || !localtime_r(&at, &parts) || !strftime(text, 32, "%Y-%m-%d %H:%M", &parts))
		return "never";
	return text;
}

static void draw_guests(struct page *page, const struct console *console)
{
	char text[32];

	heading(page, "   GUEST            WHOSE      STATE                 RELEASE  LAST BACKUP");
	if (console->guest_count == 0)
		line(page, "   No guest is on this PC yet.");
	for (int i = 0; i < console->guest_count; i++) {
		const struct console_guest *guest = &console->guests[i];
		char state[96];

		snprintf(state, sizeof(state), guest->arrived_percent >= 0 ? "%s, %d %% here" : "%s", guest->state,
			 guest->arrived_percent);
		if (i == console->chosen)
			fputs("\033[7m", page->out);
		/* A machine of one's own has no releases, and its backups are known to the disk that holds them only. */
		if (guest->is_personal)
			line(page, "%d  %-16s %-10s %-21s %-8s %s", i + 1, guest->name, "yours", state, "-", "-");
		else
			line(page, "%d  %-16s %-10s %-21s %-8lld %s", i + 1, guest->name, "company's", state, guest->release,
			     when(guest->last_backup, text));
		fputs("\033[0m", page->out);
	}
}

static void draw_lease(struct page *page, const struct console *console)
{
	const json_t *vault = json_object_get(console->company, "vault"), *lease = json_object_get(vault, "lease");
	const char *reason = json_string_value(json_object_get(vault, "reason"));
	const char *status = json_string_value(json_object_get(console->company, "status"));
	bool tpm = strcmp(json_string_value(json_object_get(vault, "enforcement")) ?: "", "tpm") == 0;
	char date[32], left[24];

	heading(page, "Lease");
	if (!console->company)
		line(page, "   The company's agent does not answer.");
	else if (!json_is_true(json_object_get(console->company, "enrolled")))
		line(page, "   This PC is not enrolled. n does it, with a token from your company");
	else if (!lease)
		line(page, "   None yet.");
	else
		line(page, "   until %s; %s of running and %lld starts are left; enforced by %s",
		     when(json_integer_value(json_object_get(lease, "not_after")), date),
		     output_duration((uint64_t)json_integer_value(json_object_get(lease, "powered_seconds_left")), left),
		     (long long)json_integer_value(json_object_get(lease, "starts_left")),
		     tpm ? "the TPM" : "this PC's software only (no TPM)");
	if (status && strcmp(status, "active") != 0)
		line(page, "   The company has marked this PC: %s", status);
	if (reason)
		line(page, "   The company's guests cannot start: %s", reason);
}

/** Policy fields as "name value" pairs, as many a line as fit; what the company set comes with its source. */
static void draw_policy(struct page *page, const struct console *console)
{
	json_t *policy = json_object_get(console->company, "policy"), *field;
	const char *name;
	char text[512] = "  ";

	heading(page, "Policy in force for the company's guests");
	json_object_foreach(policy, name, field)
	{
		const char *from = json_string_value(json_object_get(field, "from"));
		const char *enforcer = json_string_value(json_object_get(field, "enforced_by"));
		char *value = json_dumps(json_object_get(field, "value"), JSON_ENCODE_ANY | JSON_COMPACT);
		char entry[256];

		if (from && strcmp(from, "built-in") == 0 && page->rows < 40) {
			free(value);
			continue;
		}
		snprintf(entry, sizeof(entry), " %s %.60s (%s%s);", name, value ? value : "?", from ? from : "?",
			 enforcer && strncmp(enforcer, "not ", 4) == 0 ? ", not enforced" : "");
		free(value);
		if (strlen(text) + strlen(entry) > page->columns || strlen(text) + strlen(entry) >= sizeof(text)) {
			line(page, "%s", text);
			strcpy(text, "  ");
		}
		strcat(text, entry);
	}
	line(page, "%s", strlen(text) > 2 ? text : "   Nothing beyond the built-in values.");
}

static void draw_sight(struct page *page)
{
	heading(page, "What the company sees of this PC");
	line(page, "   its guests' names, releases, states; their space; the lease; when and how much");
	line(page, "What it cannot see");
	line(page, "   your own guests, or that there are any; what is in a guest or in a backup");
	line(page, "What this PC's service domain sees of every guest, whoever rules it");
	line(page, "   network, keys typed, screen; not the memory of a protected guest");
}

/** A page of ours that is no overview: begun with its heading, and filled up to the last line but one. */
static struct page begin_page(FILE *out, const struct console *console, const char *title)
{
	struct page page = {.out = out, .rows = console->rows - 1, .columns = console->columns};

	fputs("\033[0m", out);
	heading(&page, title);
	line(&page, "%s", "");
	return page;
}

static void end_page(struct page *page)
{
	while (page->row < page->rows)
		line(page, "%s", "");
}

static void draw_words(FILE *out, const struct console *console)
{
	struct page page = begin_page(out, console, "Write these nine words down and keep them away from this PC:");
	char text[CONSOLE_NAME_MAX + 96];

	line(&page, "   %s", console->words);
	line(&page, "%s", "");
	snprintf(text, sizeof(text), "With them, and only with them, you can bring the data of %s back on another PC.",
		 console->errand_of);
	draw_text(&page, text);
	draw_text(&page, "Words made earlier still open the copies that were sealed to them.");
	end_page(&page);
}

static void draw_keys(FILE *out, const struct console *console)
{
	static const char *const texts[] = {
		"Alt-1..9  that guest to the front; in the overview the digit does it, too",
		"F12 Alt-0 the overview",
		"",
		"Of the guest that is chosen (arrows):",
		"s         start it",
		"e         ask it to end",
		"b         back it up now; yours: to a disk that you plug in",
		"r r       company's: go back to the release before",
		"w         company's: make nine words that bring its data back on another PC",
		"d         yours: describe it anew, after it changed or Bulkhead was updated",
		"x x       yours: remove it for good",
		"",
		"g         bring a guest's data back from a backup, with its nine words",
		"m         make a guest of your own from a disk image that you plug in",
		"n         make this PC a device of your company, with a token",
		"q         end this program",
	};
	struct page page = begin_page(out, console, "Keys");

	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		line(&page, "   %s", texts[i]);
	end_page(&page);
}

static void draw_choice(struct page *page, const struct console_form *form)
{
	line(page, "%s", "");
	if (!form_chooses(form)) {
		if (form->source >= 0)
			line(page, "   From: %s", form->sources[form->source].text);
		return;
	}
	draw_text(page, form->kind->choice);
	for (int i = 0; i < form->source_count; i++)
		line(page, "   %d  %s", i + 1, form->sources[i].text);
	if (form->source_count == 0)
		line(page, "   Nothing is plugged in that could be chosen; Enter looks again");
}

/** The lines that are typed; of a long one its end. Leaves the place of the cursor in @row and @column; 0: nowhere. */
static void draw_fields(struct page *page, const struct console_form *form, unsigned int *row, unsigned int *column)
{
	bool can_type = !form_chooses(form) || form->kind->may_type;

	line(page, "%s", "");
	for (int i = 0; can_type && i <= form->field && i < FORM_FIELDS_MAX && form->kind->fields[i].label; i++) {
		const char *label = form->kind->fields[i].label, *text = form->fields[i];
		size_t before = strlen(label) + 5, most = page->columns > before + 1 ? page->columns - before - 1 : 0;

		text += strlen(text) > most ? strlen(text) - most : 0;
		line(page, "   %s: %s", label, text);
		*row = page->row;
		*column = (unsigned int)(before + strlen(text)) + 1;
	}
}

static void draw_form(FILE *out, const struct console *console)
{
	const struct console_form *form = &console->form;
	struct page page = begin_page(out, console, form->kind->title);
	unsigned int row = 0, column = 0;

	draw_text(&page, form->kind->text);
	draw_choice(&page, form);
	draw_fields(&page, form, &row, &column);
	line(&page, "%s", "");
	draw_text(&page, form->wrong);
	end_page(&page);
	if (row > 0)
		fprintf(out, "\033[s\033[%u;%uH\033[7m \033[0m\033[u", row, column);
}

/** What does not fit on the last line, which says it too. */
static void draw_message(struct page *page, const struct console *console)
{
	if (strlen(console->message) < console->columns)
		return;
	line(page, "%s", "");
	draw_text(page, console->message);
}

static void draw_overview(FILE *out, const struct console *console)
{
	struct page page = {.out = out, .rows = console->rows - 1, .columns = console->columns};

	fputs("\033[0;1m", out);
	line(&page, "Bulkhead");
	fputs("\033[0m", out);
	draw_guests(&page, console);
	draw_message(&page, console);
	draw_lease(&page, console);
	draw_policy(&page, console);
	heading(&page, "");
	page.row -= page.row < page.rows ? 2 : 0;
	draw_sight(&page);
	end_page(&page);
}

/** The last line of the screen: ours alone. */
static void draw_status(FILE *out, const struct console *console)
{
	char text[sizeof(console->message) + 1];
	unsigned int columns = 0;

	if (console->front >= 0 && console->guests[console->front].is_taken) {
		snprintf(text, sizeof(text), " %s: another console has taken it; Alt-%d takes it back | F12 overview",
			 console->guests[console->front].name, console->front + 1);
	} else if (console->front >= 0) {
		const struct console_guest *guest = &console->guests[console->front];

		snprintf(text, sizeof(text), " IN FRONT: %s (%s), %s, keys go there | Alt-1..9 | F12 overview",
			 guest->name, guest->is_personal ? "yours" : "company's",
			 guest->file >= 0 ? guest->state : "no console");
	} else if (console->form.kind) {
		snprintf(text, sizeof(text), " IN FRONT: Bulkhead | %s | Esc gives up",
			 form_chooses(&console->form) ? "a digit chooses"
			 : console->form.field > 0   ? "Enter goes on | up goes back"
						     : "Enter goes on");
	} else if (console->message[0]) {
		snprintf(text, sizeof(text), " %s", console->message);
	} else if (console->words[0] || console->shows_keys) {
		snprintf(text, sizeof(text), " IN FRONT: Bulkhead | any key goes back to the overview");
	} else if (console->errand) {
		snprintf(text, sizeof(text), " IN FRONT: Bulkhead | %s: %s ...", console->errand_of,
			 console->errand_progress[0] ? console->errand_progress : "under way");
	} else {
		snprintf(text, sizeof(text), " IN FRONT: Bulkhead | 1-9 to the front | arrows | s start e end | h all keys");
	}
	/* Colours no guest's cell decides: the whole line is reversed, guests never draw on it. */
	fprintf(out, "\033[%u;1H\033[0;1;7m", console->rows);
	for (const char *byte = text; columns < console->columns; columns++) {
		fputc(!*byte ? ' ' : (unsigned char)*byte >= ' ' && (unsigned char)*byte < 0x7f ? *byte : '?', out);
		byte += *byte != '\0';
	}
	fputs("\033[0m", out);
}

char *console_draw(const struct console *console, size_t *bytes)
{
	char *text = NULL;
	FILE *out = open_memstream(&text, bytes);

	if (!out)
		return NULL;
	/* Autowrap off: the last cell of the last line must not scroll the screen. */
	fputs("\033[?7l\033[?25l", out);
	if (console->front >= 0) {
		const struct console_guest *guest = &console->guests[console->front];

		draw_guest(out, &guest->screen);
		draw_status(out, console);
		fprintf(out, "\033[%u;%uH%s", guest->screen.cursor.row + 1, guest->screen.cursor.column + 1,
			guest->screen.cursor_hidden ? "" : "\033[?25h");
	} else {
		if (console->form.kind)
			draw_form(out, console);
		else if (console->words[0])
			draw_words(out, console);
		else if (console->shows_keys)
			draw_keys(out, console);
		else
			draw_overview(out, console);
		draw_status(out, console);
	}
	fclose(out);
	return text;
}
