/*
 * What a hostile directory answers: arbitrary bytes, and well-formed messages with arbitrary names, attributes, values and
 * page cookies. Whatever is taken must come out as lines that the server's own import reads: a user a line, whose first
 * field is a name.
 */
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "ldap_directory.h"
#include "trust/strict_json.h"

#define WIRE_MAX (64u << 10)
#define PAGED	 "1.2.840.113556.1.4.319"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerInitialize(int *argc, char ***argv);

struct input {
	const uint8_t *at;
	size_t left;
};

struct wire {
	uint8_t bytes[WIRE_MAX];
	size_t size;
};

static uint8_t next(struct input *input)
{
	if (!input->left)
		return 0;
	input->left--;
	return *input->at++;
}

static void put(struct wire *wire, const void *bytes, size_t size)
{
	if (size > WIRE_MAX - wire->size)
		return;
	memcpy(wire->bytes + wire->size, bytes, size);
	wire->size += size;
}

/* One element: tag, length of three bytes, content. */
static void put_element(struct wire *wire, uint8_t tag, const void *content, size_t size)
{
	const uint8_t head[] = {tag, 0x82, (uint8_t)(size >> 8), (uint8_t)size};

	put(wire, head, sizeof(head));
	put(wire, content, size);
}

/* A text of the input's own, or one that means something. */
static void put_text(struct wire *wire, struct input *input)
{
	static const char *const known[] = {"uid", "cn", "mail", "displayName", "member", "uniqueMember", "memberUid",
					    "uid=a,dc=x", "a", "sales north", "\"a\nb\"", "A"};
	uint8_t kind = next(input);
	size_t size = kind % 64;

	if (kind >= 64) {
		kind %= sizeof(known) / sizeof(known[0]);
		put_element(wire, 0x04, known[kind], strlen(known[kind]));
		return;
	}
	size = size < input->left ? size : input->left;
	put_element(wire, 0x04, input->at, size);
	input->at += size;
	input->left -= size;
}

static void put_entry(struct wire *wire, struct input *input)
{
	struct wire *entry = calloc(5, sizeof(*entry)), *attributes = entry + 1, *attribute = entry + 2;
	struct wire *values = entry + 3, *name = entry + 4;

	put_text(name, input);
	for (int count = next(input) % 6; count > 0; count--) {
		attribute->size = values->size = 0;
		put_text(attribute, input);
		for (int value = next(input) % 4; value > 0; value--)
			put_text(values, input);
		put_element(attribute, 0x31, values->bytes, values->size);
		put_element(attributes, 0x30, attribute->bytes, attribute->size);
	}
	put_element(name, 0x30, attributes->bytes, attributes->size);
	put_element(entry, 0x64, name->bytes, name->size);
	put(wire, entry->bytes, entry->size);
	free(entry);
}

/* The end of a search: success, and perhaps a page's cookie. */
static void put_done(struct wire *wire, struct input *input)
{
	const uint8_t result[] = {0x0a, 1, next(input) % 4 ? 0 : 32, 0x04, 0, 0x04, 0};
	struct wire *control = calloc(3, sizeof(*control)), *value = control + 1, *all = control + 2;

	put_element(wire, 0x65, result, sizeof(result));
	if (next(input) % 2) {
		const uint8_t estimate[] = {0x02, 1, next(input)};

		put(all, estimate, sizeof(estimate));
		put_text(all, input);
		put_element(value, 0x30, all->bytes, all->size);
		all->size = 0;
		put_element(all, 0x04, PAGED, strlen(PAGED));
		put_element(all, 0x04, value->bytes, value->size);
		put_element(control, 0x30, all->bytes, all->size);
		put_element(wire, 0xa0, control->bytes, control->size);
	}
	free(control);
}

static void put_message(struct wire *wire, struct input *input, uint8_t *number)
{
	struct wire *message = calloc(1, sizeof(*message));
	const uint8_t id[] = {0x02, 1, *number};
	bool is_end = next(input) % 4 == 0;

	put(message, id, sizeof(id));
	if (is_end)
		put_done(message, input);
	else
		put_entry(message, input);
	put_element(wire, 0x30, message->bytes, message->size);
	*number += is_end;
	free(message);
}

/* The searches that the input left open end well, so that what was taken is written down. */
static void put_ends(struct wire *wire, uint8_t number)
{
	for (uint8_t last = (uint8_t)(number + 2); number < last; number++) {
		const uint8_t end[] = {0x02, 1, number, 0x65, 7, 0x0a, 1, 0, 0x04, 0, 0x04, 0};

		put_element(wire, 0x30, end, sizeof(end));
	}
}

static void check(const struct ldap_answer *answer)
{
	size_t lines = 0;
	char *line = answer->csv, *end;

	for (; *line; line = end + 1, lines++) {
		end = strchr(line, '\n');
		if (!end)
			abort();
		*end = 0;
		if (!lines)
			continue;
		line[strcspn(line, ",")] = 0;
		if (!strict_json_is_name(line))
			abort();
	}
	if (lines != answer->users + 1)
		abort();
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	signal(SIGPIPE, SIG_IGN);
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct ldap_question question = {.uri = "ldap://fuzz", .base = "dc=x", .filter = "(a=*)",
						      .group_filter = "(b=*)", .name_attribute = "uid"};
	static struct wire wire;
	struct input input = {data, size};
	char problem[LDAP_PROBLEM_MAX];
	struct ldap_answer answer;
	uint8_t number = 1;
	int pair[2];

	if (size < 2 || socketpair(AF_UNIX, SOCK_STREAM, 0, pair))
		return 0;
	wire.size = 0;
	if (next(&input) % 8 == 0)
		put(&wire, input.at, input.left);
	else
		while (input.left && number < 100)
			put_message(&wire, &input, &number);
	put_ends(&wire, number);
	if (write(pair[1], wire.bytes, wire.size) == (ssize_t)wire.size && !shutdown(pair[1], SHUT_WR) &&
	    !ldap_directory_read_file(&question, pair[0], &answer, problem)) {
		check(&answer);
		free(answer.csv);
	}
	close(pair[1]);
	return 0;
}
