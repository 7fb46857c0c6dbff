/*
 * An OVF description, read with expat. Only what an import needs is kept: name, processors, memory, disks. A document
 * type declaration is refused where it starts, so no entity is ever defined, expanded or fetched.
 */
#include "ova.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include <expat.h>

#define DEPTH_MAX 64
#define FILES_MAX 64
#define ID_BYTES  64
#define TEXT_MAX  128

#define RESOURCE_PROCESSORS 3
#define RESOURCE_MEMORY	    4

struct reader {
	XML_Parser parser;
	struct ovf_machine *machine;
	struct disk_why *why;
	int error;
	unsigned int depth;
	unsigned int file_count;
	struct {
		char id[ID_BYTES], name[OVA_NAME_BYTES];
	} files[FILES_MAX];
	char disk_files[OVF_DISKS_MAX][ID_BYTES]; /**< the file's id of each disk, until all files are known */
	char text[TEXT_MAX];			  /**< character data of the innermost element */
	size_t text_length;
	bool in_item;
	uint64_t item_type, item_quantity;
	char item_units[TEXT_MAX];
};

#define STOP(reader, error_, ...)                                                                                      \
	do {                                                                                                           \
		(reader)->error = disk_refuse((reader)->why, error_, __VA_ARGS__);                                     \
		XML_StopParser((reader)->parser, XML_FALSE);                                                           \
	} while (0)

/** The part of a qualified name after its namespace (expat separates them by a space here). */
static const char *local(const char *name)
{
	const char *space = strrchr(name, ' ');

	return space ? space + 1 : name;
}

static const char *attribute(const char **attributes, const char *name)
{
	for (; attributes[0]; attributes += 2)
		if (strcmp(local(attributes[0]), name) == 0)
			return attributes[1];
	return NULL;
}

/** Copies a value whole or not at all. */
static bool keep(char *to, size_t size, const char *value)
{
	size_t length = value ? strlen(value) : size;

	if (length >= size)
		return false;
	memcpy(to, value, length + 1);
	return true;
}

static bool parse_number(const char *text, uint64_t *value)
{
	char *end;

	if (!text || *text < '0' || *text > '9')
		return false;
	errno = 0;
	*value = strtoull(text, &end, 10);
	return errno == 0 && *end == '\0';
}

/** "byte * 2^20", "MegaBytes" and the like: the power of two, 0 for bytes, -1 if it is none that we know. */
static int unit_power(const char *units)
{
	static const struct {
		const char *word;
		int power;
	} words[] = {{"byte", 0},      {"", 0},	       {"KiloBytes", 10}, {"KB", 10},
		     {"MegaBytes", 20}, {"MB", 20},    {"GigaBytes", 30}, {"GB", 30}};
	const char *power = strstr(units, "2^");

	if (power && strncmp(units, "byte", 4) == 0) {
		long value = strtol(power + 2, NULL, 10);

		return value >= 0 && value <= 40 ? (int)value : -1;
	}
	for (size_t i = 0; i < sizeof(words) / sizeof(*words); i++)
		if (strcmp(words[i].word, units) == 0)
			return words[i].power;
	return -1;
}

static bool scale(uint64_t value, const char *units, uint64_t *bytes)
{
	int power = unit_power(units);

	if (power < 0 || value > UINT64_MAX >> power)
		return false;
	*bytes = value << power;
	return true;
}

static void read_file(struct reader *reader, const char **attributes)
{
	const char *href = attribute(attributes, "href");

	if (reader->file_count == FILES_MAX) {
		STOP(reader, E2BIG, "its description names more than %d files", FILES_MAX);
		return;
	}
	if (attribute(attributes, "compression") && strcmp(attribute(attributes, "compression"), "identity") != 0) {
		STOP(reader, ENOTSUP, "holds a compressed file; export it without compression");
		return;
	}
	if (!keep(reader->files[reader->file_count].id, ID_BYTES, attribute(attributes, "id")) ||
	    !keep(reader->files[reader->file_count].name, OVA_NAME_BYTES, href) || !ova_name_is_plain(href)) {
		STOP(reader, EINVAL, "its description names the file '%s'; a plain file name is needed",
		     href ? href : "");
		return;
	}
	reader->file_count++;
}

static void read_disk(struct reader *reader, const char **attributes)
{
	struct ovf_machine *machine = reader->machine;
	const char *units = attribute(attributes, "capacityAllocationUnits");
	const char *file = attribute(attributes, "fileRef");
	uint64_t capacity;

	if (attribute(attributes, "parentRef")) {
		STOP(reader, ENOTSUP, "holds a disk that is a difference to a parent; consolidate its snapshots first");
		return;
	}
	if (!file)
		return; /* an empty disk that the machine would be given on deployment */
	if (machine->disk_count == OVF_DISKS_MAX) {
		STOP(reader, E2BIG, "describes more than %d disks", OVF_DISKS_MAX);
		return;
	}
	if (!keep(reader->disk_files[machine->disk_count], ID_BYTES, file) ||
	    !parse_number(attribute(attributes, "capacity"), &capacity) ||
	    !scale(capacity, units ? units : "", &machine->disks[machine->disk_count].capacity_bytes)) {
		STOP(reader, EINVAL, "its description has a disk whose size or file cannot be read");
		return;
	}
	machine->disk_count++;
}

