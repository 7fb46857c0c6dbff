/*
 * The terminal in memory and the console's screen. The person's own terminal is played by a second terminal in memory
 * that gets exactly what the console draws: what stands in its last line is what a person sees.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "console.h"
#include "vt.h"

static struct vt screen;

static void start(const char *text)
{
	assert_true(vt_init(&screen, 5, 10));
	vt_write(&screen, (const uint8_t *)text, strlen(text));
}

/** One row of a screen as text, without the spaces at its end. */
static const char *row_of(const struct vt *vt, unsigned int row)
{
	static char text[VT_COLUMNS_MAX + 1];
	unsigned int end = vt->columns;

	for (unsigned int column = 0; column < vt->columns; column++)
		text[column] = (char)vt_cell(vt, row, column)->character;
	while (end > 0 && text[end - 1] == ' ')
		end--;
	text[end] = '\0';
	return text;
}

static void text_wraps_and_scrolls(void **state)
{
	(void)state;
	start("0123456789AB\r\n1\r\n2\r\n3\r\n4");
	assert_string_equal(row_of(&screen, 0), "AB");
	assert_string_equal(row_of(&screen, 4), "4");
	assert_int_equal(screen.cursor.row, 4);
	vt_free(&screen);
}

static void sequences_move_erase_and_colour(void **state)
{
	(void)state;
	start("aaaa\033[2;3Hbb\033[1;31mc\033[0md\033[1;1H\033[2K\033[5;5Hx\033[A\033[2Dy");
	assert_string_equal(row_of(&screen, 0), "");
	assert_string_equal(row_of(&screen, 1), "  bbcd");
	assert_int_equal(vt_cell(&screen, 1, 4)->foreground, 1);
	assert_int_equal(vt_cell(&screen, 1, 4)->attributes, VT_BOLD);
	assert_int_equal(vt_cell(&screen, 1, 5)->foreground, VT_DEFAULT_COLOUR);
	assert_string_equal(row_of(&screen, 3), "   y");
	vt_free(&screen);
}

static void a_scrolling_region_keeps_the_rest(void **state)
{
	(void)state;
	start("a\r\nb\r\nc\r\nd\r\ne\033[2;4r\033[4;1H\n\nz\033[r");
	assert_string_equal(row_of(&screen, 0), "a");
	assert_string_equal(row_of(&screen, 1), "d");
	assert_string_equal(row_of(&screen, 3), "z");
	assert_string_equal(row_of(&screen, 4), "e");
	vt_free(&screen);
}

static void strings_and_unknown_sequences_leave_nothing(void **state)
{
	(void)state;
	start("a\033]0;title\007b\033Pq#0\033\\c\033[>4;1md\033[38;5;196me\033[?2004hf");
	assert_string_equal(row_of(&screen, 0), "abcdef");
	vt_free(&screen);
}

static void characters_that_would_shift_a_line_become_question_marks(void **state)
{
	(void)state;
	/* A combining accent, a wide character, a direction override, a broken sequence. */
	start("a\xcc\x81" "b\xe4\xb8\xad" "c\xe2\x80\xae" "d\xc3" "e");
	assert_string_equal(row_of(&screen, 0), "a?b?c?d?e");
	vt_free(&screen);
}

static void a_cursor_report_is_answered_once(void **state)
{
	char answer[32];

	(void)state;
	start("ab\033[6n");
	assert_string_equal(vt_answer(&screen, answer), "\033[1;3R");
	assert_string_equal(vt_answer(&screen, answer), "");
	vt_free(&screen);
}

static void a_smaller_screen_keeps_the_cursors_line(void **state)
{
	(void)state;
	start("a\r\nb\r\nc\r\nd\r\ne");
	assert_true(vt_resize(&screen, 3, 4));
	assert_string_equal(row_of(&screen, 2), "e");
	assert_int_equal(screen.cursor.row, 2);
	vt_free(&screen);
}

