/** Images that the company offers: a user may take one where the signed policy allows it. */
#ifndef AGENT_APPLIANCES_H
#define AGENT_APPLIANCES_H

#include <jansson.h>

#include "agent.h"

/** What is offered to this PC's user: [{"image", "description", "taken"}]. Returns 0 or negative
 * errno with agent->error. The working thread's alone, as the next. */
int appliances_list(struct agent *agent, json_t **items);

/** Takes an image, or gives it back; it comes or goes with the next state. */
int appliances_take(struct agent *agent, const char *image, bool take);

#endif
