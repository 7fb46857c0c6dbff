/* policy_table.c: see policy_table.h. A server may be older than the command: a field that comes without its enforcer
 * shows "-". */
#include "policy_table.h"

#include "output.h"

#include <stdlib.h>
#include <string.h>

void policy_table_print(const json_t *view, bool only_set)
{
	static const struct output_column columns[] = {{"field", "FIELD", OUTPUT_TEXT},
						       {"value", "VALUE", OUTPUT_TEXT},
						       {"from", "DECIDED BY", OUTPUT_TEXT},
						       {"enforced_by", "ENFORCED BY", OUTPUT_TEXT}};
	json_t *rows = json_array(), *entry;
	const char *field;

	json_object_foreach((json_t *)view, field, entry)
	{
		const json_t *value = json_object_get(entry, "value");
		const char *from = json_string_value(json_object_get(entry, "from"));
		char *text;

		if (only_set && from && !strcmp(from, "built-in"))
			continue;
		text = json_is_string(value) ? strdup(json_string_value(value)) : json_dumps(value, JSON_ENCODE_ANY);
		json_array_append_new(rows, json_pack("{s:s, s:s?, s:s?, s:O?}", "field", field, "value", text, "from", from,
						      "enforced_by", json_object_get(entry, "enforced_by")));
		free(text);
	}
	output_table(rows, OUTPUT_COLUMNS(columns), "Policy: nothing beyond the built-in values.");
	json_decref(rows);
}
