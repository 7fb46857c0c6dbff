/* A terminal in memory: see vt.h. */
#include "vt.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { GROUND, ESCAPE, ESCAPE_SKIP, CONTROL, STRING, STRING_ESCAPE };

static unsigned int clamp(unsigned int value, unsigned int low, unsigned int high)
{
	return value < low ? low : value > high ? high : value;
}

static struct vt_cell blank(const struct vt *vt)
{
	return (struct vt_cell){' ', VT_DEFAULT_COLOUR, vt->cursor.pen.background, 0};
}

static struct vt_cell *at(struct vt *vt, unsigned int row, unsigned int column)
{
	return &vt->cells[(size_t)row * vt->columns + column];
}

const struct vt_cell *vt_cell(const struct vt *vt, unsigned int row, unsigned int column)
{
	return &vt->cells[(size_t)row * vt->columns + column];
}

static void fill(struct vt *vt, unsigned int row, unsigned int from, unsigned int to)
{
	for (unsigned int column = from; column < to; column++)
		*at(vt, row, column) = blank(vt);
}

static void fill_all(struct vt *vt)
{
	for (unsigned int row = 0; row < vt->rows; row++)
		fill(vt, row, 0, vt->columns);
}

static void reset(struct vt *vt)
{
	vt->cursor = vt->saved = vt->normal_cursor =
		(struct vt_cursor){.pen = {' ', VT_DEFAULT_COLOUR, VT_DEFAULT_COLOUR, 0}};
	vt->top = 0;
	vt->bottom = vt->rows - 1;
	vt->cursor_hidden = vt->keypad_keys = vt->no_wrap = vt->insert = false;
	vt->state = GROUND;
	vt->unicode_left = 0;
}

bool vt_init(struct vt *vt, unsigned int rows, unsigned int columns)
{
	memset(vt, 0, sizeof(*vt));
	vt->rows = clamp(rows, 2, VT_ROWS_MAX);
	vt->columns = clamp(columns, 2, VT_COLUMNS_MAX);
	vt->cells = calloc((size_t)vt->rows * vt->columns, sizeof(*vt->cells));
	vt->other = calloc((size_t)vt->rows * vt->columns, sizeof(*vt->other));
	if (!vt->cells || !vt->other) {
		vt_free(vt);
		return false;
	}
	reset(vt);
	fill_all(vt);
	memcpy(vt->other, vt->cells, (size_t)vt->rows * vt->columns * sizeof(*vt->cells));
	return true;
}

void vt_free(struct vt *vt)
{
	free(vt->cells);
	free(vt->other);
	vt->cells = vt->other = NULL;
}

static void keep_within(struct vt_cursor *cursor, unsigned int rows, unsigned int columns)
{
	cursor->row = clamp(cursor->row, 0, rows - 1);
	cursor->column = clamp(cursor->column, 0, columns - 1);
	cursor->wrap_pending = false;
}

bool vt_resize(struct vt *vt, unsigned int rows, unsigned int columns)
{
	struct vt next;
	/* When a screen gets lower the lines above go, so that the cursor's line stays. */
	unsigned int gone;

	if (!vt_init(&next, rows, columns))
		return false;
	gone = vt->cursor.row >= next.rows ? vt->cursor.row - next.rows + 1 : 0;
	for (unsigned int row = 0; row < next.rows && row + gone < vt->rows; row++)
		for (unsigned int column = 0; column < next.columns && column < vt->columns; column++) {
			*at(&next, row, column) = *vt_cell(vt, row + gone, column);
			next.other[(size_t)row * next.columns + column] =
				vt->other[(size_t)row * vt->columns + column];
		}
	free(vt->cells);
	free(vt->other);
	vt->cells = next.cells;
	vt->other = next.other;
	vt->rows = next.rows;
	vt->columns = next.columns;
	vt->top = 0;
	vt->bottom = vt->rows - 1;
	vt->cursor.row -= gone;
	keep_within(&vt->cursor, vt->rows, vt->columns);
	keep_within(&vt->saved, vt->rows, vt->columns);
	keep_within(&vt->normal_cursor, vt->rows, vt->columns);
	return true;
}

/** Moves the lines between two rows up (positive) or down and blanks what comes in. */
static void scroll(struct vt *vt, unsigned int top, unsigned int bottom, int lines)
{
	unsigned int height = bottom - top + 1, distance = clamp((unsigned int)abs(lines), 0, height);
	size_t kept = (size_t)(height - distance) * vt->columns * sizeof(*vt->cells);

	if (lines > 0)
		memmove(at(vt, top, 0), vt->cells + (size_t)(top + distance) * vt->columns, kept);
	else
		memmove(vt->cells + (size_t)(top + distance) * vt->columns, at(vt, top, 0), kept);
	for (unsigned int i = 0; i < distance; i++)
		fill(vt, lines > 0 ? bottom - i : top + i, 0, vt->columns);
}