static void XMLCALL start_element(void *context, const char *name, const char **attributes)
{
	struct reader *reader = context;

	if (++reader->depth > DEPTH_MAX) {
		STOP(reader, E2BIG, "its description nests deeper than %d elements", DEPTH_MAX);
		return;
	}
	reader->text_length = 0;
	name = local(name);
	if (strcmp(name, "File") == 0) {
		read_file(reader, attributes);
	} else if (strcmp(name, "Disk") == 0) {
		read_disk(reader, attributes);
	} else if (strcmp(name, "VirtualSystem") == 0) {
		keep(reader->machine->name, sizeof(reader->machine->name), attribute(attributes, "id"));
	} else if (strcmp(name, "Item") == 0) {
		reader->in_item = true;
		reader->item_type = reader->item_quantity = 0;
		reader->item_units[0] = '\0';
	}
}

static void end_item(struct reader *reader)
{
	reader->in_item = false;
	if (reader->item_type == RESOURCE_PROCESSORS && reader->item_quantity <= UINT32_MAX)
		reader->machine->processors = (uint32_t)reader->item_quantity;
	if (reader->item_type == RESOURCE_MEMORY)
		scale(reader->item_quantity, reader->item_units, &reader->machine->memory_bytes);
}

static void XMLCALL end_element(void *context, const char *name)
{
	struct reader *reader = context;

	reader->depth--;
	reader->text[reader->text_length] = '\0';
	reader->text_length = 0;
	name = local(name);
	if (!reader->in_item)
		return;
	if (strcmp(name, "Item") == 0)
		end_item(reader);
	else if (strcmp(name, "ResourceType") == 0)
		parse_number(reader->text, &reader->item_type);
	else if (strcmp(name, "VirtualQuantity") == 0)
		parse_number(reader->text, &reader->item_quantity);
	else if (strcmp(name, "AllocationUnits") == 0)
		keep(reader->item_units, sizeof(reader->item_units), reader->text);
}

static void XMLCALL character_data(void *context, const char *text, int length)
{
	struct reader *reader = context;
	size_t room = sizeof(reader->text) - 1 - reader->text_length;
	size_t now = (size_t)length < room ? (size_t)length : room;

	memcpy(reader->text + reader->text_length, text, now);
	reader->text_length += now;
}

static void XMLCALL start_doctype(void *context, const char *name, const char *system, const char *public_id,
				  int has_internal_subset)
{
	struct reader *reader = context;

	STOP(reader, ENOTSUP, "its description declares a document type, which OVF has no use for");
}

static int resolve_disks(struct reader *reader)
{
	for (unsigned int i = 0; i < reader->machine->disk_count; i++) {
		unsigned int file = 0;

		while (file < reader->file_count && strcmp(reader->files[file].id, reader->disk_files[i]) != 0)
			file++;
		if (file == reader->file_count)
			return disk_refuse(reader->why, EINVAL, "its description has no file for the disk '%s'",
					   reader->disk_files[i]);
		memcpy(reader->machine->disks[i].file, reader->files[file].name, OVA_NAME_BYTES);
	}
	return 0;
}

int ovf_parse(const char *xml, size_t size_bytes, struct ovf_machine *machine, struct disk_why *why)
{
	struct reader *reader;
	int error;

	if (size_bytes > OVF_BYTES_MAX)
		return disk_refuse(why, EFBIG, "has a description larger than %u bytes", OVF_BYTES_MAX);
	reader = calloc(1, sizeof(*reader));
	if (!reader)
		return -ENOMEM;
	memset(machine, 0, sizeof(*machine));
	reader->machine = machine;
	reader->why = why;
	reader->parser = XML_ParserCreateNS(NULL, ' ');
	if (!reader->parser) {
		free(reader);
		return -ENOMEM;
	}
	XML_SetUserData(reader->parser, reader);
	XML_SetElementHandler(reader->parser, start_element, end_element);
	XML_SetCharacterDataHandler(reader->parser, character_data);
	XML_SetStartDoctypeDeclHandler(reader->parser, start_doctype);
	if (XML_Parse(reader->parser, xml, (int)size_bytes, 1) != XML_STATUS_OK && !reader->error)
		reader->error = disk_refuse(why, EINVAL, "its description is not XML: line %lu: %s",
					    XML_GetCurrentLineNumber(reader->parser),
					    XML_ErrorString(XML_GetErrorCode(reader->parser)));
	error = reader->error ? reader->error : resolve_disks(reader);
	XML_ParserFree(reader->parser);
	free(reader);
	return error;
}
