/* The effective policy as a table: the administrator's command and the PC's show the same one. */
#ifndef BULKHEAD_CLI_POLICY_TABLE_H
#define BULKHEAD_CLI_POLICY_TABLE_H

#include <jansson.h>
#include <stdbool.h>

/**
 * Prints field, value, deciding layer and who enforces it.
 * @view      what policy_view() makes, here or at a server; borrowed
 * @only_set  leave out what no layer of the company's names
 */
void policy_table_print(const json_t *view, bool only_set);

#endif