static void line_down(struct vt *vt)
{
	if (vt->cursor.row == vt->bottom)
		scroll(vt, vt->top, vt->bottom, 1);
	else if (vt->cursor.row + 1 < vt->rows)
		vt->cursor.row++;
}

static void line_up(struct vt *vt)
{
	if (vt->cursor.row == vt->top)
		scroll(vt, vt->top, vt->bottom, -1);
	else if (vt->cursor.row > 0)
		vt->cursor.row--;
}

/** Whether a character takes exactly one column and moves nothing: others would shift what follows on the line. */
static bool is_plain(uint32_t character)
{
	return (character >= 0x20 && character < 0x7f) || (character >= 0xa1 && character < 0x300 && character != 0xad) ||
	       (character >= 0x370 && character < 0x483) || (character >= 0x48a && character < 0x530) ||
	       (character >= 0x2010 && character < 0x2028 && character > 0x200f) || (character >= 0x2030 && character < 0x205f) ||
	       (character >= 0x20a0 && character < 0x20c0) || (character >= 0x2190 && character < 0x231a) ||
	       (character >= 0x2500 && character < 0x25fd);
}

static void put(struct vt *vt, uint32_t character)
{
	struct vt_cursor *cursor = &vt->cursor;

	if (cursor->wrap_pending && !vt->no_wrap) {
		cursor->column = 0;
		line_down(vt);
	}
	cursor->wrap_pending = false;
	if (vt->insert)
		memmove(at(vt, cursor->row, cursor->column) + 1, at(vt, cursor->row, cursor->column),
			(vt->columns - cursor->column - 1) * sizeof(*vt->cells));
	*at(vt, cursor->row, cursor->column) = cursor->pen;
	at(vt, cursor->row, cursor->column)->character = is_plain(character) ? character : '?';
	if (cursor->column + 1 < vt->columns)
		cursor->column++;
	else
		cursor->wrap_pending = true;
}

/** Parameter @index, or @otherwise where it is missing or 0. */
static unsigned int parameter(const struct vt *vt, unsigned int index, unsigned int otherwise)
{
	return index < vt->parameter_count && vt->parameters[index] ? vt->parameters[index] : otherwise;
}

static void set_pen(struct vt *vt)
{
	struct vt_cell *pen = &vt->cursor.pen;

	for (unsigned int i = 0; i < vt->parameter_count; i++) {
		unsigned int code = vt->parameters[i];

		if (code == 0)
			*pen = (struct vt_cell){' ', VT_DEFAULT_COLOUR, VT_DEFAULT_COLOUR, 0};
		else if (code == 1)
			pen->attributes |= VT_BOLD;
		else if (code == 4)
			pen->attributes |= VT_UNDERLINE;
		else if (code == 7)
			pen->attributes |= VT_REVERSE;
		else if (code == 22)
			pen->attributes &= ~VT_BOLD;
		else if (code == 24)
			pen->attributes &= ~VT_UNDERLINE;
		else if (code == 27)
			pen->attributes &= ~VT_REVERSE;
		else if (code >= 30 && code <= 37)
			pen->foreground = (uint8_t)(code - 30);
		else if (code >= 90 && code <= 97)
			pen->foreground = (uint8_t)(code - 82);
		else if (code == 39)
			pen->foreground = VT_DEFAULT_COLOUR;
		else if (code >= 40 && code <= 47)
			pen->background = (uint8_t)(code - 40);
		else if (code >= 100 && code <= 107)
			pen->background = (uint8_t)(code - 92);
		else if (code == 49)
			pen->background = VT_DEFAULT_COLOUR;
		else if (code == 38 || code == 48)
			/* Colours of 256 or of all: their own parameters must not be taken for others. */
			i += i + 1 < vt->parameter_count && vt->parameters[i + 1] == 2 ? 4 : 2;
	}
}

static void show_alternate(struct vt *vt, bool alternate)
{
	struct vt_cell *cells = vt->cells;

	if (vt->alternate == alternate)
		return;
	vt->cells = vt->other;
	vt->other = cells;
	vt->alternate = alternate;
	if (alternate) {
		vt->normal_cursor = vt->cursor;
		fill_all(vt);
	} else {
		vt->cursor = vt->normal_cursor;
	}
}

static void set_mode(struct vt *vt, bool on)
{
	for (unsigned int i = 0; i < vt->parameter_count; i++) {
		unsigned int mode = vt->parameters[i];

		if (vt->private_mark == 0 && mode == 4)
			vt->insert = on;
		if (vt->private_mark != '?')
			continue;
		if (mode == 1)
			vt->keypad_keys = on;
		else if (mode == 7)
			vt->no_wrap = !on;
		else if (mode == 25)
			vt->cursor_hidden = !on;
		else if (mode == 47 || mode == 1047 || mode == 1049)
			show_alternate(vt, on);
	}
}

