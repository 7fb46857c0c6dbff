/* SPDX-License-Identifier: MIT */
/*
 * See boot_config.h. Pure.
 */
#include "boot_config.h"

static const struct {
	const char *line;
	uint32_t value;
	enum { KEY_LOG, KEY_UNVERIFIED, KEY_UNABLE } key;
} words[] = {
	{ "log=error", 0, KEY_LOG },
	{ "log=warning", 1, KEY_LOG },
	{ "log=info", 2, KEY_LOG },
	{ "log=debug", 3, KEY_LOG },
	{ "if-unverified=stop", 0, KEY_UNVERIFIED },
	{ "if-unverified=continue", 1, KEY_UNVERIFIED },
	{ "if-unable=stop", 0, KEY_UNABLE },
	{ "if-unable=start-linux", 1, KEY_UNABLE },
};

static bool is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == 0;
}

static bool is_word(const char *text, size_t size_bytes, const char *word)
{
	size_t i = 0;

	while (i < size_bytes && word[i] && text[i] == word[i])
		i++;
	return i == size_bytes && word[i] == 0;
}

static bool parse_line(const char *line, size_t size_bytes, struct boot_config *config)
{
	for (size_t i = 0; i < size_bytes; i++)
		if (line[i] == '#')
			size_bytes = i;
	while (size_bytes > 0 && is_blank(line[size_bytes - 1]))
		size_bytes--;
	while (size_bytes > 0 && is_blank(*line)) {
		line++;
		size_bytes--;
	}
	if (size_bytes == 0)
		return true;
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		if (!is_word(line, size_bytes, words[i].line))
			continue;
		if (words[i].key == KEY_LOG)
			config->log_level = words[i].value;
		else if (words[i].key == KEY_UNVERIFIED)
			config->continue_unverified = words[i].value;
		else
			config->start_linux_if_unable = words[i].value;
		return true;
	}
	return false;
}

bool boot_config_parse(const char *text, size_t size_bytes, struct boot_config *config)
{
	uint32_t number = 1;

	*config = (struct boot_config){ .log_level = 2 };
	for (size_t start = 0; start < size_bytes; number++) {
		size_t end = start;

		while (end < size_bytes && text[end] != '\n')
			end++;
		if (!parse_line(text + start, end - start, config)) {
			config->bad_line = number;
			return false;
		}
		start = end + 1;
	}
	return true;
}

#define DOS_PE_OFFSET	  0x3cu
#define PE_HEADER_BYTES	  24u
#define SECTION_BYTES	  40u

static uint32_t read_le(const uint8_t *at, unsigned int size_bytes)
{
	uint32_t value = 0;

	for (unsigned int i = 0; i < size_bytes; i++)
		value |= (uint32_t)at[i] << (8 * i);
	return value;
}

static bool has_name(const uint8_t *section, const char *name)
{
	for (unsigned int i = 0; i < 8; i++) {
		if (section[i] != (uint8_t)name[i])
			return false;
		if (name[i] == 0)
			return true;
	}
	return true;
}

struct pe_section pe_section_find(const uint8_t *image, uint64_t image_bytes, const char *name)
{
	struct pe_section none = { NULL, 0 };
	uint64_t header, sections;
	uint32_t count;

	if (image_bytes < DOS_PE_OFFSET + 4)
		return none;
	header = read_le(image + DOS_PE_OFFSET, 4);
	if (header > image_bytes || image_bytes - header < PE_HEADER_BYTES ||
	    read_le(image + header, 4) != 0x4550)
		return none;
	count = read_le(image + header + 6, 2);
	sections = header + PE_HEADER_BYTES + read_le(image + header + 20, 2);
	if (sections > image_bytes || count > (image_bytes - sections) / SECTION_BYTES)
		return none;
	for (uint32_t i = 0; i < count; i++) {
		const uint8_t *section = image + sections + i * SECTION_BYTES;
		uint64_t size = read_le(section + 8, 4), at = read_le(section + 12, 4);

		if (has_name(section, name) && at <= image_bytes && size <= image_bytes - at)
			return (struct pe_section){ image + at, size };
	}
	return none;
}