/** Draws the console with a guest in front that wrote @output, onto a terminal; returns that terminal's last line. */
static const char *last_line_after(const char *output, size_t size)
{
	static struct vt terminal;
	struct console console = {.front = 0, .guest_count = 1, .rows = 10, .columns = 60};
	struct console_guest *guest = &console.guests[0];
	static char text[VT_COLUMNS_MAX + 1];
	size_t bytes;
	char *drawn;

	strcpy(guest->name, "work");
	strcpy(guest->state, "running");
	guest->file = -1;
	assert_true(vt_init(&guest->screen, console.rows - 1, console.columns));
	vt_write(&guest->screen, (const uint8_t *)output, size);
	drawn = console_draw(&console, &bytes);
	assert_non_null(drawn);
	vt_free(&terminal);
	assert_true(vt_init(&terminal, console.rows, console.columns));
	vt_write(&terminal, (const uint8_t *)drawn, bytes);
	free(drawn);
	strcpy(text, row_of(&terminal, console.rows - 1));
	/* Its first line is the guest's, so the screen has not scrolled either. */
	assert_int_equal(vt_cell(&terminal, 0, 0)->character, vt_cell(&guest->screen, 0, 0)->character);
	vt_free(&guest->screen);
	return text;
}

static void no_output_of_a_guest_paints_over_the_status_line(void **state)
{
	static const char *const attacks[] = {
		"", "\033[10;1H\033[2KIN FRONT: personal", "\033[999;999Hx\n\n\n\n\n\n\n\n\n\n\nIN FRONT: personal",
		"\033[1;99r\033[99;1Hfake\033[99S", "\033c\033[?1049h\033[10;1Hfake", "\033[8;60;200t\033[50;1Hfake",
		"\033[7;1mIN FRONT: personal\033[K\033[10d\rfake", "\033[?6h\033[10;1Hfake\033[?3h\033[10;1Hfake",
		"\0337\033[10;1H\0338\033M\033M\033M\033D\033E\033[99Bfake\033[99Lfake\033[99Mfake",
	};
	const char *expected = " IN FRONT: work (company's), no console, keys go there | Alt";

	(void)state;
	for (size_t i = 0; i < sizeof(attacks) / sizeof(attacks[0]); i++)
		assert_string_equal(last_line_after(attacks[i], strlen(attacks[i])), expected);
}

static void a_guest_that_another_console_took_gets_no_keys_and_says_so(void **state)
{
	struct console console = {.front = 0, .guest_count = 1, .rows = 10, .columns = 70};
	struct console_guest *guest = &console.guests[0];
	char *drawn;
	size_t bytes;

	(void)state;
	strcpy(guest->name, "work");
	strcpy(guest->state, "running");
	guest->file = -1;
	guest->is_taken = true;
	assert_true(vt_init(&guest->screen, console.rows - 1, console.columns));
	drawn = console_draw(&console, &bytes);
	assert_non_null(drawn);
	assert_non_null(strstr(drawn, " work: another console has taken it; Alt-1 takes it back"));
	assert_null(strstr(drawn, "keys go there"));
	free(drawn);
	vt_free(&guest->screen);
}

/* The control: a terminal that gets the guest's bytes as they are shows what the guest likes in its last line. */
static void passed_on_as_it_is_the_attack_succeeds(void **state)
{
	const char *attack = "\033[10;1H\033[2KIN FRONT: personal";
	struct vt terminal;

	(void)state;
	assert_true(vt_init(&terminal, 10, 60));
	vt_write(&terminal, (const uint8_t *)attack, strlen(attack));
	assert_string_equal(row_of(&terminal, 9), "IN FRONT: personal");
	vt_free(&terminal);
}

static void random_output_never_leaves_the_screen(void **state)
{
	static const char pieces[] = "\033[[];?0123456789HJKLMPXSTrhlmABCDEFGdsun78cMDE@ \n\r\t\bAx\xe2\x94\x80";
	const char *expected = " IN FRONT: work (company's), no console, keys go there | Alt";
	char output[400];

	(void)state;
	srand(1);
	for (int round = 0; round < 300; round++) {
		for (size_t i = 0; i < sizeof(output); i++)
			output[i] = rand() % 4 ? pieces[(size_t)rand() % (sizeof(pieces) - 1)] : (char)rand();
		assert_string_equal(last_line_after(output, sizeof(output)), expected);
	}
}