static void move_to(struct vt *vt, unsigned int row, unsigned int column)
{
	vt->cursor.row = clamp(row, 0, vt->rows - 1);
	vt->cursor.column = clamp(column, 0, vt->columns - 1);
	vt->cursor.wrap_pending = false;
}

static void erase_display(struct vt *vt, unsigned int what)
{
	unsigned int from = what == 0 ? vt->cursor.row + 1 : 0, to = what == 1 ? vt->cursor.row : vt->rows;

	for (unsigned int row = from; row < to; row++)
		fill(vt, row, 0, vt->columns);
}

static void erase_line(struct vt *vt, unsigned int what)
{
	fill(vt, vt->cursor.row, what == 0 ? vt->cursor.column : 0, what == 1 ? vt->cursor.column + 1 : vt->columns);
}

/** Moves what stands right of the cursor by @count columns, left when @deletes. */
static void shift_line(struct vt *vt, unsigned int count, bool deletes)
{
	unsigned int column = vt->cursor.column, left = vt->columns - column;
	size_t kept;

	count = clamp(count, 1, left);
	kept = (left - count) * sizeof(*vt->cells);
	if (deletes)
		memmove(at(vt, vt->cursor.row, column), at(vt, vt->cursor.row, column) + count, kept);
	else
		memmove(at(vt, vt->cursor.row, column) + count, at(vt, vt->cursor.row, column), kept);
	if (deletes)
		fill(vt, vt->cursor.row, vt->columns - count, vt->columns);
	else
		fill(vt, vt->cursor.row, column, column + count);
}

static void set_region(struct vt *vt)
{
	unsigned int top = parameter(vt, 0, 1) - 1, bottom = parameter(vt, 1, vt->rows) - 1;

	if (top < bottom && bottom < vt->rows) {
		vt->top = top;
		vt->bottom = bottom;
		move_to(vt, 0, 0);
	}
}

static void report(struct vt *vt)
{
	if (vt->private_mark == 0 && parameter(vt, 0, 0) == 6)
		snprintf(vt->answer, sizeof(vt->answer), "\033[%u;%uR", vt->cursor.row + 1, vt->cursor.column + 1);
	else if (vt->private_mark == 0 && parameter(vt, 0, 0) == 5)
		snprintf(vt->answer, sizeof(vt->answer), "\033[0n");
}

/** Carries out a control sequence (ECMA-48, 5.4) that ended with @final. */
static void control(struct vt *vt, char final)
{
	struct vt_cursor *cursor = &vt->cursor;
	unsigned int count = clamp(parameter(vt, 0, 1), 1, 1000);
	bool in_region = cursor->row >= vt->top && cursor->row <= vt->bottom;

	switch (final) {
	case 'A': move_to(vt, cursor->row > count ? cursor->row - count : 0, cursor->column); break;
	case 'B': case 'e': move_to(vt, cursor->row + count, cursor->column); break;
	case 'C': case 'a': move_to(vt, cursor->row, cursor->column + count); break;
	case 'D': move_to(vt, cursor->row, cursor->column > count ? cursor->column - count : 0); break;
	case 'E': move_to(vt, cursor->row + count, 0); break;
	case 'F': move_to(vt, cursor->row > count ? cursor->row - count : 0, 0); break;
	case 'G': case '`': move_to(vt, cursor->row, count - 1); break;
	case 'H': case 'f': move_to(vt, count - 1, clamp(parameter(vt, 1, 1), 1, 1000) - 1); break;
	case 'd': move_to(vt, count - 1, cursor->column); break;
	case 'J':
		if (parameter(vt, 0, 0) < 2)
			erase_line(vt, parameter(vt, 0, 0));
		erase_display(vt, parameter(vt, 0, 0));
		break;
	case 'K': erase_line(vt, parameter(vt, 0, 0)); break;
	case 'L': if (in_region) scroll(vt, cursor->row, vt->bottom, -(int)count); break;
	case 'M': if (in_region) scroll(vt, cursor->row, vt->bottom, (int)count); break;
	case 'S': scroll(vt, vt->top, vt->bottom, (int)count); break;
	case 'T': scroll(vt, vt->top, vt->bottom, -(int)count); break;
	case 'P': shift_line(vt, count, true); break;
	case '@': shift_line(vt, count, false); break;
	case 'X': fill(vt, cursor->row, cursor->column, clamp(cursor->column + count, 0, vt->columns)); break;
	case 'm': if (vt->private_mark == 0) set_pen(vt); break;
	case 'h': set_mode(vt, true); break;
	case 'l': set_mode(vt, false); break;
	case 'r': if (vt->private_mark == 0) set_region(vt); break;
	case 's': if (vt->private_mark == 0) vt->saved = *cursor; break;
	case 'u': if (vt->private_mark == 0) *cursor = vt->saved; break;
	case 'n': report(vt); break;
	case 'c': if (vt->private_mark == 0) snprintf(vt->answer, sizeof(vt->answer), "\033[?6c"); break;
	default: break;
	}
}

