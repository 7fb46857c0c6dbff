/* This PC's own name: see pc_name.h. */
#include "pc_name.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#define SERIAL_MOST	40
#define MACHINE_ID_MOST 8

/** Appends the letters, digits and hyphens of a file's first line, @most at most; returns how many. */
static size_t append_from(const char *path, size_t most, char *name)
{
	FILE *file = fopen(path, "re");
	size_t count = 0;
	int byte;

	if (!file)
		return 0;
	name += strlen(name);
	while (count < most && (byte = fgetc(file)) != EOF && byte != '\n')
		if ((byte < 0x80 && isalnum(byte)) || byte == '-')
			name[count++] = (char)byte;
	name[count] = '\0';
	fclose(file);
	return count;
}

void pc_name(char name[PC_NAME_BYTES])
{
	strcpy(name, "pc-");
	if (append_from("/sys/class/dmi/id/product_serial", SERIAL_MOST, name) == 0 &&
	    append_from("/etc/machine-id", MACHINE_ID_MOST, name) == 0)
		name[0] = '\0';
}
