/*
 * A terminal in memory: what a guest writes to its console becomes a grid of characters, and only that grid is ever
 * drawn. Nothing of a guest's output reaches the person's terminal as it is, so no escape sequence of a guest can
 * paint over the line that says which guest is in front, or make the terminal answer.
 *
 * Understood is what Debian's programs use on TERM=linux or vt220 (ECMA-48, DEC VT220); all else is swallowed.
 */
#ifndef BULKHEAD_CLI_VT_H
#define BULKHEAD_CLI_VT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define VT_PARAMETERS_MAX 16u
#define VT_ROWS_MAX	  300u
#define VT_COLUMNS_MAX	  500u
#define VT_DEFAULT_COLOUR 255u

enum { VT_BOLD = 1, VT_UNDERLINE = 2, VT_REVERSE = 4 };

/** One character and how it looks. Colours 0 to 15, or VT_DEFAULT_COLOUR. */
struct vt_cell {
	uint32_t character; /**< Unicode, printable; a space where nothing was written */
	uint8_t foreground, background, attributes;
};

struct vt_cursor {
	unsigned int row, column;
	struct vt_cell pen;
	bool wrap_pending; /**< the last column was written: the next character begins a line */
};

struct vt {
	unsigned int rows, columns, top, bottom; /**< top, bottom: the scrolling region, both within */
	struct vt_cell *cells, *other; /**< the screen shown, and the other of normal and alternate */
	struct vt_cursor cursor, saved, normal_cursor;
	bool alternate, cursor_hidden, keypad_keys, no_wrap, insert;
	/* the parser */
	int state;
	unsigned int parameters[VT_PARAMETERS_MAX], parameter_count;
	char private_mark;
	uint32_t unicode;
	unsigned int unicode_left;
	/* what the guest asked the terminal: a cursor report at most, taken by vt_answer() */
	char answer[32];
};

/** Makes an empty screen; sizes are clamped to at least 2 by 2 and at most the MAXima. Returns false without memory. */
bool vt_init(struct vt *vt, unsigned int rows, unsigned int columns);
void vt_free(struct vt *vt);

/** Changes the size; what still fits stays. Returns false, changing nothing, without memory. */
bool vt_resize(struct vt *vt, unsigned int rows, unsigned int columns);

/** Takes @size_bytes of the guest's output: any bytes, cut anywhere. */
void vt_write(struct vt *vt, const uint8_t *bytes, size_t size_bytes);

/** The cell at a place within the screen. */
const struct vt_cell *vt_cell(const struct vt *vt, unsigned int row, unsigned int column);

/** What to send to the guest as the terminal's answer, or "": asked once, answered once. Valid until the next call. */
const char *vt_answer(struct vt *vt, char copy[32]);

#endif