static void escape(struct vt *vt, uint8_t byte)
{
	vt->state = GROUND;
	switch (byte) {
	case '[':
		vt->state = CONTROL;
		vt->parameter_count = 1;
		vt->private_mark = 0;
		memset(vt->parameters, 0, sizeof(vt->parameters));
		break;
	case ']': case 'P': case 'X': case '^': case '_': vt->state = STRING; break;
	case '(': case ')': case '*': case '+': case '#': case '%': case ' ': vt->state = ESCAPE_SKIP; break;
	case '7': vt->saved = vt->cursor; break;
	case '8': vt->cursor = vt->saved; break;
	case 'D': line_down(vt); break;
	case 'E': vt->cursor.column = 0; line_down(vt); break;
	case 'M': line_up(vt); break;
	case 'c':
		show_alternate(vt, false);
		reset(vt);
		fill_all(vt);
		break;
	default: break;
	}
}

static void control_byte(struct vt *vt, uint8_t byte)
{
	if (byte >= '0' && byte <= '9') {
		unsigned int *value = &vt->parameters[vt->parameter_count - 1];

		*value = clamp(*value * 10 + byte - '0', 0, 9999);
	} else if (byte == ';' || byte == ':') {
		if (vt->parameter_count < VT_PARAMETERS_MAX)
			vt->parameter_count++;
	} else if (byte >= '<' && byte <= '?') {
		vt->private_mark = (char)byte;
	} else if (byte >= ' ' && byte <= '/') {
		vt->private_mark = '!'; /* an intermediate: no sequence of ours has one */
	} else {
		vt->state = GROUND;
		if (byte >= '@' && byte <= '~' && vt->private_mark != '!')
			control(vt, (char)byte);
	}
}

/** A control character (C0); false if it is none. */
static bool control_character(struct vt *vt, uint8_t byte)
{
	struct vt_cursor *cursor = &vt->cursor;

	if (byte >= 0x20 && byte != 0x7f)
		return false;
	switch (byte) {
	case '\b': move_to(vt, cursor->row, cursor->column ? cursor->column - 1 : 0); break;
	case '\t': move_to(vt, cursor->row, (cursor->column | 7) + 1); break;
	case '\n': case '\v': case '\f': line_down(vt); cursor->wrap_pending = false; break;
	case '\r': move_to(vt, cursor->row, 0); break;
	case 0x18: case 0x1a: vt->state = GROUND; break;
	case 0x1b: vt->state = ESCAPE; break;
	default: break;
	}
	return true;
}

static void text(struct vt *vt, uint8_t byte)
{
	if (vt->unicode_left > 0 && (byte & 0xc0) == 0x80) {
		vt->unicode = vt->unicode << 6 | (byte & 0x3f);
		if (--vt->unicode_left == 0)
			put(vt, vt->unicode);
		return;
	}
	if (vt->unicode_left > 0)
		put(vt, '?');
	vt->unicode_left = 0;
	if (byte < 0x80)
		put(vt, byte);
	else if (byte >= 0xc2 && byte < 0xf5) {
		vt->unicode_left = byte < 0xe0 ? 1 : byte < 0xf0 ? 2 : 3;
		vt->unicode = byte & (0x3fu >> vt->unicode_left);
	} else
		put(vt, '?');
}

static void take(struct vt *vt, uint8_t byte)
{
	switch (vt->state) {
	case STRING:
		if (byte == 0x07 || byte == 0x18 || byte == 0x1a)
			vt->state = GROUND;
		else if (byte == 0x1b)
			vt->state = STRING_ESCAPE;
		return;
	case STRING_ESCAPE:
		vt->state = STRING;
		if (byte == '\\')
			vt->state = GROUND;
		return;
	default: break;
	}
	if (control_character(vt, byte))
		return;
	if (vt->state == ESCAPE)
		escape(vt, byte);
	else if (vt->state == ESCAPE_SKIP)
		vt->state = GROUND;
	else if (vt->state == CONTROL)
		control_byte(vt, byte);
	else
		text(vt, byte);
}

void vt_write(struct vt *vt, const uint8_t *bytes, size_t size_bytes)
{
	for (size_t i = 0; i < size_bytes; i++)
		take(vt, bytes[i]);
}

const char *vt_answer(struct vt *vt, char copy[32])
{
	memcpy(copy, vt->answer, sizeof(vt->answer));
	vt->answer[0] = '\0';
	return copy;
}
