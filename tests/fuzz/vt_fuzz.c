/*
 * The terminal in memory over arbitrary output of a guest and arbitrary sizes of the person's screen. After each piece
 * the cursor must lie within, and every character must take one column and move nothing.
 */
#include <stdint.h>
#include <stdlib.h>

#include "vt.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(const struct vt *vt)
{
	if (vt->cursor.row >= vt->rows || vt->cursor.column >= vt->columns || vt->bottom >= vt->rows ||
	    vt->top >= vt->bottom)
		abort();
	for (unsigned int row = 0; row < vt->rows; row++)
		for (unsigned int column = 0; column < vt->columns; column++) {
			uint32_t character = vt_cell(vt, row, column)->character;

			if (character < ' ' || (character >= 0x7f && character < 0xa1) || character > 0xffff)
				abort();
		}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct vt vt;
	char answer[32];

	if (size < 4 || !vt_init(&vt, data[0] % 40, data[1] % 90))
		return 0;
	vt_write(&vt, data + 4, (size - 4) / 2);
	check(&vt);
	if (!vt_resize(&vt, data[2] % 40, data[3] % 90))
		abort();
	check(&vt);
	vt_write(&vt, data + 4 + (size - 4) / 2, size - 4 - (size - 4) / 2);
	check(&vt);
	(void)vt_answer(&vt, answer);
	vt_free(&vt);
	return 0;
}
