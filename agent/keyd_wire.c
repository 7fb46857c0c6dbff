/* Messages of bulkhead-keyd: see keyd_wire.h. */
#include "keyd_wire.h"

#include <errno.h>
#include <string.h>

int keyd_wire_parse(const unsigned char *bytes, size_t size_bytes, struct keyd_message *message)
{
	struct keyd_header header;
	size_t at = sizeof(header);

	memset(message, 0, sizeof(*message));
	if (size_bytes < sizeof(header) || size_bytes > KEYD_MESSAGE_MAX_BYTES)
		return -EBADMSG;
	memcpy(&header, bytes, sizeof(header));
	if (header.magic != KEYD_MAGIC || header.version != KEYD_VERSION ||
	    header.length_bytes != size_bytes - sizeof(header))
		return -EBADMSG;
	while (at < size_bytes) {
		struct keyd_field field;

		if (size_bytes - at < sizeof(field))
			return -EBADMSG;
		memcpy(&field, bytes + at, sizeof(field));
		at += sizeof(field);
		if (field.tag == 0 || field.tag >= KEYD_TAG_COUNT || field.reserved != 0 ||
		    field.length_bytes > size_bytes - at || message->field[field.tag].present)
			return -EBADMSG;
		message->field[field.tag] =
		    (struct keyd_value){bytes + at, field.length_bytes, true};
		at += field.length_bytes;
	}
	message->call = header.call;
	message->error = header.error;
	return 0;
}

void keyd_wire_begin(struct keyd_writer *writer, uint16_t call, uint32_t error)
{
	struct keyd_header header = {KEYD_MAGIC, KEYD_VERSION, call, error, 0};

	memcpy(writer->bytes, &header, sizeof(header));
	writer->size_bytes = sizeof(header);
	writer->overflow = false;
}

void keyd_wire_add(struct keyd_writer *writer, enum keyd_tag tag, const void *bytes,
		   size_t size_bytes)
{
	struct keyd_field field = {(uint16_t)tag, 0, (uint32_t)size_bytes};

	if (writer->overflow || size_bytes > KEYD_MESSAGE_MAX_BYTES ||
	    sizeof(field) + size_bytes > KEYD_MESSAGE_MAX_BYTES - writer->size_bytes) {
		writer->overflow = true;
		return;
	}
	memcpy(writer->bytes + writer->size_bytes, &field, sizeof(field));
	writer->size_bytes += sizeof(field);
	if (size_bytes > 0)
		memcpy(writer->bytes + writer->size_bytes, bytes, size_bytes);
	writer->size_bytes += size_bytes;
}

void keyd_wire_add_text(struct keyd_writer *writer, enum keyd_tag tag, const char *text)
{
	keyd_wire_add(writer, tag, text, strlen(text));
}

int keyd_wire_end(struct keyd_writer *writer)
{
	struct keyd_header header;

	if (writer->overflow)
		return -EMSGSIZE;
	memcpy(&header, writer->bytes, sizeof(header));
	header.length_bytes = (uint32_t)(writer->size_bytes - sizeof(header));
	memcpy(writer->bytes, &header, sizeof(header));
	return 0;
}

int keyd_wire_text(const struct keyd_message *message, enum keyd_tag tag, char *text,
		   size_t capacity_bytes)
{
	const struct keyd_value *value = &message->field[tag];

	if (!value->present)
		return -ENOENT;
	if (value->size_bytes == 0 || value->size_bytes >= capacity_bytes)
		return -EINVAL;
	for (size_t i = 0; i < value->size_bytes; i++)
		if (value->bytes[i] < 0x20 || value->bytes[i] == 0x7f)
			return -EINVAL;
	memcpy(text, value->bytes, value->size_bytes);
	text[value->size_bytes] = '\0';
	return 0;
}