static int looked, sent;
static char sent_text[FORM_FIELDS_MAX][FORM_TEXT_BYTES];

static void look_for_one(struct console *console)
{
	looked++;
	console->form.sources[0] = (struct form_source){.text = "one", .file = -1};
	console->form.source_count = looked > 1;
}

static bool send_form(struct console *console)
{
	sent++;
	memcpy(sent_text, console->form.fields, sizeof(sent_text));
	return strcmp(sent_text[0], "wrong") != 0;
}

static void type(struct console *console, const char *text)
{
	for (; *text && console->form.kind; text++)
		form_key(console, text, 1);
}

static void a_form_wants_its_choice_first_and_then_every_line(void **state)
{
	static const struct form_kind kind = {.title = "A form",
					      .choice = "One:",
					      .fields = {{.label = "First"}, {.label = "Second", .usual = "2G"}},
					      .look = look_for_one,
					      .submit = send_form};
	struct console console = {.front = -1};

	(void)state;
	looked = sent = 0;
	form_open(&console, &kind);
	type(&console, "x1\r"); /* nothing is there to choose; Enter looks again */
	assert_int_equal(looked, 2);
	assert_true(form_chooses(&console.form));
	type(&console, "2");
	assert_non_null(strstr(console.form.wrong, "no 2"));
	type(&console, "1\r");
	assert_non_null(strstr(console.form.wrong, "type something"));
	type(&console, "wronger\b\b\r\r");
	assert_int_equal(sent, 1);
	assert_string_equal(sent_text[1], "2G");
	assert_non_null(console.form.kind); /* it was not taken, and stands there still */
	type(&console, "\x15" "512M\r");
	assert_string_equal(sent_text[1], "512M");
	assert_int_equal(sent, 2);
	form_key(&console, "\033[A", 3);
	type(&console, "\brong\r\r");
	assert_string_equal(sent_text[0], "wronrong");
	assert_null(console.form.kind);
	form_open(&console, &kind);
	type(&console, "1secret\033");
	assert_null(console.form.kind);
	assert_string_equal(console.form.fields[0], "");
}

static void a_line_can_be_typed_instead_of_choosing_and_has_an_end(void **state)
{
	static const struct form_kind kind = {.title = "A form",
					      .choice = "One:",
					      .may_type = true,
					      .fields = {{.label = "Word"}},
					      .look = look_for_one,
					      .submit = send_form};
	struct console console = {.front = -1};

	(void)state;
	looked = 1;
	sent = 0;
	form_open(&console, &kind);
	for (int i = 0; i < 2 * FORM_TEXT_BYTES; i++)
		type(&console, "b1");
	assert_int_equal(strlen(console.form.fields[0]), FORM_TEXT_BYTES - 1);
	type(&console, "\r");
	assert_int_equal(sent, 1);
	assert_null(console.form.kind);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_form_wants_its_choice_first_and_then_every_line),
		cmocka_unit_test(a_line_can_be_typed_instead_of_choosing_and_has_an_end),
		cmocka_unit_test(text_wraps_and_scrolls),
		cmocka_unit_test(sequences_move_erase_and_colour),
		cmocka_unit_test(a_scrolling_region_keeps_the_rest),
		cmocka_unit_test(strings_and_unknown_sequences_leave_nothing),
		cmocka_unit_test(characters_that_would_shift_a_line_become_question_marks),
		cmocka_unit_test(a_cursor_report_is_answered_once),
		cmocka_unit_test(a_smaller_screen_keeps_the_cursors_line),
		cmocka_unit_test(no_output_of_a_guest_paints_over_the_status_line),
		cmocka_unit_test(a_guest_that_another_console_took_gets_no_keys_and_says_so),
		cmocka_unit_test(passed_on_as_it_is_the_attack_succeeds),
		cmocka_unit_test(random_output_never_leaves_the_screen),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
