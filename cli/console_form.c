/* Forms of the overview: see console_form.h. */
#include "console_form.h"
#include "console.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

static void forget_sources(struct console_form *form)
{
	for (int i = 0; i < form->source_count; i++)
		if (form->sources[i].file >= 0)
			close(form->sources[i].file);
	form->source_count = 0;
	form->source = -1;
}

void form_close(struct console *console)
{
	struct console_form *form = &console->form;

	if (!form->kind)
		return;
	forget_sources(form);
	explicit_bzero(form, sizeof(*form));
}

static void look(struct console *console)
{
	struct console_form *form = &console->form;

	forget_sources(form);
	if (form->kind->look)
		form->kind->look(console);
}

void form_open(struct console *console, const struct form_kind *kind)
{
	struct console_form *form = &console->form;

	form_close(console);
	form->kind = kind;
	for (int i = 0; i < FORM_FIELDS_MAX && kind->fields[i].label; i++)
		if (kind->fields[i].usual)
			snprintf(form->fields[i], FORM_TEXT_BYTES, "%s", kind->fields[i].usual);
	look(console);
}

bool form_chooses(const struct console_form *form)
{
	return form->kind->choice && form->source < 0 &&
	       !(form->kind->may_type && (form->fields[0][0] || form->field > 0));
}

static bool has_field(const struct console_form *form, int field)
{
	return field < FORM_FIELDS_MAX && form->kind->fields[field].label;
}

static void submit(struct console *console)
{
	if (console->form.kind->submit(console))
		form_close(console);
}

/** Goes on to the next line, or sends the form. */
static void next_field(struct console *console)
{
	struct console_form *form = &console->form;

	if (has_field(form, form->field) && !form->fields[form->field][0] && !form->kind->fields[form->field].can_be_empty)
		snprintf(form->wrong, sizeof(form->wrong), "type something here, or give up with Esc");
	else if (has_field(form, form->field + 1))
		form->field++;
	else
		submit(console);
}

/** A file with a line that can as well be typed: into the first field. */
static void take_line(struct console_form *form)
{
	char *text = form->fields[0];
	ssize_t size = pread(form->sources[form->source].file, text, FORM_TEXT_BYTES - 1, 0);

	text[size > 0 ? size : 0] = '\0';
	text[strcspn(text, "\r\n")] = '\0';
	form->field = 1;
}

static void choose(struct console *console, int number)
{
	struct console_form *form = &console->form;

	if (number >= form->source_count) {
		snprintf(form->wrong, sizeof(form->wrong), "there is no %d", number + 1);
		return;
	}
	form->source = number;
	if (form->kind->may_type)
		take_line(form);
	if (!has_field(form, 0))
		submit(console);
}

static void edit(struct console_form *form, char key)
{
	char *text = form->fields[form->field];
	size_t length = strlen(text);

	if ((key == '\b' || key == 0x7f) && length > 0)
		text[length - 1] = '\0';
	else if (key == 'U' - '@')
		explicit_bzero(text, FORM_TEXT_BYTES);
	else if (key >= ' ' && key < 0x7f && length + 1 < FORM_TEXT_BYTES)
		text[length] = key;
}

void form_key(struct console *console, const char *key, size_t bytes)
{
	struct console_form *form = &console->form;

	form->wrong[0] = '\0';
	if (bytes == 1 && key[0] == '\033')
		form_close(console);
	else if (bytes == 3 && key[2] == 'A' && form->field > 0) /* up */
		form->field--;
	else if (bytes != 1)
		return;
	else if (form_chooses(form) && key[0] >= '1' && key[0] <= '9')
		choose(console, key[0] - '1');
	else if (form_chooses(form) && (key[0] == '\r' || key[0] == '\n'))
		look(console);
	else if (key[0] == '\r' || key[0] == '\n')
		next_field(console);
	else if (!form_chooses(form) || form->kind->may_type)
		edit(form, key[0]);
}
